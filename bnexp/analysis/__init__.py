"""Results read from the files, and the numbers behind the claims.

`results` reads an experiment's folder and checks it. `measures` turns percentiles into numbers,
such as the step at which a unit settles; `statistics` holds the intervals over seeds. `paper` has
the curves of the paper's Figure 1. `summary` and `comparison` put the numbers of an experiment
together, and `tables` prints them. Nothing here needs torch. Begin reading in `results`.
"""
