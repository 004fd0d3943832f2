"""Loading and storing tiles: raw bytes of any float dtype to fp32 and back.

Half precision is converted with integer operations, which vectorise everywhere (after F. Giesen's public-domain
conversions). Stores round to nearest, ties to even.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import Array
from worker.engine.kernels.jit import bits_of, float_of, kernel

u16 = np.uint16
u32 = np.uint32
f32 = np.float32

MAGNITUDE = u32(0x7FFFFFFF)
INFINITY = u32(0x7F800000)

_ONE = u32(1)
_13, _16 = u32(13), u32(16)
_HALF_MAGNITUDE, _HALF_SIGN = u32(0x7FFF), u32(0x8000)
_HALF_EXPONENT = u32(0x7C00 << 13)
_REBIAS = u32((127 - 15) << 23)
_SMALLEST_NORMAL_HALF = f32(2.0**-14)
_DENORMAL = u32(((127 - 15) + (23 - 10) + 1) << 23)
_DENORMAL_VALUE = f32(0.5)
_NARROW_BIAS = u32(0xC8000FFF)
_LEAST_BIASED = u32(113 << 23)
_TOO_LARGE = u32(143 << 23)


@kernel
def _widen_half(source: Array, bits: Array) -> Any:
    largest = u32(0)
    for j in range(bits.shape[0]):
        half = u32(source[j])
        shifted = u32((half & _HALF_MAGNITUDE) << _13)
        exponent = u32(shifted & _HALF_EXPONENT)
        normal = u32(shifted + _REBIAS)
        subnormal = bits_of(f32(float_of(u32(normal + u32(1 << 23))) - _SMALLEST_NORMAL_HALF))
        wide = u32(normal + _REBIAS) if exponent == _HALF_EXPONENT else normal
        wide = subnormal if exponent == u32(0) else wide
        largest = max(largest, wide)
        bits[j] = u32(wide | u32((half & _HALF_SIGN) << _16))
    return largest


@kernel
def load(raw: Array, row: int, code: int, begin: int, tile: Array) -> Any:
    """Fills the fp32 ``tile`` with elements ``begin...`` of ``raw[row]`` (uint8, dtype ``code``).

    Returns the bits of the largest magnitude: at least ``INFINITY`` when a value is NaN or infinite. fp64 is rounded
    to fp32.
    """
    bits = tile.view(u32)
    size = bits.shape[0]
    if code == 0:
        short = raw[row].view(u16)[begin : begin + size]
        top = u16(0)
        for j in range(bits.shape[0]):
            value = short[j]
            top = max(top, u16(value & u16(0x7FFF)))
            bits[j] = u32(value) << _16
        return u32(u32(top) << _16)
    if code == 1:
        return _widen_half(raw[row].view(u16)[begin : begin + size], bits)
    largest = u32(0)
    if code == 2:
        word = raw[row].view(u32)[begin : begin + size]
        for j in range(bits.shape[0]):
            whole = word[j]
            largest = max(largest, u32(whole & MAGNITUDE))
            bits[j] = whole
        return largest
    double = raw[row].view(np.float64)[begin : begin + size]
    for j in range(bits.shape[0]):
        tile[j] = f32(double[j])
    for j in range(bits.shape[0]):
        largest = max(largest, u32(bits[j] & MAGNITUDE))
    return largest


@kernel
def _narrow_brain(bits: Array, out: Array) -> Any:
    largest = u32(0)
    for j in range(bits.shape[0]):
        value = bits[j]
        magnitude = u32(value & MAGNITUDE)
        largest = max(largest, magnitude)
        rounded = u32(u32(value + u32(0x7FFF) + u32((value >> _16) & _ONE)) >> _16)
        out[j] = u16(u32(0x7FC0) if magnitude > INFINITY else rounded)
    return largest


@kernel
def _narrow_half(bits: Array, out: Array) -> Any:
    largest = u32(0)
    for j in range(bits.shape[0]):
        value = bits[j]
        magnitude = u32(value & MAGNITUDE)
        largest = max(largest, magnitude)
        huge = u32(0x7E00) if magnitude > INFINITY else u32(0x7C00)
        subnormal = u32(bits_of(f32(float_of(magnitude) + _DENORMAL_VALUE)) - _DENORMAL)
        normal = u32(u32(u32(magnitude + _NARROW_BIAS) + u32((magnitude >> _13) & _ONE)) >> _13)
        half = subnormal if magnitude < _LEAST_BIASED else normal
        half = huge if magnitude >= _TOO_LARGE else half
        out[j] = u16(half | u32((value ^ magnitude) >> _16))
    return largest


@kernel
def store(tile: Array, out: Array, code: int, begin: int) -> Any:
    """Writes the fp32 ``tile`` to elements ``begin...`` of ``out`` (uint8) as dtype ``code``.

    True when a value is, or becomes by rounding, NaN or infinite.
    """
    bits = tile.view(u32)
    size = bits.shape[0]
    if code == 0:
        return _narrow_brain(bits, out.view(u16)[begin : begin + size]) >= u32(0x7F7F8000)
    if code == 1:
        return _narrow_half(bits, out.view(u16)[begin : begin + size]) >= u32(0x477FF000)
    largest = u32(0)
    if code == 2:
        single = out.view(u32)[begin : begin + size]
        for j in range(bits.shape[0]):
            largest = max(largest, u32(bits[j] & MAGNITUDE))
            single[j] = bits[j]
        return largest >= INFINITY
    double = out.view(np.float64)[begin : begin + size]
    for j in range(bits.shape[0]):
        largest = max(largest, u32(bits[j] & MAGNITUDE))
        double[j] = np.float64(tile[j])
    return largest >= INFINITY


@kernel
def clear(tile: Array) -> None:
    for j in range(tile.shape[0]):
        tile[j] = 0


@kernel
def subtract(tile: Array, base: Array) -> None:
    for j in range(tile.shape[0]):
        tile[j] -= base[j]


@kernel
def load_change(raw: Array, row: int, code: int, begin: int, base: Array, tile: Array) -> Any:
    """Like ``load``, less ``base``: fills ``tile`` with xᵢ − x₀. Returns what ``load`` does, of xᵢ."""
    if code == 0:
        short = raw[row].view(u16)[begin : begin + base.shape[0]]
        top = u16(0)
        for j in range(tile.shape[0]):
            value = short[j]
            top = max(top, u16(value & u16(0x7FFF)))
            tile[j] = float_of(u32(u32(value) << _16)) - base[j]
        return u32(u32(top) << _16)
    largest = load(raw, row, code, begin, tile)
    subtract(tile, base)
    return largest
