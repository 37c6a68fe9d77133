"""A training step of small networks as others write them, without what `tinysmooth.models` has.

LeNet-5 with ReLU and max-pooling (LeCun et al. 1998 had neither), the network of PyTorch's example
for MNIST without its dropout, a network whose convolutions have a bias and no BatchNorm, one that
halves its images by strides, and two without any convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinysmooth import nn
from tinysmooth.bench.steps import Make, Shape, time_step

__all__ = ["NETWORKS", "network_rows"]


def _lenet(rng: np.random.Generator) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2, rng=rng), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5, rng=rng), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120, rng=rng), nn.ReLU(), nn.Linear(120, 84, rng=rng), nn.ReLU()),
        nn.Linear(84, 10, rng=rng),
    )


def _mnist_example(rng: np.random.Generator) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, rng=rng), nn.ReLU(), nn.Conv2d(32, 64, 3, rng=rng), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9216, 128, rng=rng), nn.ReLU()),
        nn.Linear(128, 10, rng=rng),
    )


def _without_batch_norm(rng: np.random.Generator) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, rng=rng)
        layers += convolution, nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(128, 10, rng=rng))


def _with_strides(rng: np.random.Generator) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2)):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False, rng=rng)
        layers += convolution, nn.BatchNorm2d(outputs), nn.ReLU()
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(128, 10, rng=rng))


def _perceptron(*widths: int) -> Make:
    def make(rng: np.random.Generator) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in zip(widths[:-2], widths[1:-1], strict=True):
            layers += nn.Linear(inputs, outputs, rng=rng), nn.ReLU()
        return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], rng=rng))

    return make


NETWORKS: tuple[tuple[str, Make, Shape], ...] = (
    ("LeNet-5", _lenet, (64, 1, 28, 28)),
    ("MNIST example", _mnist_example, (64, 1, 28, 28)),
    ("without BatchNorm", _without_batch_norm, (32, 3, 64, 64)),
    ("with strides", _with_strides, (64, 3, 32, 32)),
    ("perceptron 784-256-128-10", _perceptron(784, 256, 128, 10), (128, 1, 28, 28)),
    ("perceptron 3072-1024-512-10", _perceptron(3072, 1024, 512, 10), (64, 3, 32, 32)),
)
"""Each network by name, with what makes it and the shape of its batches."""


def network_rows(torch: Any = None) -> list[dict[str, Any]]:
    """Time a training step of each network; arguments and rows as in `step_rows`."""
    return [time_step(torch, f"{name} step", make, shape) for name, make, shape in NETWORKS]
