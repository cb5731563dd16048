"""e^x, tanh x and log x from additions and multiplications, so that loops over them vectorise.

The mathematical library of the system computes one value at a time, and differently from machine to
machine. Here x = n log 2 + r with a whole n and |r| <= log(2) / 2, and e^x = 2^n e^r, where e^r is
its Taylor series: 7 terms for float32 and 13 for float64 leave an error below half a unit in the
last place. The results are within 3 units in the last place of the exact ones; a test holds it.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from bnexp.networks.kernels.compiler import bits_of, fma, kernel, number_of

LOG2E_32, LOG2E_64 = np.float32(1.4426950408889634), np.float64(1.4426950408889634)
# log 2 in two parts: the first has trailing zero bits, so that its product with n is exact.
LOG2_HIGH_32, LOG2_LOW_32 = np.float32(0.693359375), np.float32(-2.12194440e-4)
LOG2_HIGH_64, LOG2_LOW_64 = np.float64(0.693147180369123816490), np.float64(1.90821492927058770e-10)
# Adding 1.5 * 2^23 to a float32 leaves it no bits behind the point, so it rounds to a whole number,
# which then stands in the lowest bits; 2^52 for float64.
ROUND_32, ROUND_64 = np.float32(1.5 * 2**23), np.float64(1.5 * 2**52)
# Beyond these, 2^n is no normal number. They stand for 0 and infinity: 1e-38 and 1e38, or 1e-308
# and 1e308.
LOW_32, HIGH_32 = np.float32(-87.3), np.float32(88.3)
LOW_64, HIGH_64 = np.float64(-708.3), np.float64(709.4)
ONE_32, ONE_64 = np.float32(1), np.float64(1)


@kernel
def _parts_32(x: np.float32) -> tuple[np.float32, np.float32]:
    """2^n and e^r - 1 of one number x = n log 2 + r."""
    x = max(x, LOW_32)  # a NaN stays one: it is neither below nor above
    x = min(x, HIGH_32)
    shifted = fma(x, LOG2E_32, ROUND_32)
    n = shifted - ROUND_32
    r = fma(n, -LOG2_LOW_32, fma(n, -LOG2_HIGH_32, x))
    s = np.float32(1 / 5040)
    s = fma(s, r, np.float32(1 / 720))
    s = fma(s, r, np.float32(1 / 120))
    s = fma(s, r, np.float32(1 / 24))
    s = fma(s, r, np.float32(1 / 6))
    s = fma(s, r, np.float32(1 / 2))
    # The exponent of a float32 stands in the bits from 23 on, and is counted from -127.
    bits = np.int32((bits_of(shifted) << np.int32(23)) + np.int32(127 << 23))
    return number_of(bits), fma(s * r, r, r)


@kernel
def _parts_64(x: np.float64) -> tuple[np.float64, np.float64]:
    """The same in float64, whose exponent stands in the bits from 52 on, counted from -1023."""
    x = max(x, LOW_64)
    x = min(x, HIGH_64)
    shifted = fma(x, LOG2E_64, ROUND_64)
    n = shifted - ROUND_64
    r = fma(n, -LOG2_LOW_64, fma(n, -LOG2_HIGH_64, x))
    s = 1 / 6227020800
    s = fma(s, r, 1 / 479001600)
    s = fma(s, r, 1 / 39916800)
    s = fma(s, r, 1 / 3628800)
    s = fma(s, r, 1 / 362880)
    s = fma(s, r, 1 / 40320)
    s = fma(s, r, 1 / 5040)
    s = fma(s, r, 1 / 720)
    s = fma(s, r, 1 / 120)
    s = fma(s, r, 1 / 24)
    s = fma(s, r, 1 / 6)
    s = fma(s, r, 1 / 2)
    bits = (bits_of(shifted) << 52) + (1023 << 52)
    return number_of(bits), fma(s * r, r, r)


def exp(x: float) -> float:
    """e^x = 2^n + 2^n (e^r - 1), of the type of x."""
    raise NotImplementedError(x)  # compiled code alone calls it; see the next function


@overload(exp)
def _exp(x: Any) -> Any:
    parts = _parts_32 if x == types.float32 else _parts_64

    def compiled(x: Any) -> Any:
        scale, rest = parts(x)
        return fma(scale, rest, scale)

    return compiled


def tanh(x: float) -> float:
    """Tanh x = t / (t + 2) with t = e^(2x) - 1, which is exact to the last places near 0 too."""
    raise NotImplementedError(x)


@overload(tanh)
def _tanh(x: Any) -> Any:
    parts, one = (_parts_32, ONE_32) if x == types.float32 else (_parts_64, ONE_64)

    def compiled(x: Any) -> Any:
        scale, rest = parts(x + x)
        t = fma(scale, rest, scale - one)
        return t / (t + (one + one))

    return compiled


@kernel
def log(x: np.float64) -> np.float64:
    """Log x = n log 2 + log f for x = 2^n f, with f between sqrt(1/2) and sqrt(2).

    log f = 2 artanh s = 2 (s + s^3 / 3 + s^5 / 5 + ...) with s = (f - 1) / (f + 1), |s| < 0.172.
    """
    bits = bits_of(x)
    n = (bits >> 52) - 1023
    f = number_of((bits & ((1 << 52) - 1)) | (1023 << 52))
    if f > 1.4142135623730951:
        f *= 0.5
        n += 1
    s = (f - 1.0) / (f + 1.0)
    q = s * s
    t = 1 / 23
    t = fma(t, q, 1 / 21)
    t = fma(t, q, 1 / 19)
    t = fma(t, q, 1 / 17)
    t = fma(t, q, 1 / 15)
    t = fma(t, q, 1 / 13)
    t = fma(t, q, 1 / 11)
    t = fma(t, q, 1 / 9)
    t = fma(t, q, 1 / 7)
    t = fma(t, q, 1 / 5)
    t = fma(t, q, 1 / 3)
    t = fma(t * q, s, s)
    # x - x is 0, and NaN where x is infinite or NaN: their bits are no number's.
    whole = np.float64(n)
    result: np.float64 = fma(whole, LOG2_HIGH_64, 2.0 * t + whole * LOG2_LOW_64) + (x - x)
    return result
