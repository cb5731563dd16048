"""A training step as plain loops that Numba compiles, one subject a file: the products of matrices,
the gradient of each parameter (gamma's in `batch_norm`), and the interpolation of percentiles.

Every kernel stands beside the equation that it computes. `layout` says how a network lies in
memory. `linear` and `sparse` are the products, and `tiles` and `sparse_tiles` their innermost sums.
`batch_norm`, `activations`, `loss` and `optimizers` are what their names say, `exponential` the
functions e^x, tanh and log, and `percentiles` selects and interpolates the percentiles. `network`
puts them together into the forward and the backward pass, `update` into the update, and `step`
holds the functions that Python calls. `compiler` says how all this is compiled, and `warm_up`
compiles it before the first run. `examples` and `packing` are the way from and to ordinary arrays.
Read `layout` and `step` first.

Three rules hold in all of them:

- The inner loop runs over the units of a layer, which lie side by side in memory, so that the
  compiler turns it into vector instructions. Its length is never a constant in the source: with a
  constant, the compiler unrolls the loop before it could vectorise it, and is 3 to 4 times slower.
- Sums are taken in the order that the source states, and `a * b + c` is written as `fma` where it
  may be rounded once. There is no BLAS underneath and, except for one power in Adam, no
  mathematical library. So the bits of a network do not depend on the width of the processor's
  vectors, nor on the libraries that are installed.
- A Python literal such as 0.5 is a float64 for Numba and would turn float32 arithmetic into
  float64. Constants therefore take their type from an array: `z.dtype.type(0.5)`.

This folder imports Numba; `bnexp.networks.kernels_engine` is the only module that imports it.
"""
