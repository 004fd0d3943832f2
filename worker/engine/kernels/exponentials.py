"""exp and log in fp64 out of fused multiplications and additions, which vectorise, and give the same bits everywhere.

exp after W. Cody and W. Waite: 2^k times a polynomial of what is left; log by the series of artanh. Both are within a
few units of the 16th digit.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np

from worker.engine.kernels.jit import double_of, fused, kernel, long_bits_of

u64 = np.uint64

_SMALLEST = -708.0
_PER_LN_2 = 1.4426950408889634
_LN_2_HIGH, _LN_2_LOW = 0.6931471803691238, 1.9082149292705877e-10
"""Together ln 2; the first has so few digits that its products with whole numbers are exact."""
_ROUNDER = 1.5 * 2.0**52
"""Added to a number, it leaves the nearest whole number in the lowest bits."""
_BIAS, _MANTISSA = u64(1023), u64(52)
_ONE, _HALVED_ROOT = u64(0x3FF0000000000000), u64(0x3FE6A09E667F3BCD)
"""Bits of 1 and of √½."""
_WHOLE = u64(0x4330000000000000)
"""Bits of 2^52: or'ed to a small whole number they make 2^52 and that number."""

_E2, _E3, _E4, _E5, _E6, _E7, _E8, _E9, _E10, _E11, _E12 = (1.0 / factorial(n) for n in range(2, 13))
_L3, _L5, _L7, _L9, _L11, _L13, _L15, _L17, _L19, _L21 = (2.0 / n for n in range(3, 22, 2))


@kernel
def exp(value: Any) -> Any:
    """e^value for values up to 0; below −708 it stays at e^−708."""
    bounded = max(value, _SMALLEST)
    shifted = fused(bounded, _PER_LN_2, _ROUNDER)
    whole = shifted - _ROUNDER
    r = fused(whole, -_LN_2_LOW, fused(whole, -_LN_2_HIGH, bounded))
    high = fused(r, fused(r, fused(r, fused(r, fused(r, _E12, _E11), _E10), _E9), _E8), _E7)
    middle = fused(r, fused(r, fused(r, fused(r, high, _E6), _E5), _E4), _E3)
    series = fused(r, fused(r, fused(r, middle, _E2), 1.0), 1.0)
    return series * double_of(u64(u64(long_bits_of(shifted) + _BIAS) << _MANTISSA))


@kernel
def log(value: Any) -> Any:
    """The natural logarithm of a normal number above 0."""
    bits = long_bits_of(value)
    exponent = u64(u64(bits + u64(_ONE - _HALVED_ROOT)) >> _MANTISSA)
    part = double_of(u64(bits - u64(u64(exponent - _BIAS) << _MANTISSA)))
    whole = double_of(u64(exponent | _WHOLE)) - (2.0**52 + 1023.0)
    s = (part - 1.0) / (part + 1.0)
    t = s * s
    high = fused(t, fused(t, fused(t, fused(t, fused(t, _L21, _L19), _L17), _L15), _L13), _L11)
    series = t * fused(t, fused(t, fused(t, fused(t, high, _L9), _L7), _L5), _L3)
    return fused(whole, _LN_2_HIGH, fused(whole, _LN_2_LOW, s * (2.0 + series)))
