"""The gradient of the filters of a convolution with batch norm behind it, in two steps."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tinysmooth.kernels.convolution.reference import conv2d_backward_weight
from tinysmooth.kernels.reference.normalisation import batch_norm_backward

__all__ = ["conv2d_block_backward_weight"]

Array = NDArray[Any]
Pair = tuple[int, int]


def conv2d_block_backward_weight(
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
    result: Array | None,
    images: Array,
    filters_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
) -> tuple[Array, Array, Array]:
    """Return the gradients of the filters, the weight and the bias of ``ops.conv2d_block``.

    Parameters
    ----------
    grad, x, scale, shift, mean, inv_std, weight, relu, pool, training, result
        As in `batch_norm_backward`, whose images are what the convolution gave.
    images, filters_shape, stride, padding
        As ``x``, ``weight_shape``, ``stride`` and ``padding`` of `conv2d_backward_weight`.

    Returns
    -------
    filters : ndarray (K, C, R, S)
        In the dtype of ``x``.
    dweight, dbias : ndarray (K,)
        In the dtype of ``weight``.
    """
    dx, dweight, dbias = batch_norm_backward(
        grad, x, scale, shift, mean, inv_std, weight, relu, pool, training, result
    )
    filters = conv2d_backward_weight(images, dx, filters_shape, stride, padding)
    return filters, dweight, dbias
