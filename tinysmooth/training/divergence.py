"""When a training runs away, and what to say then."""

from __future__ import annotations

import math

__all__ = ["EARLY", "TREND", "DivergedError", "advice", "runaway_limit", "too_large"]

TREND = 0.9
"""Weight of the past in the running mean of the loss."""

EARLY = 10
"""So many steps may bring down a large loss, with which a training begins."""

# Guessing evenly costs log K nats; a loss that stays this many times above it is running away.
_RUNAWAY = 10.0


class DivergedError(ArithmeticError):
    """The loss became NaN, infinite or absurdly large; the model holds the last good weights."""


def runaway_limit(num_classes: int) -> float:
    """Return the loss, in nats, above which training runs away.

    >>> round(runaway_limit(10), 1)
    23.0
    """
    return _RUNAWAY * max(1.0, math.log(max(1, num_classes)))


def too_large(loss: float, num_classes: int) -> str:
    """Say how a loss compares with the limit."""
    limit = runaway_limit(num_classes)
    return f"{loss:.3g}, above {limit:.3g} = {_RUNAWAY:g} times that of guessing"


def advice(what: str, where: tuple[int, int], lr: float, peak: float) -> str:
    """Compose the message of a ``DivergedError``.

    Parameters
    ----------
    what : str
        What went wrong.
    where : (int, int)
        Epoch and step, counted from 1.
    lr, peak : float
        Learning rates: of this step and of the whole schedule.
    """
    return (
        f"fit: {what} in epoch {where[0]}, step {where[1]}, at learning rate {lr:.3g} (peak "
        f"{peak:g}); expected a loss that falls. Try lr = {peak / 4:.2g}. The model holds its last "
        "good weights again"
    )
