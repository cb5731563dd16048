"""Here results become matplotlib figures, each with the caption that belongs under it.

`figure1` draws the paper's Figure 1 for any experiment. `bias`, `gamma` and `heatmap` draw what
these settings, or any two settings of a grid, change; `gradient_shift` draws internal covariate
shift, which `networks/gradient_shift` measures; `norm_statistics` draws gamma, beta and the running
statistics; `animation` makes a film of training. `curves` reads the percentiles of a unit, `panels`
draws them, `labels` names them at their ends, `grid` fills the cells of heat maps, `drawing` holds
what all figures share, and `experiment_figures` chooses which of them an experiment gets. A module
is named after what its figure shows. This room imports analysis and what is below it. Begin reading
in `figure1`.
"""
