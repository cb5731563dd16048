"""The checks of what is said about batch normalization, one module a subject.

`check` says what a check is; `suite` lists the checks in their reading order. Each check is a
function whose docstring begins with the claim and goes on with its derivation. Begin reading in
`suite`.
"""
