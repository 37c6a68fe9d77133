"""Which runs a comparison is made of."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinysmooth.training import OptionError, TrainConfig

__all__ = ["Cell", "Grid", "setting_name"]

_ALWAYS_NAMED = ("label_smoothing", "noise", "seed")
_SHORT = {"label_smoothing": "eps"}


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Attributes
    ----------
    name : str
        Of its folder.
    config : TrainConfig
    """

    name: str
    config: TrainConfig


@dataclass(frozen=True)
class Grid:
    """Every combination of some values of some options.

    Attributes
    ----------
    base : TrainConfig
        All that is not varied.
    axes : mapping of str to sequence
        Values by the name of the option. The last axis changes fastest.

    Raises
    ------
    OptionError
        For an unknown or empty axis, a value given twice, a combination that does not fit.

    Examples
    --------
    >>> grid = Grid(TrainConfig(), {"label_smoothing": [0.0, 0.1], "seed": [0, 1]})
    >>> [cell.name for cell in grid.cells()]
    ['eps0-noise0-seed0', 'eps0-noise0-seed1', 'eps0.1-noise0-seed0', 'eps0.1-noise0-seed1']
    """

    base: TrainConfig
    axes: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        known = [field.name for field in dataclasses.fields(TrainConfig)]
        for name, values in self.axes.items():
            if name not in known or name in ("root", "threads"):
                raise OptionError(
                    name, f"compare: {name!r} cannot be varied; expected one of {', '.join(known)}"
                )
            if len(values) == 0:
                raise OptionError(name, f"compare: {name} has no values; expected at least one")
            if len(set(values)) < len(values):
                raise OptionError(
                    name, f"compare: {name} is {list(values)}; expected each value once"
                )
        self.cells()  # a combination that does not fit must not be found after hours

    def cells(self) -> list[Cell]:
        """All runs, in order."""
        return list(self._cells())

    def _cells(self) -> Iterator[Cell]:
        for values in itertools.product(*self.axes.values()):
            config = dataclasses.replace(self.base, **dict(zip(self.axes, values, strict=True)))
            named = [*_ALWAYS_NAMED, *(name for name in self.axes if name not in _ALWAYS_NAMED)]
            yield Cell(
                "-".join(setting_name(name, getattr(config, name)) for name in named), config
            )

    @property
    def baseline(self) -> float:
        """The label smoothing that the others are compared with: the smallest."""
        return float(min(self.axes.get("label_smoothing", [self.base.label_smoothing])))


def setting_name(name: str, value: Any) -> str:
    """Name an option and its value, short and fit for a file name.

    >>> setting_name("label_smoothing", 0.1), setting_name("per_class", None)
    ('eps0.1', 'per_class=all')
    """
    if value is None:
        text = "all" if name.endswith("per_class") else "none"
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    short = _SHORT.get(name, name if name in _ALWAYS_NAMED else f"{name}=")
    return f"{short}{text}"
