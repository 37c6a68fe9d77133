"""The networks, as compositions of modules; every convolution is 3x3 with BatchNorm and ReLU."""

from __future__ import annotations

import numpy as np

from tinysmooth.checks import check_int
from tinysmooth.nn import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Residual,
    Sequential,
)

__all__ = ["MODELS", "resnet9", "small_convnet"]


def small_convnet(
    num_classes: int = 10, *, in_channels: int = 3, rng: np.random.Generator | None = None
) -> Sequential:
    """Build three convolutions, 32 to 128 channels, each halving the image; for 12 px and up.

    Parameters
    ----------
    num_classes : int
        Length of the logits.
    in_channels : int
        3 for RGB, 1 for grey.
    rng : numpy.random.Generator, optional
        Source of the initial weights.

    Returns
    -------
    Sequential
        From (N, in_channels, H, W) to (N, num_classes).

    Raises
    ------
    TypeError, ValueError
        If a number is no positive integer, or ``rng`` is not a Generator.
    """
    num_classes = check_int("small_convnet", "num_classes", num_classes, minimum=1)
    in_channels = check_int("small_convnet", "in_channels", in_channels, minimum=1)
    return Sequential(
        *_convolve(in_channels, 32, rng),
        MaxPool2d(2),
        *_convolve(32, 64, rng),
        MaxPool2d(2),
        *_convolve(64, 128, rng),
        *_classify(128, num_classes, rng),
    )


def resnet9(
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    zero_init_residual: bool = False,
    rng: np.random.Generator | None = None,
) -> Sequential:
    """Build eight convolutions with two residual blocks and a linear layer, for 16 px and up.

    Parameters
    ----------
    num_classes : int
        Length of the logits.
    in_channels : int
        3 for RGB, 1 for grey.
    zero_init_residual : bool
        Start both residual blocks as the identity (see ``nn.Residual``).
    rng : numpy.random.Generator, optional
        Source of the initial weights.

    Returns
    -------
    Sequential
        From (N, in_channels, H, W) to (N, num_classes).

    Raises
    ------
    TypeError, ValueError
        If a number is no positive integer, or ``rng`` is not a Generator.
    """
    num_classes = check_int("resnet9", "num_classes", num_classes, minimum=1)
    in_channels = check_int("resnet9", "in_channels", in_channels, minimum=1)

    def residual(channels: int) -> Residual:
        branch = Sequential(
            *_convolve(channels, channels, rng), *_convolve(channels, channels, rng)
        )
        return Residual(branch, zero_init=zero_init_residual)

    return Sequential(
        *_convolve(in_channels, 32, rng),
        *_convolve(32, 64, rng),
        MaxPool2d(2),
        residual(64),
        *_convolve(64, 128, rng),
        MaxPool2d(2),
        *_convolve(128, 256, rng),
        MaxPool2d(2),
        residual(256),
        *_classify(256, num_classes, rng),
    )


MODELS = {"small_convnet": small_convnet, "resnet9": resnet9}
"""Models by the name that ``tinysmooth train --model`` takes."""


def _convolve(
    in_channels: int, out_channels: int, rng: np.random.Generator | None
) -> tuple[Module, Module, Module]:
    return (
        Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng),
        BatchNorm2d(out_channels),
        ReLU(),
    )


def _classify(
    features: int, num_classes: int, rng: np.random.Generator | None
) -> tuple[Module, Module, Module]:
    return GlobalAvgPool2d(), Flatten(), Linear(features, num_classes, rng=rng)
