"""Data sets as arrays in memory, minibatches, and the random streams of a seed.

`datasets` loads a data set by its name and draws the order of the minibatches; `idx` finds,
downloads and checks the files of MNIST and its relatives. This room imports `bnexp.config`,
`bnexp.files` and `bnexp.errors`. Begin reading in `datasets`.
"""
