"""Operations on images: convolution and pooling.

Images are (N, C, H, W) to the caller. In memory the channels come last: the kernels take the
(N, H, W, C) array, and the caller gets it back through a transposed view, so that nothing moves
between layers. An array that arrives in another order is copied once.

The adjoint of a convolution with respect to its input spreads each output's gradient back over the
window it came from; with respect to the weight it correlates input and gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_floating, check_ndim, check_pair
from tinysmooth.graph import Array, Pullback, fresh
from tinysmooth.primitive import Recorded, primitive

__all__ = ["avg_pool2d", "conv2d", "global_avg_pool2d", "max_pool2d"]


@primitive
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
) -> Recorded:
    """Cross-correlate images with filters (what deep learning calls convolution).

    ``out[n, k, i, j] = bias[k] + sum over c, r, s of
    x[n, c, i * stride + r - padding, j * stride + s - padding] * weight[k, c, r, s]``,
    where x is 0 outside the image.

    Parameters
    ----------
    x : array, shape (N, C, H, W), float32 or float64
    weight : array, shape (K, C, R, S), same dtype
    bias : array, shape (K,), optional
    stride, padding : int or (int, int)
        Vertical and horizontal; stride at least 1, padding at least 0.

    Returns
    -------
    Tensor, shape (N, K, (H + 2 padding - R) // stride + 1, ...)

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, the filter is larger than the padded image, or there are
        no images.

    Notes
    -----
    In float32 filters with stride 1 may go through Winograd's F(4x4, 3x3) or F(3x3, 3x3), larger
    ones as sums of 3x3. Its error is at most 2e-5 of the largest output for 3x3 weights without a
    pattern, 5e-5 for the largest filters; it grows where what is added up cancels out, as with an
    edge filter on bright images (1.5e-4 was seen). There, and with few filters, NaN or infinity in
    a pixel also makes NaN of results a few pixels away that it has no part in.
    ``use_kernels("compiled", winograd=False)`` avoids both, and float64 knows neither.
    """
    convolution = prepare_convolution(x, weight, stride, padding)
    check_bias("conv2d", "bias", bias, weight)
    out = kernels.conv2d_forward(*convolution)
    if bias is not None:
        kernels.add_bias(out, bias)
    to_images, to_filters = convolution.gradients()
    return channels_first(out), {
        "x": fresh(lambda grad: channels_first(to_images(channels_last(grad)))),
        "weight": fresh(lambda grad: to_filters(channels_last(grad))),
        "bias": fresh(lambda grad: kernels.bias_gradient(channels_last(grad))),
    }


class Convolution(NamedTuple):
    """The checked arguments of a convolution, as the kernels take them.

    Attributes
    ----------
    images : ndarray (N, H, W, C)
    filters : ndarray (K, C, R, S)
    stride, padding : (int, int)
    """

    images: Array
    filters: Array
    stride: tuple[int, int]
    padding: tuple[int, int]

    def gradients(self) -> tuple[Pullback, Pullback]:
        """Return the pullbacks to images and to filters, of a gradient (N, Ho, Wo, K).

        Each holds the arrays that it needs and no others.
        """
        images, filters, stride, padding = self
        images_shape, filters_shape = images.shape, filters.shape

        def to_images(grad: Array) -> Array:
            return kernels.conv2d_backward_data(grad, filters, images_shape, stride, padding)

        def to_filters(grad: Array) -> Array:
            return kernels.conv2d_backward_weight(images, grad, filters_shape, stride, padding)

        return to_images, to_filters


def prepare_convolution(
    x: Array, weight: Array, stride: int | tuple[int, int], padding: int | tuple[int, int]
) -> Convolution:
    """Check the arguments of `conv2d`, and lay them out."""
    steps = check_pair("conv2d", "stride", stride, minimum=1)
    frame = check_pair("conv2d", "padding", padding, minimum=0)
    _check_images("conv2d", x)
    check_ndim("conv2d", "weight", weight, 4, "(out_channels, in_channels, height, width)")
    if weight.dtype != x.dtype:
        raise TypeError(f"conv2d: weight has dtype {weight.dtype}; expected {x.dtype}, that of x")
    if weight.shape[1] != x.shape[1]:
        raise ValueError(
            f"conv2d: x has shape {x.shape} ({x.shape[1]} channels); expected {weight.shape[1]} "
            f"channels, as weight has shape {weight.shape}"
        )
    if 0 in weight.shape:
        raise ValueError(f"conv2d: weight has shape {weight.shape}; expected no empty axis")
    _check_window("conv2d", "weight", x.shape, weight.shape[2:], frame)
    return Convolution(channels_last(x), np.ascontiguousarray(weight), steps, frame)


def check_bias(
    where: str, name: str, bias: Array | None, weight: Array, alike: bool = False
) -> None:
    """Refuse a bias that is not one number a filter or, if `alike`, not of their dtype."""
    if bias is None:
        return
    if bias.shape != weight.shape[:1]:
        raise ValueError(f"{where}: {name} has shape {bias.shape}; expected {weight.shape[:1]}")
    if alike and bias.dtype != weight.dtype:
        raise TypeError(
            f"{where}: {name} has dtype {bias.dtype}; expected {weight.dtype}, that of x"
        )


@primitive
def max_pool2d(
    x: Array,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
) -> Recorded:
    """Largest element of each window; the gradient goes to it (to the first one at a tie).

    Parameters
    ----------
    x : array, shape (N, C, H, W), float32 or float64
    kernel_size, stride, padding : int or (int, int)
        The stride is the window's size if left out. Padding counts as minus infinity and is at
        most half the window.

    Returns
    -------
    Tensor, shape (N, C, (H + 2 padding - window) // stride + 1, ...)

    Raises
    ------
    TypeError, ValueError
        If the window does not fit or a number is out of range.
    """
    window, steps, frame = _check_pool("max_pool2d", x, kernel_size, stride, padding)
    images = channels_last(x)
    images_shape = images.shape
    out, argmax = kernels.max_pool2d_forward(images, window, steps, frame)
    return channels_first(out), {
        "x": fresh(
            lambda grad: channels_first(
                kernels.max_pool2d_backward(
                    channels_last(grad), argmax, images_shape, window, steps, frame
                )
            )
        )
    }


@primitive
def avg_pool2d(
    x: Array,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
) -> Recorded:
    """Mean of each window, padding counted as zeros (PyTorch's default).

    Parameters
    ----------
    x : array, shape (N, C, H, W), float32 or float64
    kernel_size, stride, padding : int or (int, int)
        The stride is the window's size if left out; padding is at most half the window.

    Returns
    -------
    Tensor, shape (N, C, (H + 2 padding - window) // stride + 1, ...)

    Raises
    ------
    TypeError, ValueError
        If the window does not fit or a number is out of range.
    """
    window, steps, frame = _check_pool("avg_pool2d", x, kernel_size, stride, padding)
    images = channels_last(x)
    images_shape = images.shape
    out = kernels.avg_pool2d_forward(images, window, steps, frame)
    return channels_first(out), {
        "x": fresh(
            lambda grad: channels_first(
                kernels.avg_pool2d_backward(channels_last(grad), images_shape, window, steps, frame)
            )
        )
    }


@primitive
def global_avg_pool2d(x: Array) -> Recorded:
    """Mean over each whole image: (N, C, H, W) to (N, C, 1, 1).

    Parameters
    ----------
    x : array, shape (N, C, H, W), float32 or float64

    Returns
    -------
    Tensor, shape (N, C, 1, 1)

    Raises
    ------
    TypeError, ValueError
        If ``x`` is not a batch of non-empty floating images.
    """
    _check_images("global_avg_pool2d", x)
    images = channels_last(x)
    shape = images.shape
    return kernels.global_avg_pool_forward(images)[:, :, None, None], {
        "x": fresh(
            lambda grad: channels_first(
                kernels.global_avg_pool_backward(np.ascontiguousarray(grad[:, :, 0, 0]), shape)
            )
        )
    }


def channels_last(x: Array) -> Array:
    """Return logical (N, C, H, W) images as a contiguous (N, H, W, C) array, a view if possible."""
    return kernels.contiguous(x.transpose(0, 2, 3, 1))


def channels_first(x: Array) -> Array:
    """Look at an (N, H, W, C) array as (N, C, H, W) images."""
    return x.transpose(0, 3, 1, 2)


def _check_images(where: str, x: Array) -> None:
    check_ndim(where, "x", x, 4, "(batch, channels, height, width)")
    check_floating(where, "x", x, "Convert with x.astype(numpy.float32)")
    if 0 in x.shape:
        raise ValueError(f"{where}: x has shape {x.shape}; expected no empty axis")


def _check_window(
    where: str, name: str, shape: tuple[int, ...], window: tuple[int, ...], frame: tuple[int, int]
) -> None:
    height, width = shape[2] + 2 * frame[0], shape[3] + 2 * frame[1]
    if window[0] > height or window[1] > width:
        raise ValueError(
            f"{where}: {name} has a window of {window[0]} x {window[1]}; expected at most "
            f"{height} x {width}, the padded image. Use a larger image or more padding"
        )


def _check_pool(
    where: str, x: Array, kernel_size: object, stride: object, padding: object
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    window = check_pair(where, "kernel_size", kernel_size, minimum=1)
    steps = window if stride is None else check_pair(where, "stride", stride, minimum=1)
    frame = check_pair(where, "padding", padding, minimum=0)
    _check_images(where, x)
    if frame[0] > window[0] // 2 or frame[1] > window[1] // 2:
        raise ValueError(
            f"{where}: padding is {frame}; expected at most half the kernel_size {window}"
        )
    _check_window(where, "kernel_size", x.shape, window, frame)
    return window, steps, frame
