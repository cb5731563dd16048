"""The experiment's YAML: its keys and their meaning, and every mistake in it with its place.

`schema` is the reference of the keys: type, allowed values, default and meaning of each. `parsing`
turns YAML text into typed values and notes every mistake with its line. `experiment` puts the
values together to variants and grids, and writes them back. `suggestions` holds "did you mean".
This room imports only `bnexp.errors`. Begin reading in `schema`.
"""
