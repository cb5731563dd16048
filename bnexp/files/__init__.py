"""Files that survive a crash: logs, checkpoints, the lock of a folder, where a result came from.

`storage` holds the two ways in which a file is written: appended to, with a checksum of what
readers may rely on, or replaced whole. `run_folder` names the files of a run and of an experiment,
and `checkpoint` saves and restores all the state of a run. `provenance` says with what a result
was made. This room imports `bnexp.config` and `bnexp.errors`. Begin reading in `run_folder`.
"""
