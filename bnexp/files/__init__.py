"""Files that survive a crash: logs, checkpoints, the lock of a folder, where a result came from.

`atomic` replaces files whole and reads them with bounds; `sealed` does it with JSON that carries a
checksum. `logs` holds the files that grow, and the only way in which anything reads them. `locks`
claims a folder, refuses one that bnexp did not write, and holds it against other processes.
`status`, `run_folder` and `experiment_folder` say what lies in a run's and an experiment's folder;
`checkpoint` saves and restores all the state of a run; `provenance` says with what a result was
made, and `signals` holds signals back while files are written. This room imports `bnexp.config` and
`bnexp.errors`. Begin reading in `run_folder`.
"""
