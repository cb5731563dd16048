"""Results read from the files, and the numbers behind the claims.

`results` reads an experiment's folder, `records` says what was recorded, and `stacking` lays the
logs of several seeds side by side without loading them. `measures` turns percentiles into numbers,
such as the step at which a unit settles and the typical unit, and holds the intervals over seeds.
`paper` has the curves of the paper's Figure 1. `summary` puts the numbers of an experiment
together and compares variants, `tables` prints them, and `listing` lists runs. Nothing here needs
torch. Begin reading in `results`.
"""
