"""Goes through a training step in an order of its own, so that its kernels get compiled.

Run as ``python -m tinysmooth.rehearsal`` by `tinysmooth.kernels.ahead`, beside a process that
compiles the same kernels in the order of the step: forward pass, backward pass, optimiser. A side
that wants a kernel which the other one is compiling has to wait. So this side begins with what
takes longest, before the other one gets there, and then comes towards it from the end::

    the other side   forward, layer by layer ----------> loss --> backward from the last layer ---->
    this side        product of panels, first layer's gradient, loss, optimiser, other gradients

For that it cuts the network into stages. Their forward passes take the reference kernels, which
need no compiler; the backward passes take the compiled ones. The other gradients come late, because
they use functions of the forward pass, which the other side has compiled by then. Last come a whole
forward and backward pass, for what is left, and what an evaluation and smaller images need.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os

import numpy as np

from tinysmooth.kernels import move_towards, use_kernels
from tinysmooth.kernels.addition import add_parts
from tinysmooth.kernels.ahead import mark_as_done
from tinysmooth.kernels.blocks import FEWEST_IMAGES
from tinysmooth.kernels.convolution import winograd_shared_route
from tinysmooth.kernels.panels import PANEL, panel_product
from tinysmooth.kernels.threads import run_parallel
from tinysmooth.kernels.vectors import LANES
from tinysmooth.losses import cross_entropy
from tinysmooth.models import resnet9
from tinysmooth.nn import Conv2d, GlobalAvgPool2d, Linear, Residual, Sequential
from tinysmooth.optim import SGD
from tinysmooth.tensor import Tensor

__all__ = ["rehearse"]

LESS_URGENT = 10
"""In the scheduler's terms: a tenth of the other side's share of a CPU that both want. What the
other side waits for is compiled meanwhile, because it then wants no CPU."""


def rehearse(batch_size: int = FEWEST_IMAGES, size: int = 64, aside: bool = False) -> None:
    """Compile or load what training ``resnet9`` needs.

    Parameters
    ----------
    batch_size, size : int
        Images and pixels. Small, but large enough that every layer takes the route that it takes
        in earnest, if this side has one thread.
    aside : bool
        Whether this process gives way to the other side, from where that begins to run more than it
        compiles: it then takes a fiftieth less time to its first step.
    """
    # The other side needs this in its first convolution. With no rows there is nothing to compute.
    none, table = np.zeros(1, np.float32), np.zeros(1, np.int64)
    no_rows = (none, 0, table, 0, 0, table, 0, none, 0, 0, PANEL, none, 0, table, 0, 0, none, 0, 0)
    panel_product(*no_rows)
    run_parallel(add_parts, none, none, 0, none, parts=1)  # of small arrays NumPy makes the sum

    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch_size, size, size, 3), np.float32).transpose(0, 3, 1, 2)
    targets = np.arange(batch_size) % 10
    model = resnet9(10)
    *stages, classifier = _stages(model)
    results, x = [], Tensor(images)
    with use_kernels("reference"):
        for stage in stages:
            results.append(stage(x))
            x = Tensor(results[-1].numpy(), requires_grad=True)
    first, *others = results
    _differentiate(first)
    cross_entropy(classifier(x), targets, label_smoothing=0.1).backward()
    _step()
    if aside and hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(LESS_URGENT)
    for result in others:
        _differentiate(result)
    cross_entropy(model(Tensor(images)), targets, label_smoothing=0.1).backward()
    largest = max((parameter.numpy() for parameter in model.parameters()), key=np.size)
    move_towards(largest.copy(), largest, 0.5)  # the running mean of the weights
    model.eval()
    model(Tensor(images))
    _convolve_in_shared_tiles()


def _stages(model: Sequential) -> list[Sequential]:
    """Cut a network before each convolution and residual block, and before the classifier."""
    first = (Conv2d, Residual, GlobalAvgPool2d)
    starts = [i for i, module in enumerate(model) if isinstance(module, first)]
    return [model[start:stop] for start, stop in itertools.pairwise([*starts, len(model)])]


def _convolve_in_shared_tiles() -> None:
    """Do what smaller images take, which a training begins with to grow them."""
    images = np.zeros((1, 6, 6, LANES), np.float32)
    filters = np.zeros((LANES, LANES, 3, 3), np.float32)
    winograd_shared_route.convolve_with_statistics(images, filters, (6, 6), (1, 1))
    winograd_shared_route.filter_gradient(images, images, filters.shape, (1, 1))


def _step() -> None:
    """Take a step of the optimiser, for which any parameters will do."""
    parameters = list(Linear(1, 1).parameters())
    for parameter in parameters:
        parameter.grad = np.zeros_like(parameter.numpy())
    SGD(parameters, lr=0.01, momentum=0.9, nesterov=True).step()


def _differentiate(result: Tensor) -> None:
    result.backward(np.ones(result.shape, np.float32))


if __name__ == "__main__":
    gc.disable()  # the search for garbage takes a twentieth of the time, and all of it goes soon
    rehearse(aside=True)
    mark_as_done()
