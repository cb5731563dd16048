"""One run from its first step to its last, and many runs side by side.

`plans` lists the runs that an experiment needs and knows which are done. `run` trains one of them,
or a `stack` on a GPU, and `run_writer` writes its files. Which engine trains is decided in
`networks/engine`; `engines` makes it, and compiles what it needs. `scheduler` finds what is left of
an experiment and hands it over as `jobs`, which keeps the queue, and tries once more what a killed
process was at. `local` gives the jobs to processes on this machine, each of which is a `worker`;
`fork_server` makes them, `processes` starts what cannot be forked, and `failures` says what can
stop one. `cluster` gives the jobs to the workers of a Dask cluster. `readiness` says what this
machine must have before a file is written, and `said` keeps what users are told. A run refuses to
go on with another engine in `run`; `growth` says how an experiment may grow, refuses all other
changes of its settings, and says what a restart removes. This room may import everything below it
in the list of `tests/test_architecture.py`. Begin reading in `run`.
"""
