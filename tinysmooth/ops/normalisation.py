"""Batch normalisation, alone and fused with what usually follows it.

For each channel, over the batch and the image: ``(x - mean) / sqrt(var + eps) * weight + bias``
(Ioffe and Szegedy 2015). Kernels see it folded into ``x * scale + shift``. In the backward the mean
and the variance depend on x too, which takes out of the gradient its mean and its part along x.

``batch_norm_block`` is the same followed by ReLU, a 2x2 max-pool and the addition of a residual, in
one pass over memory: it keeps only x, and its result if that is pooled, and works out the mask and
the winners of the pool again.
``conv2d_block`` begins with a convolution, which takes the statistics while it writes. Where its
images need no gradient, the filters may get theirs while that of the batch norm is made.
"""

from __future__ import annotations

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_flag, check_floating, check_real
from tinysmooth.graph import Array, fresh
from tinysmooth.ops.spatial import channels_first, channels_last, check_bias, prepare_convolution
from tinysmooth.ops.sweep import Sweep
from tinysmooth.primitive import Recorded, primitive

__all__ = ["batch_norm", "batch_norm_block", "conv2d_block"]

Statistics = tuple[Array, Array]
Numbers = tuple[Array, Array, Array | None, Array | None, bool, float, float]


@primitive
def batch_norm(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Recorded:
    """Normalise each channel of images (N, C, H, W) or features (N, C).

    Parameters
    ----------
    x : array, shape (N, C, H, W) or (N, C), float32 or float64
    weight, bias : array, shape (C,)
        Scale and shift after normalising.
    running_mean, running_var : ndarray, shape (C,), or None
        Running statistics. In training they are updated **in place**:
        ``running = (1 - momentum) * running + momentum * batch``, the variance unbiased, as
        PyTorch does. In evaluation they are used instead of the batch's.
    training : bool
        Whether to normalise with the batch's own statistics.
    momentum, eps : float
        Weight of the newest batch in [0, 1]; positive number added to the variance.

    Returns
    -------
    Tensor, shape and dtype of ``x``

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, there is one value a channel in training, or the statistics are
        missing in evaluation.
    """
    return _batch_norm(x, (weight, bias, running_mean, running_var, training, momentum, eps))


@primitive
def batch_norm_block(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    relu: bool = True,
    pool: bool = False,
    residual: Array | None = None,
) -> Recorded:
    """Batch normalisation, then ReLU, then a 2x2 max-pool, then ``+ residual``, in one pass.

    Equal to the composition ``max_pool2d(relu(batch_norm(x)), 2) + residual`` with the steps that
    are switched off left out. ``nn.Sequential`` and ``nn.Residual`` use it without being asked.

    Parameters
    ----------
    x, weight, bias, running_mean, running_var, training, momentum, eps
        As in :func:`batch_norm`.
    relu, pool : bool
        Which steps follow.
    residual : array, of the result's shape, optional
        What to add at the end.

    Raises
    ------
    TypeError, ValueError
        As :func:`batch_norm`; or if ``residual`` has not the shape of the result.
    """
    relu, pool = check_flag("batch_norm", "relu", relu), check_flag("batch_norm", "pool", pool)
    numbers = (weight, bias, running_mean, running_var, training, momentum, eps)
    return _batch_norm(x, numbers, relu, pool, residual)


@primitive
def conv2d_block(
    x: Array,
    filters: Array,
    weight: Array,
    bias: Array,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    relu: bool = True,
    pool: bool = False,
    residual: Array | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    filters_bias: Array | None = None,
) -> Recorded:
    """Convolution, then all of :func:`batch_norm_block`.

    Equal to ``batch_norm_block(conv2d(x, filters, filters_bias, stride, padding), weight, ...)``,
    but for rounding. ``nn.Sequential`` uses it without being asked.

    A batch norm subtracts the bias of the convolution again. So a finite bias is not added: it
    moves the running mean, and its gradient is 0 in training, exactly and not up to rounding.

    Parameters
    ----------
    x, filters, stride, padding, filters_bias
        As ``x``, ``weight``, ``stride``, ``padding`` and ``bias`` of :func:`conv2d`, the last of
        the dtype of ``x``.
    weight, bias, running_mean, running_var, training, momentum, eps, relu, pool, residual
        As in :func:`batch_norm_block`.

    Raises
    ------
    TypeError, ValueError
        As :func:`conv2d` and :func:`batch_norm_block`.
    """
    training = check_flag("batch_norm", "training", training)
    relu, pool = check_flag("batch_norm", "relu", relu), check_flag("batch_norm", "pool", pool)
    convolution = prepare_convolution(x, filters, stride, padding)
    check_bias("conv2d_block", "filters_bias", filters_bias, filters, alike=True)
    statistics: Statistics | None = None
    mean = running_mean
    if training:
        convolved, statistics = kernels.conv2d_with_statistics(*convolution)
    else:
        convolved = kernels.conv2d_forward(*convolution)
    if filters_bias is not None and not np.isfinite(filters_bias).all():
        kernels.add_bias(convolved, filters_bias)  # what is no number must not stay unseen
        filters_bias, statistics = None, None
    if not training and filters_bias is not None and mean is not None:
        if mean.shape == filters_bias.shape:  # else it is refused below
            mean = mean - filters_bias.astype(np.float64)
    out, swept = _normalise(
        *(channels_first(convolved), weight, bias, mean, running_var, training),
        *(momentum, eps, relu, pool, residual, statistics),
        users=("x", "filters"),
    )
    if training and running_mean is not None and filters_bias is not None:
        running_mean += momentum * filters_bias
    slope = np.zeros_like(swept.scale) if training else swept.scale
    x_rule, filters_rule = swept.rules(convolution)
    return channels_first(out), {
        "x": x_rule,
        "filters": filters_rule,
        "filters_bias": lambda grad: swept(grad, "constant") * slope,
        "weight": lambda grad: swept(grad, "weight"),
        "bias": lambda grad: swept(grad, "bias"),
        "residual": lambda grad: grad,
    }


def _batch_norm(
    x: Array,
    numbers: Numbers,
    relu: bool = False,
    pool: bool = False,
    residual: Array | None = None,
) -> Recorded:
    """Normalise images, or features: images of one pixel. `batch_norm` takes `numbers` behind x."""
    flat = x.ndim == 2
    if pool and (flat or min(x.shape[2:], default=0) < 2):
        raise ValueError(
            f"batch_norm: pool is True for x of shape {x.shape}; expected (N, C, H, W) with H and "
            "W of at least 2"
        )
    if flat and residual is not None:
        if residual.ndim != 2:
            raise ValueError(
                f"batch_norm: residual has shape {residual.shape}; expected {x.shape}, as x has"
            )
        residual = residual[:, :, None, None]
    out, swept = _normalise(x, *numbers, relu, pool, residual)

    def x_rule(grad: Array) -> Array:
        back = channels_first(swept(grad, "x"))
        return back[:, :, 0, 0] if flat else back

    result = channels_first(out)
    return result[:, :, 0, 0] if flat else result, {
        "x": fresh(x_rule),
        "weight": lambda grad: swept(grad, "weight"),
        "bias": lambda grad: swept(grad, "bias"),
        "residual": lambda grad: grad,
    }


def _normalise(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float,
    eps: float,
    relu: bool,
    pool: bool,
    residual: Array | None,
    statistics: Statistics | None = None,
    users: tuple[str, ...] = ("x",),
) -> tuple[Array, Sweep]:
    """Return the block's result (N, H, W, C), and what its rules share.

    `statistics` are the batch's own, if they are known already; `users` as for `Sweep`.
    """
    training = check_flag("batch_norm", "training", training)
    momentum = check_real("batch_norm", "momentum", momentum, low=0.0, high=1.0)
    eps = check_real("batch_norm", "eps", eps, low=0.0, open_low=True)
    x = channels_last(_check_batch(x, weight, bias, running_mean, running_var, training))
    if residual is not None:
        residual = _check_residual(residual, x, pool)

    running = None  # what is to be moved
    if training:
        mean, var = statistics or kernels.batch_norm_statistics(x)
        if running_mean is not None and running_var is not None:
            running = running_mean, running_var
    else:
        assert running_mean is not None and running_var is not None  # `_check_batch` saw to it
        mean, var = running_mean.astype(np.float64), running_var.astype(np.float64)
    scale, shift, inv_std = kernels.batch_norm_fold(
        mean, var, weight, bias, eps, x.dtype, running, momentum, x.size // x.shape[3]
    )
    out = kernels.batch_norm_apply(x, scale, shift, relu, pool, residual)
    result = out if pool and residual is None and x.dtype == np.float32 else None

    numbers = (x, scale, shift, mean, inv_std, weight, relu, pool, training, result)
    return out, Sweep(numbers, users)


def _check_batch(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
) -> Array:
    """Check shapes and dtypes; return x with four axes."""
    if x.ndim not in (2, 4):
        raise ValueError(
            f"batch_norm: x has shape {x.shape}; expected (batch, channels) or "
            "(batch, channels, height, width)"
        )
    check_floating("batch_norm", "x", x)
    if 0 in x.shape:
        raise ValueError(f"batch_norm: x has shape {x.shape}; expected no empty axis")
    channels = x.shape[1:2]
    named = (
        ("weight", weight),
        ("bias", bias),
        ("running_mean", running_mean),
        ("running_var", running_var),
    )
    for name, array in named:
        if array is not None and array.shape != channels:
            raise ValueError(
                f"batch_norm: {name} has shape {array.shape}; expected {channels}, "
                "the channels of x"
            )
    for name, array in named[2:]:
        if array is not None:
            check_floating("batch_norm", name, array)
            if training and not array.flags.writeable:
                raise ValueError(
                    f"batch_norm: {name} is read-only; expected an array to update in training"
                )
    if not training and running_var is not None and (running_var < 0).any():
        raise ValueError(
            f"batch_norm: running_var has {running_var.min():g}; expected no negative variance"
        )
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: running_mean and running_var: expected both or neither")
    if training and x.size == x.shape[1]:
        raise ValueError(
            f"batch_norm: x has shape {x.shape}, one value a channel; expected more in training, "
            "where the batch's own variance is used"
        )
    if not training and running_mean is None:
        raise ValueError("batch_norm: running_mean is None; expected statistics when not training")
    return x[:, :, None, None] if x.ndim == 2 else x


def _check_residual(residual: Array, x: Array, pool: bool) -> Array:
    batch, height, width, channels = x.shape
    if pool:
        height, width = height // 2, width // 2
    expected = (batch, channels, height, width)
    if residual.shape != expected or residual.dtype != x.dtype:
        raise ValueError(
            f"batch_norm: residual is a {residual.dtype} array of shape {residual.shape}; expected "
            f"{x.dtype} of shape {expected}"
        )
    return channels_last(residual)
