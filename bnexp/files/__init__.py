"""Files are written here so that a crash loses nothing, and read so that no damage passes: logs
with their CRC-32 (`logs`), checkpoints, what a run's folder holds, and the locks of folders.

`atomic` replaces files whole and reads them with bounds; `sealed` does it with JSON that carries a
checksum. `logs` holds the files that grow, and the only way in which anything reads them. `locks`
claims a folder, refuses one that bnexp did not write, and holds it against other processes.
`status`, `run_folder` and `experiment_folder` say what lies in a run's and an experiment's folder;
`checkpoint` saves and restores all the state of a run; `provenance` says with what a result was
made, and `signals` holds signals back while files are written. This room imports `bnexp.config` and
`bnexp.errors`. Begin reading in `run_folder`.
"""
