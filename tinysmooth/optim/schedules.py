"""Schedules: the learning rate as a function of the step."""

from __future__ import annotations

import math

from tinysmooth.checks import check_int, check_real, describe
from tinysmooth.optim.optimisers import Optimiser

__all__ = ["Cosine", "OneCycle", "Schedule"]


class Schedule:
    """Sets ``optimiser.lr`` before each step; call ``step()`` after each ``optimiser.step()``.

    Parameters
    ----------
    optimiser : SGD or AdamW
    peak_lr : float
        Positive.
    total_steps : int
        Steps of the whole training.

    Attributes
    ----------
    steps_done : int
        How many steps were taken; setting it moves the schedule there (after loading a
        checkpoint).

    Raises
    ------
    TypeError, ValueError
        If a number is of the wrong kind or out of range.
    """

    def __init__(self, optimiser: Optimiser, peak_lr: float, total_steps: int) -> None:
        where = type(self).__name__
        if not isinstance(optimiser, Optimiser):
            raise TypeError(f"{where}: optimiser is {describe(optimiser)}; expected SGD or AdamW")
        self.optimiser = optimiser
        self.peak_lr = check_real(where, "peak_lr", peak_lr, low=0.0, open_low=True)
        self.total_steps = check_int(where, "total_steps", total_steps, minimum=1)

    def lr_at(self, step: int) -> float:
        """Return the learning rate of step ``step``, counted from 0; the last value holds on."""
        raise NotImplementedError

    @property
    def steps_done(self) -> int:
        """How many steps were taken."""
        return self._steps_done

    @steps_done.setter
    def steps_done(self, value: int) -> None:
        self._steps_done = check_int(type(self).__name__, "steps_done", value, minimum=0)
        self.optimiser.lr = self.lr_at(self._steps_done)

    def step(self) -> None:
        """Go on to the next step."""
        self.steps_done += 1

    def _progress(self, step: int, first: int) -> float:
        """Return how far ``step`` is between ``first`` and the last step, in [0, 1].

        Where ``first`` is the last step, nothing is left to fall: that step takes the peak.
        """
        last = self.total_steps - 1
        return 0.0 if last <= first else min(1.0, max(0.0, (step - first) / (last - first)))


class OneCycle(Schedule):
    """Rise from a small rate to the peak, then fall to almost nothing, both along a cosine.

    The large rate in the middle regularises and the small one at the end settles (Smith and Topin
    2019).

    Parameters
    ----------
    optimiser : SGD or AdamW
    peak_lr : float
        Positive.
    total_steps : int
        Steps of the whole training.
    warmup : float in [0, 1]
        Share of the steps that rise.
    start_factor, end_factor : float in (0, 1]
        First and last rate as a share of the peak.

    Raises
    ------
    TypeError, ValueError
        If a number is of the wrong kind or out of range.
    """

    def __init__(
        self,
        optimiser: Optimiser,
        peak_lr: float,
        total_steps: int,
        *,
        warmup: float = 0.3,
        start_factor: float = 0.04,
        end_factor: float = 1e-4,
    ) -> None:
        super().__init__(optimiser, peak_lr, total_steps)
        self.warmup = check_real("OneCycle", "warmup", warmup, low=0.0, high=1.0)
        self.start_factor = _factor("OneCycle", "start_factor", start_factor)
        self.end_factor = _factor("OneCycle", "end_factor", end_factor)
        self.steps_done = 0

    def lr_at(self, step: int) -> float:
        """Return the learning rate of step ``step``, counted from 0; the last value holds on."""
        top = round(self.warmup * (self.total_steps - 1))
        if step < top:
            return self.peak_lr * _blend(self.start_factor, 1.0, step / top)
        return self.peak_lr * _blend(1.0, self.end_factor, self._progress(step, top))


class Cosine(Schedule):
    """Rise in a straight line during ``warmup_steps``, then fall along half a cosine.

    From Loshchilov and Hutter 2017, without restarts.

    Parameters
    ----------
    optimiser : SGD or AdamW
    peak_lr : float
        Positive.
    total_steps : int
        Steps of the whole training.
    warmup_steps : int
        Fewer than ``total_steps``.
    end_factor : float in (0, 1]
        Last rate as a share of the peak.

    Raises
    ------
    TypeError, ValueError
        If a number is of the wrong kind or out of range.
    """

    def __init__(
        self,
        optimiser: Optimiser,
        peak_lr: float,
        total_steps: int,
        *,
        warmup_steps: int = 0,
        end_factor: float = 1e-4,
    ) -> None:
        super().__init__(optimiser, peak_lr, total_steps)
        self.warmup_steps = check_int(
            "Cosine", "warmup_steps", warmup_steps, minimum=0, maximum=self.total_steps - 1
        )
        self.end_factor = _factor("Cosine", "end_factor", end_factor)
        self.steps_done = 0

    def lr_at(self, step: int) -> float:
        """Return the learning rate of step ``step``, counted from 0; the last value holds on."""
        if step < self.warmup_steps:
            return self.peak_lr * (step + 1) / (self.warmup_steps + 1)
        return self.peak_lr * _blend(1.0, self.end_factor, self._progress(step, self.warmup_steps))


def _blend(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _factor(where: str, name: str, value: object) -> float:
    return check_real(where, name, value, low=0.0, high=1.0, open_low=True)
