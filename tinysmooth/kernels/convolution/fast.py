"""The rung that ``use_kernels("compiled")`` runs: chooses the route for each shape.

- float64, or compilation disabled: im2col and NumPy's matrix product, exact up to rounding.
- stride 1, enough channels and tiles: fused Winograd F(4x4, 3x3), unless it is switched off.
- the gradient of images with few channels: taps as columns (`few_channels`).
- a few filters and their gradient: several windows in a vector (`few_filters`).
- everything else in float32: windows, a direct sum.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.ahead import compile_ahead
from tinysmooth.kernels.convolution import (
    few_channels,
    few_filters,
    im2col,
    windows_route,
    winograd_route,
)
from tinysmooth.kernels.convolution.geometry import Pair, Shape, output_size
from tinysmooth.kernels.jit import ENABLED

__all__ = ["conv2d_backward_data", "conv2d_backward_weight", "conv2d_forward"]

winograd_enabled = True
"""Set by ``use_kernels("compiled", winograd=...)``; read once a call."""


def conv2d_forward(x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Pair) -> np.ndarray:
    """Return the convolution; arguments as in `im2col.conv2d_forward`."""
    if x.dtype != np.float32 or not ENABLED:
        return im2col.conv2d_forward(x, weight, stride, padding)
    compile_ahead()
    filters, channels, *taps = weight.shape
    kernel: Pair = (taps[0], taps[1])
    batch, height, width, _ = x.shape
    size = output_size(height, width, kernel, stride, padding)
    if batch == 0:
        return memory.empty((0, *size, filters), np.float32)
    together = few_filters.windows_together(filters, size[1], kernel[1], stride[1])
    share = few_filters.share_of_products(together, kernel[1], stride[1])
    shape = (batch, size, channels, filters, kernel, stride)
    if winograd_enabled and winograd_route.pays(*shape, share=share):
        return winograd_route.convolve(x, weight, size, padding, backward=False)
    if winograd_enabled and together > 1:
        return few_filters.convolve(x, weight, size, stride, padding, together)
    return windows_route.convolve(x, weight, size, stride, padding)


def conv2d_backward_data(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images; arguments as in `im2col.conv2d_backward_data`."""
    if grad.dtype != np.float32 or not ENABLED:
        return im2col.conv2d_backward_data(grad, weight, input_shape, stride, padding)
    filters, channels, *taps = weight.shape
    kernel: Pair = (taps[0], taps[1])
    batch, size = input_shape[0], (input_shape[1], input_shape[2])
    if batch == 0:
        return memory.empty(input_shape, np.float32)
    if winograd_enabled and winograd_route.pays(batch, size, filters, channels, kernel, stride):
        opposite = (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1])
        return winograd_route.convolve(grad, weight, size, opposite, backward=True)
    if few_channels.pays(channels, kernel):
        return few_channels.convolve_backward(grad, weight, input_shape, stride, padding)
    return windows_route.convolve_backward(grad, weight, input_shape, stride, padding)


def conv2d_backward_weight(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters; arguments as in `im2col.conv2d_backward_weight`."""
    if x.dtype != np.float32 or not ENABLED:
        return im2col.conv2d_backward_weight(x, grad, weight_shape, stride, padding)
    filters, channels, *taps = weight_shape
    kernel: Pair = (taps[0], taps[1])
    batch, size = grad.shape[0], (grad.shape[1], grad.shape[2])
    if batch == 0:
        return memory.zeros(weight_shape, np.float32)
    together = few_filters.windows_together(filters, size[1], kernel[1], stride[1])
    share = few_filters.share_of_products(together, kernel[1], stride[1])
    shape = (batch, size, channels, filters, kernel, stride)
    if winograd_enabled and winograd_route.pays(*shape, gradient=True, share=share):
        return winograd_route.filter_gradient(x, grad, weight_shape, padding)
    if winograd_enabled and together > 1:
        return few_filters.filter_gradient(x, grad, weight_shape, stride, padding, together)
    return windows_route.filter_gradient(x, grad, weight_shape, stride, padding)
