"""`Lanes`: an LLVM vector value with the operators ``+ - *``, for functions that write code.

A function written for NumPy arrays, called with `Lanes`, writes LLVM instructions instead: the
Winograd transforms serve both. The exponential uses them to be read as a formula.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from tinysmooth.kernels.vectors import multiply_add

__all__ = ["Lanes"]


class Lanes:
    """An LLVM vector value that grows code when it is added, subtracted or multiplied.

    A product with a number is written only when it is used; added to something, it becomes one
    fused multiply-add. So it is decided here where a result is rounded, and not by LLVM, which
    decides anew for every copy that it makes of a function.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Receives the instructions.
    value : llvmlite.ir.Value
        A vector of floats.
    factor : float, optional
        What the value is still to be multiplied by.
    """

    __slots__ = ("builder", "factor", "unscaled")

    def __init__(self, builder: Any, value: Any, factor: float | None = None) -> None:
        self.builder, self.unscaled, self.factor = builder, value, factor

    @property
    def value(self) -> Any:
        """The LLVM value, with the product carried out."""
        if self.factor is None:
            return self.unscaled
        return self.builder.fmul(self.unscaled, self._constant(self.factor))

    def _constant(self, number: float) -> Any:
        kind = self.unscaled.type
        return ir.Constant(kind, [number] * kind.count)

    def _sum(self, other: Lanes | float, sign: float) -> Lanes:
        """Write ``self + sign * other``."""
        builder = self.builder
        right = other if isinstance(other, Lanes) else Lanes(builder, self._constant(float(other)))
        if right.factor is not None:
            factor = self._constant(sign * right.factor)
            return Lanes(builder, multiply_add(builder, right.unscaled, factor, self.value))
        if self.factor is not None:
            rest = right.value if sign > 0 else builder.fneg(right.value)
            factor = self._constant(self.factor)
            return Lanes(builder, multiply_add(builder, self.unscaled, factor, rest))
        write: Callable[..., Any] = builder.fadd if sign > 0 else builder.fsub
        return Lanes(builder, write(self.value, right.value))

    def __add__(self, other: Lanes | float) -> Lanes:
        return self._sum(other, 1.0)

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self._sum(other, -1.0)

    def __mul__(self, other: Lanes | float) -> Lanes:
        if isinstance(other, Lanes):
            return Lanes(self.builder, self.builder.fmul(self.value, other.value))
        return Lanes(self.builder, self.value, float(other))

    __radd__ = __add__
    __rmul__ = __mul__
