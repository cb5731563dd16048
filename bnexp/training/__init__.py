"""Runs are trained here, each from its first step to its last, by workers on this machine or on a
cluster. Where a worker is killed, `jobs` lets its job be tried again, from the last checkpoint.

A plan is a run to be made. A task is what a worker does at a time: one plan, or on a GPU those of a
variant, which train together. A job is a task with how often it was tried and what became of it.

`plans` lists the runs that an experiment needs and knows which are done. `run` trains one of them,
or a `stack` on a GPU, and `run_writer` writes its files. Which engine trains is decided in
`networks/engine`; `engine_setup` makes it, and compiles what it needs. `scheduler` finds what is
left of an experiment and hands it over as `jobs`, which keeps the queue. `local` gives the jobs to
processes on this machine, each of which is a `worker`; `fork_server` makes them, `processes` starts
what cannot be forked, and `failures` says what can stop one. `cluster` gives the jobs to the
workers of a Dask cluster. `readiness` says what this machine must have before a file is written,
and `train_log` keeps what users are told. A run refuses to go on with another engine in `run`;
`growth` says how an experiment may grow, refuses all other changes of its settings, and says what a
restart removes. This room may import everything below it in the list of
`tests/test_architecture.py`. Begin reading in `run`.
"""
