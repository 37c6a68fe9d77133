"""Which runs a comparison is made of."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinysmooth.training import OptionError, TrainConfig

__all__ = ["Cell", "Grid", "number_text", "setting_name"]

# All runs have the same images, and where they run is no part of the question.
_SHARED = ("data", "root", "threads")
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
        Values by the name of the option. The last axis changes fastest. "data", "root" and
        "threads" cannot be varied.

    Raises
    ------
    OptionError
        For an unknown or empty axis, a value given twice, a combination that does not fit.

    Notes
    -----
    Where ``size`` or ``end_size`` is varied, the smaller sides of ``base`` that are larger than
    the one of a cell become as large as it.

    Examples
    --------
    >>> grid = Grid(TrainConfig(), {"label_smoothing": [0.0, 0.1], "seed": [0, 1]})
    >>> [cell.name for cell in grid.cells()]
    ['eps0-noise0-seed0', 'eps0-noise0-seed1', 'eps0.1-noise0-seed0', 'eps0.1-noise0-seed1']
    """

    base: TrainConfig
    axes: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        every = [field.name for field in dataclasses.fields(TrainConfig)]
        known = [name for name in every if name not in _SHARED]
        for name, values in self.axes.items():
            if name not in known:
                same = ", since all runs have the same" if name in _SHARED else ""
                raise OptionError(
                    name,
                    f"compare: {name!r} cannot be varied{same}; expected one of {', '.join(known)}",
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
            options = _fit_sides(self.base, dict(zip(self.axes, values, strict=True)))
            config = dataclasses.replace(self.base, **options)
            named = [*_ALWAYS_NAMED, *(name for name in self.axes if name not in _ALWAYS_NAMED)]
            yield Cell(
                "-".join(setting_name(name, getattr(config, name)) for name in named), config
            )

    @property
    def baseline(self) -> float:
        """The label smoothing that the others are compared with: the smallest."""
        return float(min(self.axes.get("label_smoothing", [self.base.label_smoothing])))


def _fit_sides(base: TrainConfig, varied: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a cell, where sides of ``base`` do not exceed those that are varied."""
    options = dict(varied)
    limit = options.get("size", base.size)
    for name in ("end_size", "start_size"):
        side = options.get(name, getattr(base, name))
        if name not in varied and side is not None and isinstance(limit, int):
            options[name] = side = min(side, limit)
        limit = limit if side is None else side
    return options


def setting_name(name: str, value: Any) -> str:
    """Name an option and its value, short and fit for a file name.

    >>> setting_name("label_smoothing", 0.1), setting_name("per_class", None)
    ('eps0.1', 'per_class=all')
    """
    if value is None:
        text = "all" if name.endswith("per_class") else "none"
    else:
        text = number_text(value) if isinstance(value, float) else str(value)
    short = _SHORT.get(name, name if name in _ALWAYS_NAMED else f"{name}=")
    return f"{short}{text}"


def number_text(value: float) -> str:
    """Write a number in short, but in full where six digits would be another number.

    >>> number_text(0.1), number_text(0.1000001)
    ('0.1', '0.1000001')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))
