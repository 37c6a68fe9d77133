"""How time is taken: sides in turn, pauses between them, medians.

Two libraries in one process disturb each other: worker threads of the one go on spinning after its
last call, those of OpenBLAS for a tenth of a second, and steal cores from the other. So before each
side there is a pause, then an untimed warm-up, then a block of timed calls; sides alternate for
several rounds, and the median over all rounds is reported. A ratio of two medians from one such run
is worth more than two times from two runs. On a new machine nothing is timed while a second process
still compiles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinysmooth.checks import check_int, check_real
from tinysmooth.graph import Array
from tinysmooth.kernels.ahead import wait_for_helper

__all__ = ["Timing", "alternate", "check_equal"]

PAUSE = 0.15  # seconds; the workers of OpenMP and OpenBLAS have stopped spinning by then


@dataclass(frozen=True)
class Timing:
    """Seconds a call takes: the median, and the quartiles as its spread."""

    median: float
    lower: float
    upper: float
    calls: int


def alternate(
    sides: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 5,
    block: float = 0.1,
    least_calls: int = 2,
    warm_up: float = 0.03,
) -> dict[str, Timing]:
    """Time several callables in turn.

    Parameters
    ----------
    sides : mapping from name to callable
        What to time, without arguments. Each is called once before all timing.
    rounds : int
        How often each side has its turn.
    block, warm_up : float
        Seconds of timed and of untimed calls in a turn.
    least_calls : int
        Timed calls in a turn, however long they take.

    Returns
    -------
    dict of Timing
    """
    rounds = check_int("alternate", "rounds", rounds, minimum=1)
    block = check_real("alternate", "block", block, low=0.0)
    for side in sides.values():
        side()
    wait_for_helper()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            side()
            while time.perf_counter() - start < warm_up:
                side()
            start, calls = time.perf_counter(), 0
            while calls < least_calls or time.perf_counter() - start < block:
                before = time.perf_counter()
                side()
                seconds[name].append(time.perf_counter() - before)
                calls += 1
    return {name: _summary(values) for name, values in seconds.items()}


def check_equal(what: str, ours: Array, theirs: Array, tolerance: float) -> float:
    """Return the largest difference relative to the largest number; refuse to time unequal sides.

    Raises
    ------
    AssertionError
        If the shapes differ or the difference exceeds ``tolerance``.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        raise AssertionError(f"{what}: shapes {ours.shape} and {theirs.shape} differ")
    scale = float(np.abs(theirs).max(initial=0.0)) or 1.0
    error = float(np.abs(ours - theirs).max(initial=0.0)) / scale
    if not error <= tolerance:
        raise AssertionError(f"{what}: the sides differ by {error:.2g}, more than {tolerance:.2g}")
    return error


def _summary(values: list[float]) -> Timing:
    if len(values) < 2:
        return Timing(values[0], values[0], values[0], len(values))
    lower, median, upper = statistics.quantiles(values, n=4)
    return Timing(median, lower, upper, len(values))
