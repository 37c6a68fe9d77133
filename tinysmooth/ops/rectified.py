"""A convolution or a linear layer, its bias, ReLU and a 2x2 max-pool as one operation.

A linear layer adds its bias and cuts off what is negative while its product is in the cache. For a
convolution, that is what a batch norm in evaluation does, if all its factors are 1: the same
kernels do it in one pass over memory. What is kept is the result, which is zero where ReLU cut off;
or with a pool what the convolution gave, to work out again which pixels won.
"""

from __future__ import annotations

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_flag, check_floating
from tinysmooth.graph import Array, fresh
from tinysmooth.ops.products import rows_of
from tinysmooth.ops.spatial import channels_first, check_bias, prepare_convolution
from tinysmooth.ops.sweep import Shared, Sweep
from tinysmooth.primitive import Recorded, primitive

__all__ = ["conv2d_relu", "linear_relu"]


@primitive
def conv2d_relu(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pool: bool = False,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
) -> Recorded:
    """Convolution, then ReLU, then a 2x2 max-pool if asked for.

    Equal to ``relu(conv2d(x, weight, bias, stride, padding))`` or to ``max_pool2d`` of that with a
    window of 2. ``nn.Sequential`` uses it without being asked.

    Parameters
    ----------
    x, weight, stride, padding
        As in :func:`conv2d`.
    bias : array, shape (K,), dtype of ``x``, optional
    pool : bool
        Whether the max-pool follows.

    Returns
    -------
    Tensor, shape (N, K, H', W') as :func:`conv2d` gives it; half of H' and W' with a pool

    Raises
    ------
    TypeError, ValueError
        As :func:`conv2d`; if the bias has another dtype; or if there is a pool and nothing for it
        to halve.
    """
    pool = check_flag("conv2d_relu", "pool", pool)
    convolution = prepare_convolution(x, weight, stride, padding)
    check_bias("conv2d_relu", "bias", bias, weight, alike=True)
    convolved = kernels.conv2d_forward(*convolution)
    if pool and min(convolved.shape[1:3]) < 2:
        raise ValueError(
            f"conv2d_relu: pool is True for a result of shape {channels_first(convolved).shape}; "
            "expected (N, K, H, W) with H and W of at least 2"
        )
    one, zero = np.ones(len(weight), x.dtype), np.zeros(len(weight), x.dtype)
    shift = zero if bias is None else bias.copy()  # nobody may change what a rule needs
    out = kernels.batch_norm_apply(convolved, one, shift, relu=True, pool=pool, residual=None)
    if pool:
        result = out if x.dtype == np.float32 else None
        numbers = (convolved, one, shift, zero, one, one, True, True, False, result)
    else:  # what is positive has come through
        numbers = (out, one, zero, zero, one, one, True, False, False, None)
    swept = Sweep(numbers, ("x", "filters"))
    x_rule, filters_rule = swept.rules(convolution)
    return channels_first(out), {
        "x": x_rule,
        "weight": filters_rule,
        "bias": lambda grad: swept(grad, "bias"),
    }


@primitive
def linear_relu(x: Array, weight: Array, bias: Array | None = None) -> Recorded:
    """Affine map ``x @ weight.T + bias``, then ReLU: equal to ``relu(linear(x, weight, bias))``.

    ``nn.Sequential`` uses it without being asked.

    Parameters
    ----------
    x, weight, bias
        As in :func:`linear`, of one dtype, float32 or float64.

    Returns
    -------
    Tensor, shape (..., out)

    Raises
    ------
    TypeError, ValueError
        As :func:`linear`; or if the dtypes differ, or are neither of the two.
    """
    rows = rows_of("linear_relu", x, weight, bias)
    check_floating("linear_relu", "x", x)
    for name, array in (("weight", weight), ("bias", bias)):
        if array is not None and array.dtype != x.dtype:
            raise TypeError(
                f"linear_relu: {name} has dtype {array.dtype}; expected {x.dtype}, that of x"
            )
    x_shape, out = x.shape, kernels.linear(rows, weight, bias, relu=True)
    shared = Shared(lambda grad: kernels.relu_backward(grad.reshape(out.shape), out))
    return out.reshape(*x_shape[:-1], len(weight)), {
        "x": fresh(lambda grad: kernels.matmul(shared(grad), weight).reshape(x_shape)),
        "weight": fresh(lambda grad: kernels.matmul(shared(grad).T, rows)),
        "bias": fresh(lambda grad: kernels.bias_gradient(shared(grad))),
    }
