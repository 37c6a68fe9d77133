"""Checks of the options that several loaders share."""

from __future__ import annotations

from tinysmooth.checks import check_choice, check_int
from tinysmooth.data.dataset import SPLITS

__all__ = ["NOISE_LEVELS", "check_noise", "check_split"]

#: Percentages of wrong labels for which fast.ai publishes a list.
NOISE_LEVELS: tuple[int, ...] = (0, 1, 5, 25, 50)


def check_split(where: str, split: object) -> str:
    """Return ``split`` if it is one of the two."""
    return str(check_choice(where, "split", split, SPLITS))


def check_noise(where: str, noise: object) -> int:
    """Return ``noise`` as an ``int`` if labels with that percentage of noise exist."""
    percent = check_int(where, "noise", noise)
    if percent not in NOISE_LEVELS:
        allowed = ", ".join(str(level) for level in NOISE_LEVELS)
        raise ValueError(
            f"{where}: noise is {percent}; expected one of {allowed} (percent of wrong labels)"
        )
    return percent
