"""Kernels as parts of what Python calls, against Numba's own way of compiling them."""

import numba
import numpy as np
import pytest
from numba.core.compiler import Compiler

from bnexp.networks.kernels.batch_norm import batch_norm_backward
from bnexp.networks.kernels.compiler import OPTIONS, kernel, part_compiler

whole = numba.njit(**OPTIONS)(batch_norm_backward.py_func)


@numba.njit(**OPTIONS)
def as_a_part(gradients, x_hat, gamma, inv_std):
    """What Python calls; the kernel is a part of it."""
    d, d_gamma, d_beta = gradients
    batch_norm_backward(d, x_hat, gamma, inv_std, d_gamma, d_beta)


@kernel
def reshaped(x, columns):
    """X as a matrix."""
    return x.reshape(x.size // columns, columns)


@kernel
def doubled(x):
    """2 x, which nothing else here uses."""
    return 2 * x


@numba.njit(**OPTIONS)
def sum_of_reshaped(x, columns):
    """The sum of x, which goes through a matrix."""
    return reshaped(x, columns).sum()


def test_a_part_of_an_entry_gives_the_bits_of_a_function_that_numba_compiles_as_always():
    """Batch norm's backward pass is the same to the last bit."""
    random = np.random.default_rng(0)
    d, x_hat = random.normal(size=(2, 60, 112)).astype(np.float32)
    gamma, inv_std = random.uniform(0.5, 2, size=(2, 112)).astype(np.float32)
    expected = d.copy(), np.empty(112, np.float32), np.empty(112, np.float32)
    whole(expected[0], x_hat, gamma, inv_std, *expected[1:])
    gradients = d.copy(), np.empty(112, np.float32), np.empty(112, np.float32)
    as_a_part(gradients, x_hat, gamma, inv_std)
    assert [each.tobytes() for each in gradients] == [each.tobytes() for each in expected]


def test_an_error_in_a_kernel_reaches_python():
    """A kernel that NumPy would refuse raises the exception where Python has called."""
    x = np.ones(12)
    assert sum_of_reshaped(x, 4) == 12
    with pytest.raises(ValueError, match="total size"):
        sum_of_reshaped(x, 5)


def test_the_numba_that_is_installed_compiles_kernels_as_parts():
    """A part has no machine code of its own; Numba has the names that this needs."""
    doubled.compile((numba.float64,))
    (compiled,) = doubled.overloads.values()
    assert part_compiler() is not Compiler
    assert compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name) == 0


def test_a_numba_without_these_names_compiles_kernels_in_its_own_way():
    """Nothing is overridden that is not there."""
    assert part_compiler(object) is Compiler
