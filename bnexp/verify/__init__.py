"""Here stand the checks of what is said about batch norm: its mathematics, and the paper's claims.

`check` says what a check and its verdict are, and `suite` lists all checks in their order. The
subjects are `normalization`, `gradients` (the backward pass: x, gamma, beta), `inference` (running
statistics and evaluation mode), `bias`, `gamma` (what leaving it out changes) and `seeds`; for an
experiment `logs` (do they agree with the trained networks?), `trained`, `weights`, and `claims`
and `claims_of_percentiles` (the paper's). `explanations` and `computation_graph` are what
`--explain` prints. Each check is a function whose docstring begins with the claim and goes on with
its derivation. It takes the implementation under test as an argument: a batch norm
(`implementations`, where `kernels` makes bnexp's compiled one look like torch's), or a function
that builds networks (`networks`). This room may import every room but the CLI and the report. Begin
reading in `suite`.
"""
