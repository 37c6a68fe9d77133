"""A running mean of the weights, which is steadier than the weights of any one step."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinysmooth import kernels
from tinysmooth.nn import Module
from tinysmooth.tensor import Tensor

__all__ = ["WeightAverage", "average_share"]

Array = np.ndarray[Any, Any]


def average_share(decay: float, steps: int) -> float:
    """Share of the way that the average goes to the weights after step ``steps``, counted from 1.

    >>> [round(average_share(0.99, steps), 3) for steps in (1, 90, 10_000)]
    [0.818, 0.09, 0.01]
    """
    return 1.0 - min(decay, (1 + steps) / (10 + steps))


class WeightAverage:
    """Exponential moving average of everything in a model's state (Polyak and Juditsky 1992).

    Each update moves the average by ``1 - decay`` of the way to the weights of this step; the
    first updates move it further, by 9 / (10 + steps), so that the random start is soon forgotten.
    The running statistics of BatchNorm are averaged alike, integers are copied.

    Parameters
    ----------
    model : Module
        Where the average begins.
    decay : float in (0, 1)
        Roughly, the mean of the last 1 / (1 - decay) steps.

    Attributes
    ----------
    state : dict of str to ndarray
        The average, with the names of ``model.state_dict()``.

    Examples
    --------
    >>> from tinysmooth import nn
    >>> layer = nn.Linear(1, 1)
    >>> layer.load_state_dict({"weight": [[0.0]], "bias": [0.0]})
    >>> average = WeightAverage(layer, decay=0.75)
    >>> layer.load_state_dict({"weight": [[8.0]], "bias": [4.0]})
    >>> average.update(layer, steps=1000)
    >>> average.state["weight"].item(), average.state["bias"].item()
    (2.0, 1.0)
    """

    def __init__(self, model: Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Array] = model.state_dict()

    def update(self, model: Module, steps: int) -> None:
        """Take in the weights after ``steps`` steps in all."""
        share = average_share(self.decay, steps)
        for name, value in model._named_state():
            average = self.state[name]
            latest = value._data if isinstance(value, Tensor) else value
            if average.dtype.kind == "f":
                kernels.move_towards(average, latest, share)
            else:
                average[...] = latest
