"""Data sets are found, downloaded, checked and loaded here, as arrays in memory; and here are the
random streams of a seed, from which weights and the order of the minibatches are drawn.

`datasets` loads a data set by its name. `idx` finds, downloads and checks the files of MNIST and
its relatives. `streams` has the random streams that weights are drawn from, and the order of the
minibatches; it alone needs torch. This room imports `bnexp.config`, `bnexp.files` and
`bnexp.errors`. Begin reading in `datasets`.
"""
