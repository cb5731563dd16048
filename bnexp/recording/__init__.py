"""What is recorded of a layer: exact percentiles of its pre-activations, unit by unit.

`percentiles` says which order statistics a percentile needs and how two of them are interpolated;
it selects them with NumPy or with torch. `sorting` makes the sorting networks with which compiled
code selects the same order statistics from a small batch. Nothing here knows a network or a file.
Read `percentiles` first.
"""
