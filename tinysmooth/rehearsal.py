"""Goes through a training step from its far end, so that its kernels get compiled.

Run as ``python -m tinysmooth.rehearsal`` by `tinysmooth.kernels.ahead`, beside a process that needs
the same kernels from the near end. The forward pass takes the reference kernels, which need no
compiler; then the backward pass, the optimiser and at last the forward pass take the compiled ones.

Both sides need the product of panels, the longest to compile: it is made here first of all, while
the other side is still at what comes before.
"""

from __future__ import annotations

import gc

import numpy as np

from tinysmooth.kernels import move_towards, use_kernels
from tinysmooth.kernels.ahead import mark_as_done
from tinysmooth.kernels.panels import PANEL, panel_product
from tinysmooth.losses import cross_entropy
from tinysmooth.models import resnet9
from tinysmooth.optim import SGD
from tinysmooth.tensor import Tensor

__all__ = ["rehearse"]


def rehearse(batch_size: int = 8, size: int = 64) -> None:
    """Compile or load what training ``resnet9`` needs, from the backward pass to the forward pass.

    Parameters
    ----------
    batch_size, size : int
        Images and pixels. Small, but large enough that every layer takes the route that it takes
        in earnest.
    """
    none, table = np.zeros(1, np.float32), np.zeros(1, np.int64)
    no_rows = (none, 0, table, 0, 0, table, 0, none, 0, 0, PANEL, none, 0, table, 0, 0)
    panel_product(*no_rows)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch_size, size, size, 3), np.float32).transpose(0, 3, 1, 2)
    targets = np.arange(batch_size) % 10
    model = resnet9(10)
    optimiser = SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def loss() -> Tensor:
        return cross_entropy(model(Tensor(images)), targets, label_smoothing=0.1)

    with use_kernels("reference"):
        far_end = loss()
    far_end.backward()
    optimiser.step()
    largest = max((parameter.numpy() for parameter in model.parameters()), key=np.size)
    move_towards(largest.copy(), largest, 0.5)  # the running mean of the weights
    loss()
    model.eval()
    model(Tensor(images))


if __name__ == "__main__":
    gc.disable()  # the search for garbage takes a twentieth of the time, and all of it goes soon
    rehearse()
    mark_as_done()
