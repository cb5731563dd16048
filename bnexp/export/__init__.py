"""Here logs become files of other tools: CSV and Parquet in long format, TensorBoard's events.

`exporting` is the way in: it checks what is asked for, claims the folder and writes file by file.
`parts` says which runs, logs and units are meant. `arrow` writes CSV and Parquet with pyarrow,
and `event_files` writes scalars for TensorBoard. The extra `export` brings both libraries, which
`exporting` loads when they are needed. A log is read and written in parts, so that the memory does
not depend on its length. This room may import analysis and what is below it. Begin reading in
`exporting`.
"""
