"""The update of one network: the optimizer on every parameter, and the running statistics."""

from bnexp.networks.kernels import optimizers
from bnexp.networks.kernels.batch_norm import move_running
from bnexp.networks.kernels.compiler import kernel
from bnexp.networks.kernels.layout import (
    BETA,
    BIAS,
    GAMMA,
    INPUTS,
    START,
    WEIGHT,
    WIDTH,
    Array,
    Buffers,
    Examples,
    Options,
    Parameters,
)
from bnexp.networks.kernels.network import matrix, weights
from bnexp.networks.kernels.sparse import descend_rows


@kernel
def finish_sparse_gradient(
    layers: Array, parameters: Parameters, buffers: Buffers, examples: Examples, m: int
) -> None:
    """The whole gradient (features, width) of sparse first weights, from a minibatch of m examples.

    Some optimizers need every row of it. It is what a descent from 0 by a rate of -1 gives.
    """
    d, gradient = (
        matrix(buffers.delta, buffers.capacity, layers, 0, m),
        weights(parameters.gradient, layers, 0),
    )
    gradient[:] = 0
    descend_rows(examples, buffers, d, gradient, gradient.dtype.type(-1))


@kernel
def update_part(options: Options, parameters: Parameters, start: int, size: int, step: int) -> None:
    """One optimizer step on the parameters start .. start + size of the vectors (parameters,)."""
    end = start + size
    p, g = parameters.vector[start:end], parameters.gradient[start:end]
    if options.adam:
        first, second = parameters.first[start:end], parameters.second[start:end]
        optimizers.adam(p, g, first, second, options, step)
    else:
        optimizers.sgd(p, g, parameters.first[start:end], options)


@kernel
def update(
    layers: Array,
    options: Options,
    parameters: Parameters,
    buffers: Buffers,
    examples: Examples,
    m: int,
    step: int,
) -> None:
    """Update `step`, counted from 1, of the parameters that the network has.

    The gradients are those of a minibatch of m examples; see `network.backward`.
    """
    plain = not options.adam and options.momentum == 0 and options.weight_decay == 0
    last = layers.shape[0] - 1
    for n in range(last + 1):
        width = layers[n, WIDTH]
        if n == 0 and examples.sparse and plain:
            # The rows of features that do not occur have no gradient: plain SGD leaves them alone.
            d = matrix(buffers.delta, buffers.capacity, layers, 0, m)
            descend_rows(examples, buffers, d, weights(parameters.vector, layers, 0), options.lr)
        else:
            if n == 0 and examples.sparse:
                finish_sparse_gradient(layers, parameters, buffers, examples, m)
            update_part(options, parameters, layers[n, WEIGHT], layers[n, INPUTS] * width, step)
        if n == last or options.bias:
            update_part(options, parameters, layers[n, BIAS], width, step)
        if n < last and options.gamma:
            update_part(options, parameters, layers[n, GAMMA], width, step)
        if n < last and options.beta:
            update_part(options, parameters, layers[n, BETA], width, step)


@kernel
def update_running(
    layers: Array, options: Options, parameters: Parameters, buffers: Buffers, m: int
) -> None:
    """Move the running statistics of all hidden layers towards those of a minibatch of m examples.

    All are (units of all hidden layers,), with their padding.
    """
    total = layers[layers.shape[0] - 1, START]
    move_running(
        buffers.mean[:total],
        buffers.var[:total],
        m,
        options.running_keep,
        options.running_take,
        parameters.running_mean[:total],
        parameters.running_var[:total],
    )
