"""Arrays in, matplotlib figures out.

`figure1` draws the paper's Figure 1 for any experiment; the modules named after a comparison draw
that comparison. `panels` and `drawing` hold what the figures share, and `fitting` decides which
figures suit an experiment. Begin reading in `figure1`.
"""
