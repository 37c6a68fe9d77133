"""The two sides of an optimiser's step: our kernel on flat buffers, PyTorch on many tensors.

PyTorch's optimisers come fused (one kernel for all tensors) and multi-tensor ("foreach", the
default); both are offered, and the caller takes the quicker one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinysmooth import kernels
from tinysmooth.graph import Array
from tinysmooth.kernels import memory

__all__ = ["OPTIMISERS", "PARAMETERS", "Sides", "optimiser_sides", "pooled"]

OPTIMISERS = ("SGD", "AdamW")
PARAMETERS = 2_300_000  # as many as the resnet9 has, nearly
TENSORS = 30

Sides = dict[str, Callable[[], list[Array]]]


def optimiser_sides(torch: Any, name: str, count: int) -> tuple[Sides, int]:
    """Return the sides of one optimiser and the bytes that a step of ours moves.

    Parameters
    ----------
    torch : module or None
        PyTorch, if it is installed.
    name : {"SGD", "AdamW"}
        SGD with Nesterov momentum 0.9; both with a weight decay that is one number for all.
    count : int
        Parameters, spread over 30 tensors.

    Returns
    -------
    sides : dict
        "ours", "reference" and, with PyTorch, "torch fused" and "torch foreach": functions that
        take one step from the same start and return the parameters.
    moved : int
        Bytes.
    """
    rng = np.random.default_rng(0)
    start, grad = (pooled(rng.standard_normal(count, np.float32)) for _ in range(2))
    # A model's parameters are many tensors; in one flat tensor PyTorch would be a little quicker.
    cuts = np.linspace(0, count, TENSORS + 1).astype(int)[1:-1]
    grads = [pooled(piece) for piece in np.split(grad, cuts)]
    decay = np.full(len(grads), 5e-4, np.float32)

    def ours_or_reference(which: str) -> Callable[[], list[Array]]:
        values = pooled(start)
        first, second = memory.zeros(count), memory.zeros(count)
        steps = 0

        def step() -> list[Array]:
            nonlocal steps
            steps += 1
            with kernels.use_kernels(which):
                if name == "SGD":
                    kernels.sgd_update(values, grads, first, decay, 1e-3, 0.9, True)
                else:
                    numbers = (1e-3, 0.9, 0.999, 1e-8, steps)
                    kernels.adamw_update(values, grads, first, second, decay, *numbers)
            return [values]

        return step

    sides = {which: ours_or_reference(which) for which in ("compiled", "reference")}
    sides["ours"] = sides.pop("compiled")
    if torch is not None:
        for variant in ("fused", "foreach"):
            sides[f"torch {variant}"] = _torch_optimiser(torch, name, variant, start, grads)
    arrays = 5 if name == "SGD" else 7
    return sides, arrays * start.nbytes


def _torch_optimiser(
    torch: Any, name: str, variant: str, start: Array, grads: list[Array]
) -> Callable[[], list[Array]]:
    cuts = np.cumsum([grad.size for grad in grads])[:-1]
    tensors = [torch.tensor(piece, requires_grad=True) for piece in np.split(start, cuts)]
    for tensor, piece in zip(tensors, grads, strict=True):
        tensor.grad = torch.tensor(piece)
    options = {"momentum": 0.9, "nesterov": True} if name == "SGD" else {}
    make = getattr(torch.optim, name)
    optimiser = make(tensors, lr=1e-3, weight_decay=5e-4, **options, **{variant: True})

    def step() -> list[Array]:
        optimiser.step()
        return [tensor.detach().numpy() for tensor in tensors]

    def joined() -> list[Array]:
        return [np.concatenate(step())]

    # Joining the pieces belongs to the check, not to the step: only the first call does it.
    calls = iter([joined])
    return lambda: next(calls, step)()


def pooled(array: Array) -> Array:
    """Return a copy of an array where the library's own arrays are: aligned, from the pool."""
    copy = memory.empty_like(array)
    copy[...] = array
    return copy
