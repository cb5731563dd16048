"""The jobs of an experiment are done here by the workers of a Dask cluster: each is checked and
given its jobs, and the job of one that was lost is tried again.

`scheduler` is the command's side: it gives each worker a job for each of its threads, through
`connection`, which talks with Dask. The rest runs inside a Dask worker: `session` checks whether it
may take part, and knows when its jobs are to stop; `worker` does a job. Only `bnexp train
--scheduler` loads this folder, since it needs `distributed`. It may import what `bnexp.training`
may. Begin reading in `scheduler`.
"""
