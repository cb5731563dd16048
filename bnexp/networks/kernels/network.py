"""The forward and the backward pass of one network, put together from the other kernels."""

from bnexp.networks.kernels.activations import activate, activate_backward
from bnexp.networks.kernels.batch_norm import (
    batch_norm_backward,
    batch_statistics,
    normalize,
    scale_and_shift,
    subtract,
)
from bnexp.networks.kernels.compiler import kernel
from bnexp.networks.kernels.layout import (
    BETA,
    BIAS,
    GAMMA,
    INPUTS,
    START,
    UNITS,
    WEIGHT,
    WIDTH,
    Array,
    Buffers,
    Examples,
    Options,
    Parameters,
)
from bnexp.networks.kernels.linear import add_column_sums, add_product, fill, transpose
from bnexp.networks.kernels.sparse import add_sparse_product, by_feature, pack


@kernel
def weights(vector: Array, layers: Array, n: int) -> Array:
    """The weights (inputs, width) of layer n, counted from 0, in a vector (parameters,)."""
    inputs, width, start = layers[n, INPUTS], layers[n, WIDTH], layers[n, WEIGHT]
    return vector[start : start + inputs * width].reshape(inputs, width)


@kernel
def row(vector: Array, start: int, layers: Array, n: int) -> Array:
    """The part (width,) of a vector that has a number for each unit of layer n, from `start` on."""
    return vector[start : start + layers[n, WIDTH]]


@kernel
def matrix(buffer: Array, capacity: int, layers: Array, n: int, examples: int) -> Array:
    """What an array of `Buffers` holds of layer n, for so many examples: (examples, width)."""
    start, width = capacity * layers[n, START], layers[n, WIDTH]
    return buffer[start : start + examples * width].reshape(examples, width)


@kernel
def dense_inputs(buffers: Buffers, layers: Array, examples: int) -> Array:
    """The dense examples (examples, features) that `gather` has put there."""
    features = layers[0, INPUTS]
    return buffers.inputs[: examples * features].reshape(examples, features)


@kernel
def gather(examples: Examples, index: Array, buffers: Buffers) -> None:
    """Copy the dense examples `index` (m,) side by side, in the network's dtype."""
    features = examples.dense.shape[1]
    for b in range(index.size):
        i = index[b]
        for p in range(features):
            buffers.inputs[b * features + p] = examples.dense[i, p]


@kernel
def forward(
    layers: Array,
    options: Options,
    parameters: Parameters,
    buffers: Buffers,
    examples: Examples,
    index: Array,
    depth: int,
    training: bool,
) -> None:
    """Compute the pre-activations of the first `depth` layers for the examples `index` (m,).

    For each layer x = W a + b, where a is the layer before; z = gamma x-hat + beta where there is
    batch norm, else z = x; then a = act(z). In training, x-hat is normalized with the statistics
    of these examples, else with the running ones. The running statistics do not change here.
    x, z and a of a layer: (m, width), in `buffers`; W: (inputs, width), and b: (width,).
    """
    m, vector, outputs = index.size, parameters.vector, layers.shape[0] - 1
    for n in range(depth):
        norm = options.norm and n < outputs
        z = matrix(buffers.preactivation, buffers.capacity, layers, n, m)
        x = matrix(buffers.normalized, buffers.capacity, layers, n, m) if norm else z
        fill(x, row(vector, layers[n, BIAS], layers, n))
        w = weights(vector, layers, n)
        if n > 0:
            add_product(matrix(buffers.activation, buffers.capacity, layers, n - 1, m), w, x)
        elif examples.sparse:
            pack(examples, index, buffers)
            add_sparse_product(examples, m, buffers, w, x)
        else:
            gather(examples, index, buffers)
            add_product(dense_inputs(buffers, layers, m), w, x)
        if norm:
            var = row(parameters.running_var, layers[n, START], layers, n)
            if training:
                var = row(buffers.var, layers[n, START], layers, n)
                batch_statistics(x, row(buffers.mean, layers[n, START], layers, n), var)
            else:
                subtract(x, row(parameters.running_mean, layers[n, START], layers, n))
            normalize(x, var, options.eps, row(buffers.inv_std, layers[n, START], layers, n))
            gamma = row(vector, layers[n, GAMMA], layers, n)
            scale_and_shift(x, gamma, row(vector, layers[n, BETA], layers, n), z)
        if n + 1 < depth:
            a = matrix(buffers.activation, buffers.capacity, layers, n, m)
            activate(options.activation, z.reshape(z.size), a.reshape(a.size))


@kernel
def backward(
    layers: Array,
    options: Options,
    parameters: Parameters,
    buffers: Buffers,
    examples: Examples,
    index: Array,
) -> None:
    """All gradients but that of sparse first weights, from dL/dz (m, width) of the output layer.

    Backwards through each layer: dL/dz = dL/da act'(z); through batch norm to dL/dx; then
    dL/dW = a^T dL/dx, dL/db = sum dL/dx, and dL/da = dL/dx W^T for the layer before. dL/da, dL/dz
    and dL/dx of a layer are `buffers.delta`, one in the place of the other. index: (m,).
    """
    m, last = index.size, layers.shape[0] - 1
    vector, gradient = parameters.vector, parameters.gradient
    for n in range(last, -1, -1):
        d = matrix(buffers.delta, buffers.capacity, layers, n, m)
        if n < last:
            a = matrix(buffers.activation, buffers.capacity, layers, n, m)
            activate_backward(options.activation, a.reshape(a.size), d.reshape(d.size))
            if options.norm:
                batch_norm_backward(
                    d,
                    matrix(buffers.normalized, buffers.capacity, layers, n, m),
                    row(vector, layers[n, GAMMA], layers, n),
                    row(buffers.inv_std, layers[n, START], layers, n),
                    row(gradient, layers[n, GAMMA], layers, n),
                    row(gradient, layers[n, BETA], layers, n),
                )
        if n == last or options.bias:
            d_bias = row(gradient, layers[n, BIAS], layers, n)
            d_bias[:] = 0
            add_column_sums(d, d_bias)
        if n > 0:
            below = matrix(buffers.activation, buffers.capacity, layers, n - 1, m)
            d_weights = weights(gradient, layers, n)
            d_weights[:] = 0
            add_product(below.T, d, d_weights)
            d_below = matrix(buffers.delta, buffers.capacity, layers, n - 1, m)
            units, width = layers[n, UNITS], layers[n - 1, WIDTH]
            w_t = buffers.transposed[: layers[n, WIDTH] * width].reshape(layers[n, WIDTH], width)
            transpose(weights(vector, layers, n), w_t)
            d_below[:] = 0
            add_product(d, w_t[:units], d_below)
        elif examples.sparse:
            by_feature(examples, m, buffers)
        else:
            d_weights = weights(gradient, layers, 0)
            d_weights[:] = 0
            add_product(dense_inputs(buffers, layers, m).T, d, d_weights)
