"""What is recorded of a layer: exact percentiles of its pre-activations, unit by unit, which
`percentiles` interpolates as numpy does; and `bnexp.record`, for a model of the user's own.

`percentiles` says which order statistics a percentile needs and how two of them are interpolated;
it selects them with NumPy or with torch. `sorting` makes the sorting networks with which compiled
code selects the same order statistics from a small batch. The torch engine uses `percentiles`; the
kernels interpolate for themselves, by the same formula, in `networks/kernels/percentiles`.

The other modules are `bnexp.record`, for a model of the user's own. `record` is the function and
says what each argument means; `recorder` hooks the model and counts the steps, and `lightning` does
so in Lightning. `layers` finds the layers and their units, `capture` hooks each layer and takes the
order statistics of a forward pass, and `probe` runs one on fixed examples. `metrics` collects
losses and accuracies. `journal` holds all of it until `recorded_run` writes it to the run's folder.
`torch_description` says in words which torch computed them, and on what.

Imports from this room go to files, config and errors. Read `percentiles`, then `recorder`.
"""
