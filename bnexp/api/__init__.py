"""Here is what Python gets of `bnexp.load` and `bnexp.train`: arrays, tables, figures, networks.

It is a thin layer over the rooms below, which the commands use too, so there is no second way into
the same files. `experiment` is what a loaded experiment offers, `arrays` hands its logs out as
labelled xarray arrays that are read when they are needed, `description` is what an experiment says
of itself in a notebook, and `training` trains from Python. `arguments` checks arguments, and
makes errors speak of them. Begin reading in `experiment`.
"""
