"""Layers: parameters with a call, named and laid out as in PyTorch so that weights move freely."""

from tinysmooth.nn.containers import Residual, Sequential
from tinysmooth.nn.initialise import he_normal
from tinysmooth.nn.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    ReLU,
)
from tinysmooth.nn.module import Module

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Linear",
    "MaxPool2d",
    "Module",
    "ReLU",
    "Residual",
    "Sequential",
    "he_normal",
]
