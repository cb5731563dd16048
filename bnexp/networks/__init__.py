"""The multilayer perceptron, its batch normalization, its optimizers: forward, backward, update.

`model` is the network; `batchnorm` and `activations` are its parts, `optimizer` updates it,
`batches` feeds it, and `percentiles` selects the order statistics of its pre-activations.
`gradient_shift` measures how far one layer's update moves another layer's gradient. This room may
import everything below it in the list of `tests/test_architecture.py`. Begin reading in `model`.
"""
