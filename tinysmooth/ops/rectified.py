"""A convolution, its bias, ReLU and a 2x2 max-pool as one operation.

To add a bias and cut off what is negative is what a batch norm in evaluation does, if all its
factors are 1: the same kernels do it in one pass over memory. They keep what the convolution gave,
and work out again what ReLU cut off and which pixels won.
"""

from __future__ import annotations

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_flag
from tinysmooth.graph import Array, fresh
from tinysmooth.ops.spatial import channels_first, check_bias, prepare_convolution
from tinysmooth.ops.sweep import Sweep
from tinysmooth.primitive import Recorded, primitive

__all__ = ["conv2d_relu"]


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

    Equal to ``max_pool2d(relu(conv2d(x, weight, bias, stride, padding)), 2)``. ``nn.Sequential``
    uses it without being asked.

    Parameters
    ----------
    x, weight, bias, stride, padding
        As in :func:`conv2d`.
    pool : bool
        Whether the max-pool follows.

    Raises
    ------
    TypeError, ValueError
        As :func:`conv2d`; or if there is a pool and nothing for it to halve.
    """
    pool = check_flag("conv2d", "pool", pool)
    convolution = prepare_convolution(x, weight, stride, padding)
    check_bias(bias, weight)
    convolved = kernels.conv2d_forward(*convolution)
    if pool and min(convolved.shape[1:3]) < 2:
        raise ValueError(
            f"conv2d: pool is True for a result of shape {channels_first(convolved).shape}; "
            "expected (N, K, H, W) with H and W of at least 2"
        )
    one, zero = np.ones(len(weight), x.dtype), np.zeros(len(weight), x.dtype)
    shift = zero if bias is None else bias.astype(x.dtype, copy=False)
    out = kernels.batch_norm_apply(convolved, one, shift, relu=True, pool=pool, residual=None)
    result = out if pool and x.dtype == np.float32 else None
    numbers = (convolved, one, shift, zero, one, one, True, pool, False, result)
    swept = Sweep(numbers, ("x", "filters"))
    to_images, _ = convolution.gradients()
    images, (steps, frame), shape = convolution.images, convolution[2:], weight.shape
    return channels_first(out), {
        "x": fresh(lambda grad: channels_first(to_images(swept(grad, "x")))),
        "weight": fresh(lambda grad: swept.filters(grad, images, shape, steps, frame)),
        "bias": lambda grad: swept(grad, "bias"),
    }
