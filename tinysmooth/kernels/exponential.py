"""exp of sixteen float32 at a time, for arguments of at most zero, as the softmax needs it.

Numba's ``math.exp`` inside a loop is a call for every number; here it is about twenty vector
instructions for sixteen. The method is the classical one (Cody and Waite, *Software Manual for the
Elementary Functions*, 1980, chapter 6)::

    x = n ln 2 + r,  n an integer, |r| <= ln(2) / 2         exp(x) = 2^n exp(r)

exp(r) is a polynomial, and 2^n is written into the exponent bits of a float. The result is within
2 units in the last place over the whole range (tested on a dense grid and at the edges), gradual
underflow included; below -104 it is 0, at 0 it is exactly 1, and NaN stays NaN.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.generators import Lanes
from tinysmooth.kernels.vectors import (
    LANES,
    VECTOR,
    first_lanes,
    multiply_add,
    vector,
)

__all__ = ["exp_of_difference", "fill_tail", "largest_lane", "sum_lanes"]

INTEGER = ir.IntType(32)
INTEGERS = ir.VectorType(INTEGER, LANES)

LOWEST = -104.0  # exp of this is 0.49 of the smallest positive float32, which rounds to 0
# Adding it to a small number rounds that to an integer and leaves the integer in the lowest bits;
# the lowest nine bits of the rounder itself are 0.
ROUNDER = 1.5 * 2.0**23
# Every result is first made this much too large, so that 2^n cannot leave the range of exponents.
LIFT = 2.0**64
# ln 2 = HIGH + LOW; HIGH has so few bits that n * HIGH is exact for |n| <= 150.
HIGH, LOW = 0.693359375, -2.12194440054690583e-4
# exp(r) = 1 + r + r^2 (POLYNOMIAL in r), highest power first: fitted for the smallest largest
# relative error on |r| <= ln(2)/2, then rounded to float32 (Cephes expf, S. Moshier, 1989).
POLYNOMIAL = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)


def _floats(value: float) -> ir.Constant:
    return ir.Constant(VECTOR, [value] * LANES)


@intrinsic
def exp_of_difference(context: Any, values: Any, top: Any) -> Any:
    """Return exp(values - top) for values <= top: ``exp_of_difference(values, top)``.

    A rounding error in the difference would become a relative error of the same size in its exp:
    5e-6 at -80. So the part of the difference that rounding cut off is found (Knuth's two-sum)
    and added to r, where it counts.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        z, m = Lanes(builder, args[0]), Lanes(builder, args[1])
        difference = z - m
        removed = difference - z
        lost = (z - (difference - removed)) - (m + removed)
        # In this form of the comparison a NaN is not below, hence stays.
        below = builder.fcmp_ordered("<", difference.value, _floats(LOWEST))
        x = builder.select(below, _floats(LOWEST), difference.value)
        rest = Lanes(builder, builder.select(below, _floats(0.0), lost.value))

        shifted = multiply_add(builder, x, _floats(1 / math.log(2)), _floats(ROUNDER))
        n = Lanes(builder, shifted) - ROUNDER
        r = multiply_add(builder, n.value, _floats(-HIGH), x)
        r = multiply_add(builder, n.value, _floats(-LOW), r)
        r = (Lanes(builder, r) + rest).value

        tail = _floats(POLYNOMIAL[0])
        for coefficient in POLYNOMIAL[1:]:
            tail = multiply_add(builder, tail, r, _floats(coefficient))
        exp_r = multiply_add(builder, tail, (Lanes(builder, r) * Lanes(builder, r)).value, r)

        # Times 2^n: n is added to the exponent, which a float32 keeps above its 23 lowest bits.
        lifted = multiply_add(builder, exp_r, _floats(LIFT), _floats(LIFT))
        shift = ir.Constant(INTEGERS, [23] * LANES)
        n_in_place = builder.shl(builder.bitcast(shifted, INTEGERS), shift)
        scaled = builder.add(builder.bitcast(lifted, INTEGERS), n_in_place)
        # Adding to the bits of a NaN may make a number of it: x * 0 brings the NaN back.
        lower = multiply_add(builder, x, _floats(0.0), _floats(1 / LIFT))
        return builder.fmul(builder.bitcast(scaled, VECTOR), lower)

    return vector(vector, vector), generate


@intrinsic
def fill_tail(context: Any, values: Any, count: Any, filler: Any) -> Any:
    """Return `values` in the first `count` lanes and `filler` in the others."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(first_lanes(builder, args[1]), args[0], args[2])

    return vector(vector, types.intp, vector), generate


def _folded(builder: Any, value: Any, join: Any) -> Any:
    """Join the upper half of the lanes with the lower, until one is left."""
    undefined = ir.Constant(VECTOR, ir.Undefined)
    width = LANES // 2
    while width:
        order = [(lane + width) % LANES for lane in range(LANES)]
        moved = builder.shuffle_vector(value, undefined, ir.Constant(INTEGERS, order))
        value = join(value, moved)
        width //= 2
    return builder.extract_element(value, ir.Constant(INTEGER, 0))


@intrinsic
def sum_lanes(context: Any, values: Any) -> Any:
    """Return the sum of the sixteen lanes, as float32."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _folded(builder, args[0], lambda a, b: builder.fadd(a, b))

    return types.float32(vector), generate


@intrinsic
def largest_lane(context: Any, values: Any) -> Any:
    """Return the largest of the sixteen lanes; a NaN may get lost."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def larger(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return _folded(builder, args[0], larger)

    return types.float32(vector), generate
