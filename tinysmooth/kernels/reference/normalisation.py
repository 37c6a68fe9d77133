r"""Batch normalisation with what follows it in a convnet, in NumPy.

Per channel, over the M = N * H * W pixels of a batch [1]_::

    mean = sum(x) / M          var = sum((x - mean)^2) / M       xhat = (x - mean) * inv_std
    out  = weight * xhat + bias = x * scale + shift              inv_std = 1 / sqrt(var + eps)
    scale = weight * inv_std                                     shift = bias - mean * scale

A ReLU, a 2x2 max-pooling and the addition of a residual may follow. The backward pass keeps none
of the values in between: it computes them again from ``x``, ``scale`` and ``shift``.

With ``d`` the gradient of the normalised, not yet rectified image, the gradients are::

    dbias = sum(d)             dweight = sum(d * xhat)
    dx = scale * (d - dbias / M - xhat * dweight / M)    statistics of this batch: they depend on x
    dx = scale * d                                       running statistics: constants

The second and third term of ``dx`` reach every pixel, also one whose own ``d`` is zero: a pixel
that ReLU cut off, or the last row of an odd height, which the pooling drops.

.. [1] S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015, algorithm 1 and section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels.reference.pooling import max_pool2d_backward, max_pool2d_forward

__all__ = [
    "batch_norm_apply",
    "batch_norm_backward",
    "batch_norm_fold",
    "batch_norm_statistics",
]

Array = NDArray[Any]

PIXELS = (0, 1, 2)
POOL = ((2, 2), (2, 2), (0, 0))


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean and the biased variance of each channel.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        Images.

    Returns
    -------
    mean, var : ndarray (C,), float64
        The variance divides by N * H * W.
    """
    wide = x.astype(np.float64)
    return wide.mean(axis=PIXELS), wide.var(axis=PIXELS)


def running_rates(momentum: float, pixels: int) -> tuple[float, float]:
    """Return what mean and variance of a batch count for in the running statistics.

    The running variance is meant for one value, the unbiased one: M / (M - 1) times the batch's.
    """
    return momentum, momentum * pixels / (pixels - 1)


def batch_norm_fold(
    mean: Array,
    var: Array,
    weight: Array,
    bias: Array,
    eps: float,
    dtype: np.dtype[Any],
    running: tuple[Array, Array] | None = None,
    momentum: float = 0.0,
    pixels: int = 0,
) -> tuple[Array, Array, Array]:
    """Return scale and shift, and move running statistics towards those of the batch.

    Parameters
    ----------
    mean, var : ndarray (C,), float64
        Of the batch, or what stands for them in evaluation.
    weight, bias : ndarray (C,)
        What batch norm learns.
    eps : float
        Added to the variance.
    dtype : dtype
        Of scale and shift.
    running : pair of ndarray (C,), optional
        Running mean and variance, changed in place: ``running = (1 - momentum) running + momentum
        * batch's``, with the unbiased variance.
    momentum : float
        Between 0 and 1.
    pixels : int
        M, at least 2 where there are running statistics.

    Returns
    -------
    scale, shift : ndarray (C,)
    inv_std : ndarray (C,), float64
    """
    inv_std = 1.0 / np.sqrt(var + eps)
    scale = weight * inv_std
    shift = bias - mean * scale
    if running is not None:
        rates = running_rates(momentum, pixels)
        for array, batch, rate in zip(running, (mean, var), rates, strict=True):
            array *= 1 - momentum
            array += (rate * batch).astype(array.dtype)
    return scale.astype(dtype), shift.astype(dtype), inv_std


def batch_norm_apply(
    x: Array, scale: Array, shift: Array, relu: bool, pool: bool, residual: Array | None
) -> Array:
    """Return ``x * scale + shift`` after the optional ReLU, pooling and residual, in this order.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        Images.
    scale, shift : ndarray (C,)
        One factor and one summand a channel.
    relu, pool : bool
        Whether to cut off negative values, and to keep the maximum of each 2x2 window.
    residual : ndarray or None
        Added last; has the shape of the result.

    Returns
    -------
    ndarray (N, H, W, C), or (N, H // 2, W // 2, C) with ``pool``
        An odd last row or column has no window.
    """
    out = _normalised(x, scale, shift)
    if relu:
        out = np.maximum(out, 0)
    if pool:
        out, _ = max_pool2d_forward(out, *POOL)
    if residual is not None:
        out = out + residual
    return out


def batch_norm_backward(
    grad: Array,
    x: Array,
    scale: Array,
    shift: Array,
    mean: Array,
    inv_std: Array,
    weight: Array,
    relu: bool,
    pool: bool,
    training: bool,
    result: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Return the gradients of the images, the weight and the bias.

    The gradient of a residual is ``grad`` itself.

    Parameters
    ----------
    grad : ndarray
        The gradient of what `batch_norm_apply` returned, in its shape.
    x : ndarray (N, H, W, C)
        Images.
    scale, shift, mean, inv_std, weight : ndarray (C,)
        As in the description of this room.
    relu, pool : bool
        As in `batch_norm_apply`.
    training : bool
        Whether ``mean`` and ``inv_std`` are those of ``x`` (and therefore depend on it) or
        constants.
    result : ndarray, optional
        What `batch_norm_apply` returned, without a residual. Compiled kernels may read it in the
        place of ``x``; these do not look at it.

    Returns
    -------
    dx : ndarray (N, H, W, C)
        In the dtype of ``x``.
    dweight, dbias : ndarray (C,)
        In the dtype of ``weight``.
    """
    out = _normalised(x, scale, shift)
    if pool:
        _, argmax = max_pool2d_forward(np.maximum(out, 0) if relu else out, *POOL)
        grad = max_pool2d_backward(grad, argmax, x.shape, *POOL)
    if relu:
        grad = np.where(out <= 0, 0, grad)
    d = grad.astype(np.float64)
    normal = (x.astype(np.float64) - mean) * inv_std
    dbias = d.sum(axis=PIXELS)
    with np.errstate(invalid="ignore"):  # infinity where ReLU cut it off
        dweight = (d * normal).sum(axis=PIXELS)
    if training:
        pixels = x.size // x.shape[3]
        d = d - dbias / pixels - normal * (dweight / pixels)
    dx = (weight * inv_std).astype(np.float64) * d
    return dx.astype(x.dtype), dweight.astype(weight.dtype), dbias.astype(weight.dtype)


def _normalised(x: Array, scale: Array, shift: Array) -> Array:
    return x * scale.astype(x.dtype) + shift.astype(x.dtype)
