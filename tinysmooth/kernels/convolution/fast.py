"""The rung that ``use_kernels("compiled")`` runs."""

from tinysmooth.kernels.convolution.im2col import (
    conv2d_backward_data,
    conv2d_backward_weight,
    conv2d_forward,
)

__all__ = ["conv2d_backward_data", "conv2d_backward_weight", "conv2d_forward"]
