"""One run from its first step to its last, and many runs side by side.

`trainer` makes the steps of a run and records what is due at each; `run` begins, resumes, stops and
finishes it; `worker` is the process that a run lives in; `scheduler` starts the workers, listens to
them, and tries a killed one again. This room may import everything below it in the list of
`tests/test_architecture.py`. Begin reading in `run`.
"""
