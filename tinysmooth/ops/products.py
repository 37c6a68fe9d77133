"""Matrix products; the adjoint of a product is a product with the transpose."""

from __future__ import annotations

import math

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_ndim
from tinysmooth.graph import Array, fresh
from tinysmooth.primitive import Recorded, primitive, unbroadcast

__all__ = ["linear", "matmul"]


@primitive
def matmul(a: Array, b: Array) -> Recorded:
    """Matrix product ``a @ b`` with NumPy's rules for vectors and stacks of matrices.

    Parameters
    ----------
    a : array, shape (..., M, P) or (P,)
    b : array, shape (..., P, Q) or (P,)

    Returns
    -------
    Tensor, shape (..., M, Q), without the axes that a vector lacks

    Raises
    ------
    ValueError
        If an argument has no axes, the inner lengths differ or the stacks do not broadcast.
    """
    if not a.ndim or not b.ndim:
        raise ValueError(
            f"matmul: the shapes are {a.shape} and {b.shape}; expected at least one axis each. "
            "Use * for a number"
        )
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ValueError(
            f"matmul: the shapes are {a.shape} and {b.shape}; expected equal inner lengths, "
            f"got {a.shape[-1]} and {inner}"
        )
    return _times_matrix(a, b) if b.ndim <= 2 else _times_stack(a, b)


def _times_matrix(a: Array, b: Array) -> Recorded:
    """Multiply whatever a is by one matrix, or a vector as a matrix of one column: all its rows."""
    a_shape, b_shape = a.shape, b.shape
    rows = a.reshape(math.prod(a_shape[:-1]), a_shape[-1])
    matrix = b.reshape(b_shape[0], math.prod(b_shape[1:]))
    like_rows = (len(rows), matrix.shape[1])
    return kernels.matmul(rows, matrix).reshape(a_shape[:-1] + b_shape[1:]), {
        "a": fresh(lambda grad: kernels.matmul(grad.reshape(like_rows), matrix.T).reshape(a_shape)),
        "b": fresh(lambda grad: kernels.matmul(rows.T, grad.reshape(like_rows)).reshape(b_shape)),
    }


def _times_stack(a: Array, b: Array) -> Recorded:
    """Multiply by a stack of matrices, one by one."""
    a_shape, b_shape = a.shape, b.shape
    rows = a[None, :] if a.ndim == 1 else a
    try:
        out = a @ b
    except ValueError:
        raise ValueError(
            f"matmul: the shapes are {a_shape} and {b_shape}; expected stacks that broadcast"
        ) from None

    def full(grad: Array) -> Array:
        return grad[..., None, :] if len(a_shape) == 1 else grad

    def a_rule(grad: Array) -> Array:
        return unbroadcast(full(grad) @ b.swapaxes(-1, -2), rows.shape).reshape(a_shape)

    def b_rule(grad: Array) -> Array:
        return unbroadcast(rows.swapaxes(-1, -2) @ full(grad), b_shape)

    return out, {"a": a_rule, "b": b_rule}


@primitive
def linear(x: Array, weight: Array, bias: Array | None = None) -> Recorded:
    """Affine map ``x @ weight.T + bias``, in PyTorch's layout.

    Parameters
    ----------
    x : array, shape (..., in)
    weight : array, shape (out, in)
    bias : array, shape (out,), optional

    Returns
    -------
    Tensor, shape (..., out)

    Raises
    ------
    ValueError
        If the lengths do not fit; the message names both.
    """
    rows = rows_of("linear", x, weight, bias)
    x_shape, like_rows = x.shape, (len(rows), weight.shape[0])
    fits = bias is None or bias.dtype == np.result_type(x, weight)  # else the sum may be wider
    out = kernels.linear(rows, weight, bias if fits else None, relu=False)
    out = out.reshape(*x_shape[:-1], weight.shape[0])
    return out if fits else out + bias, {
        "x": fresh(lambda grad: kernels.matmul(grad.reshape(like_rows), weight).reshape(x_shape)),
        "weight": fresh(lambda grad: kernels.matmul(grad.reshape(like_rows).T, rows)),
        "bias": fresh(lambda grad: kernels.bias_gradient(grad.reshape(like_rows))),
    }


def rows_of(where: str, x: Array, weight: Array, bias: Array | None) -> Array:
    """Return the rows of x for a linear layer, of whose arguments the shapes are checked."""
    check_ndim(where, "weight", weight, 2, "(out, in)")
    if not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{where}: x has shape {x.shape}; expected {weight.shape[1]} features on the last "
            f"axis, as weight has shape {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"{where}: bias has shape {bias.shape}; expected {weight.shape[:1]}")
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
