"""One run from its first step to its last, and many runs side by side.

`plans` lists the runs that an experiment needs and knows which are done. `run` trains one of them,
or a `stack` on a GPU, with the engine that `engines` makes, and `run_writer` writes its files.
`scheduler` finds what is left of an experiment and hands it over as `jobs`. `local` gives these to
processes on this machine, each of which is a `worker`; `fork_server` makes them, `processes` starts
what cannot be forked, and `failures` says what can stop one. `cluster` gives the jobs to the
workers of a Dask cluster. Both try again what a killed process was at. `readiness` says what this
machine must have before a file is written, and `said` keeps what users are told. `growth` says how
an experiment may grow, and what a restart removes. This room may import everything below it in the
list of `tests/test_architecture.py`. Begin reading in `run`.
"""
