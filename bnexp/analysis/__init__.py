"""Here logs become numbers: which unit is typical (`distributions`), how far units drift (`drift`),
intervals and tests over seeds (`statistics`), and the tables that show them (`tables`).

`results` reads an experiment's folder, `variants` the runs of a variant, and `runs` a single one.
`records` says what was recorded, and `stacking` lays the logs of several seeds side by side without
loading them. `distributions` says what percentiles tell of one unit at one moment, with the typical
unit, and `drift` how far and how long they move, with the settle step; `learned` withholds it of
networks that learned nothing. `statistics` has intervals over seeds, the test of a difference and
that of equivalence (TOST). `measuring`, with `pairs` of variants, puts all of it together into
`numbers`, which `summary` writes to summary.json, in the form of `numbers_json`, and reads again;
`comparison` sets variants against those that `baselines` chooses. `tables` prints them in
`columns`, with numbers in the form of `formatting`, and `frames` hands them to pandas. `paper` has
the curves of the paper's Figure 1, and `listing` lists runs.
Nothing here needs torch. Begin reading in `results`, then `drift`.
"""
