"""One run from its first step to its last, and many runs side by side.

`plans` lists the runs that an experiment needs and knows which are done. `run` trains one of them,
or a stack on a GPU, with the engine that `engines` makes, and `run_writer` writes its files.
`worker` is a process that does one task after another; `scheduler` starts the workers, listens to
them, and tries again what a killed one was at. `readiness` says what this machine must have before
a file is written. `growth` says how an experiment may grow, and what a restart removes. This room
may import everything below it in the list of `tests/test_architecture.py`. Begin reading in `run`.
"""
