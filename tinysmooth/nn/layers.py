"""The layers themselves: each holds its parameters and calls one operation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinysmooth import ops
from tinysmooth.checks import check_flag, check_int, check_pair, check_real, check_rng
from tinysmooth.nn.initialise import he_normal
from tinysmooth.nn.module import Module
from tinysmooth.tensor import Tensor

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Linear",
    "MaxPool2d",
    "ReLU",
]

Pair = int | tuple[int, int]


class Linear(Module):
    """Affine map of the last axis: ``x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
        Lengths of the last axis before and after.
    bias : bool
        Whether to add one.
    rng : numpy.random.Generator, optional
        Source of the initial weights (He normal; the bias starts at 0).

    Raises
    ------
    TypeError, ValueError
        If a number is of the wrong kind or out of range, or ``rng`` is not a Generator.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_int("Linear", "in_features", in_features, minimum=1)
        self.out_features = check_int("Linear", "out_features", out_features, minimum=1)
        shape = (self.out_features, self.in_features)
        self.weight = Tensor(he_normal(shape, rng), requires_grad=True)
        self.bias = (
            Tensor(np.zeros(self.out_features, np.float32), requires_grad=True)
            if check_flag("Linear", "bias", bias)
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return ops.linear(x, self.weight, self.bias)

    def rectified(self, x: Tensor) -> Tensor:
        """Run the same, then ReLU (see ``ops.linear_relu``)."""
        return ops.linear_relu(x, self.weight, self.bias)

    def _details(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Conv2d(Module):
    """Learnt filters slid over images (see ``ts.conv2d``).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding : int or (int, int)
        Vertical and horizontal.
    bias : bool
        Whether to add a number a channel; a BatchNorm behind it subtracts it again.
    rng : numpy.random.Generator, optional
        Source of the initial weights (He normal; the bias starts at 0).

    Raises
    ------
    TypeError, ValueError
        If a number is of the wrong kind or out of range, or ``rng`` is not a Generator.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = check_int("Conv2d", "in_channels", in_channels, minimum=1)
        self.out_channels = check_int("Conv2d", "out_channels", out_channels, minimum=1)
        self.kernel_size = check_pair("Conv2d", "kernel_size", kernel_size, minimum=1)
        self.stride = check_pair("Conv2d", "stride", stride, minimum=1)
        self.padding = check_pair("Conv2d", "padding", padding, minimum=0)
        shape = (self.out_channels, self.in_channels, *self.kernel_size)
        self.weight = Tensor(he_normal(shape, rng), requires_grad=True)
        self.bias = (
            Tensor(np.zeros(self.out_channels, np.float32), requires_grad=True)
            if check_flag("Conv2d", "bias", bias)
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def rectified(self, x: Tensor, *, pool: bool) -> Tensor:
        """Run the same, then ReLU, then a 2x2 max-pool if wanted (see ``ops.conv2d_relu``)."""
        return ops.conv2d_relu(x, self.weight, self.bias, pool, self.stride, self.padding)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that images (N, in_channels, H, W) become."""
        stride = check_pair("Conv2d", "stride", self.stride, minimum=1)
        padding = check_pair("Conv2d", "padding", self.padding, minimum=0)
        lengths = zip(shape[2:], self.weight.shape[2:], stride, padding, strict=True)
        rows, columns = ((size + 2 * pad - taps) // step + 1 for size, taps, step, pad in lengths)
        return shape[0], self.out_channels, rows, columns

    def _details(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, bias={self.bias is not None}"
        )


class BatchNorm2d(Module):
    """Normalise each channel over the batch and the image (Ioffe and Szegedy 2015).

    Parameters
    ----------
    channels : int
    eps : float
        Added to the variance.
    momentum : float
        Weight of the newest batch in the running statistics.

    Attributes
    ----------
    weight, bias : Tensor, shape (channels,)
        Scale, starting at 1, and shift, starting at 0.
    running_mean, running_var : ndarray, shape (channels,)
        Used in evaluation.
    num_batches_tracked : ndarray, ()
        Training batches seen; kept for PyTorch's state dictionaries.

    Raises
    ------
    TypeError, ValueError
        If a number is of the wrong kind or out of range.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.channels = check_int("BatchNorm2d", "channels", channels, minimum=1)
        self.eps = check_real("BatchNorm2d", "eps", eps, low=0.0, open_low=True)
        self.momentum = check_real("BatchNorm2d", "momentum", momentum, low=0.0, high=1.0)
        self.weight = Tensor(np.ones(self.channels, np.float32), requires_grad=True)
        self.bias = Tensor(np.zeros(self.channels, np.float32), requires_grad=True)
        self.running_mean = np.zeros(self.channels, np.float32)
        self.running_var = np.ones(self.channels, np.float32)
        self.num_batches_tracked = np.zeros((), np.int64)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        out = ops.batch_norm(x, *self._arguments())
        self._count_batch()
        return out

    def fused(
        self,
        x: Tensor,
        *,
        relu: bool,
        pool: bool,
        residual: Tensor | None = None,
        before: Conv2d | None = None,
    ) -> Tensor:
        """Run the same with what follows it in one pass (see ``ops.batch_norm_block``).

        A convolution that stands before it is run, too (``ops.conv2d_block``).
        """
        arguments = (*self._arguments(), relu, pool, residual)
        if before is None:
            out = ops.batch_norm_block(x, *arguments)
        else:
            convolution = before.stride, before.padding, before.bias
            out = ops.conv2d_block(x, before.weight, *arguments, *convolution)
        self._count_batch()
        return out

    def _count_batch(self) -> None:
        if self.training:
            self.num_batches_tracked += 1

    def _arguments(self) -> tuple[Any, ...]:
        statistics = (self.running_mean, self.running_var)
        return self.weight, self.bias, *statistics, self.training, self.momentum, self.eps

    def _details(self) -> str:
        return f"{self.channels}, eps={self.eps:g}, momentum={self.momentum:g}"


class ReLU(Module):
    """Negative numbers become 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return ops.relu(x)


class _Pool2d(Module):
    """What both poolings share: a window, how far it moves (its size if left out), and a frame."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__()
        where = type(self).__name__
        self.kernel_size = check_pair(where, "kernel_size", kernel_size, minimum=1)
        self.stride = (
            self.kernel_size if stride is None else check_pair(where, "stride", stride, minimum=1)
        )
        self.padding = check_pair(where, "padding", padding, minimum=0)

    def _details(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """Largest element of each window (see ``ts.max_pool2d``).

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)

    Raises
    ------
    TypeError, ValueError
        As that function.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool2d):
    """Mean of each window (see ``ts.avg_pool2d``).

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)

    Raises
    ------
    TypeError, ValueError
        As that function.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class GlobalAvgPool2d(Module):
    """Mean over each whole image."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 1, 1)."""
        return ops.global_avg_pool2d(x)


class Flatten(Module):
    """Join all axes but the first: (N, ...) to (N, product of the rest)."""

    def forward(self, x: Tensor) -> Tensor:
        """Keep the order of logical (C, H, W), whatever the memory order."""
        shape = np.shape(x)
        if len(shape) < 2:
            raise ValueError(f"Flatten: x has shape {shape}; expected (batch, ...)")
        return ops.reshape(x, (shape[0], math.prod(shape[1:])))


class Dropout(Module):
    """Drop elements in training (see ``ts.dropout``).

    Parameters
    ----------
    p : float in [0, 1]
        Probability of dropping.
    rng : numpy.random.Generator, optional
        Source of randomness; a fresh unseeded one if left out.

    Raises
    ------
    TypeError, ValueError
        If ``p`` is outside [0, 1] or NaN, or ``rng`` is not a Generator.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        self.p = check_real("Dropout", "p", p, low=0.0, high=1.0)
        self._rng = np.random.default_rng() if rng is None else check_rng("Dropout", "rng", rng)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return ops.dropout(x, self.p, self.training, self._rng)

    def _details(self) -> str:
        return f"p={self.p:g}"
