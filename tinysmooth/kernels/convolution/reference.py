"""The rung that ``use_kernels("reference")`` runs: NumPy's im2col and matrix product."""

from tinysmooth.kernels.convolution.im2col import (
    conv2d_backward_data,
    conv2d_backward_weight,
    conv2d_forward,
    conv2d_with_statistics,
)

__all__ = [
    "conv2d_backward_data",
    "conv2d_backward_weight",
    "conv2d_forward",
    "conv2d_with_statistics",
]
