"""Arrays in, matplotlib figures out.

`figure1` draws the paper's Figure 1 for any experiment; `comparison` draws what the bias, gamma,
or two settings of a grid change; `gradient_shift` draws internal covariate shift as a change of
gradients. `panels` and `drawing` hold what the figures share, and `fitting` decides which figures
suit an experiment. This room imports analysis and what is below it. Begin reading in `figure1`.
"""
