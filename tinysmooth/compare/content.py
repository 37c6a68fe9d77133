"""What the file of a published comparison holds, field by field, before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinysmooth.checks import check_choice, check_flag, check_int, describe
from tinysmooth.compare.cell import CellResult, check_measured
from tinysmooth.compare.grid import Grid
from tinysmooth.data import KINDS
from tinysmooth.training import OptionError, TrainConfig

__all__ = ["FORMAT", "Content", "check_content"]

FORMAT = 1
_MISSING = object()


@dataclass(frozen=True)
class Content:
    """A file whose fields all fit.

    Attributes
    ----------
    grid : Grid
    data : dict
        What the images are.
    measured : dict of str to CellResult
        By the name of the cell.
    environments : dict of str to dict
        Likewise.
    """

    grid: Grid
    data: dict[str, Any]
    measured: dict[str, CellResult]
    environments: dict[str, dict[str, Any]]


def check_content(content: object) -> Content:
    """Return what was read from a file in the types that it stands for.

    Parameters
    ----------
    content : object
        Of ``json.loads``.

    Returns
    -------
    Content

    Raises
    ------
    TypeError, ValueError
        Names the field that is missing or does not fit, what came and what was expected.
    """
    if not isinstance(content, dict):
        raise TypeError(f"it holds {describe(content)}; expected an object")
    if content.get("format") != FORMAT:
        raise ValueError(f"format is {content.get('format')}; expected {FORMAT}")
    grid = _check_grid(_object(content, "base"), _object(content, "axes"))
    data = _check_data(_object(content, "data"))
    names = {cell.name for cell in grid.cells()}
    measured: dict[str, CellResult] = {}
    environments = {}
    for number, each in enumerate(_typed(content, "cells", list, "a list")):
        where = f"cells[{number}]"
        if not isinstance(each, dict):
            raise TypeError(f"{where} is {describe(each)}; expected an object")
        name = _typed(each, "name", str, "the name of a cell", where)
        if name not in names:
            raise ValueError(f"cell {name!r} is not in the grid; expected one of its cells")
        if name in measured:
            raise ValueError(f"cell {name!r} came twice; expected each cell once")
        measured[name] = check_measured(f"{name}: measured", each.get("measured"))
        environments[name] = dict(_object(each, "environment", name))
    return Content(grid, data, measured, environments)


def _check_grid(base: dict[str, Any], axes: dict[str, Any]) -> Grid:
    for name, values in axes.items():
        if not isinstance(values, list) or any(isinstance(each, list | dict) for each in values):
            raise TypeError(f"axes: {name} is {describe(values)}; expected a list of values")
    try:
        config = TrainConfig.from_dict(base)
    except OptionError as error:
        raise ValueError(f"base: {str(error).removeprefix('train: ')}") from None
    try:
        return Grid(config, axes)
    except OptionError as error:
        text = str(error).removeprefix("train: ").removeprefix("compare: ")
        raise ValueError(f"axes: {text}") from None


def _check_data(data: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in KINDS if kind != "auto"]
    check_choice("data", "source", _given(data, "source", "data"), kinds)
    for name in ("description", "reason"):
        _typed(data, name, str, "a text", "data")
    check_flag("data", "stand_in", _given(data, "stand_in", "data"))
    for name in ("num_train", "num_val"):
        check_int("data", name, _given(data, name, "data"), minimum=1)
    _typed(data, "root", str | None, "a path or null", "data")
    classes = _typed(data, "class_names", list, "a list of names", "data")
    if not all(isinstance(each, str) for each in classes):
        raise TypeError(f"data: class_names is {describe(classes)}; expected a list of names")
    return dict(data)


def _object(content: dict[str, Any], name: str, where: str = "") -> dict[str, Any]:
    fields: dict[str, Any] = _typed(content, name, dict, "an object", where)
    return fields


def _typed(content: dict[str, Any], name: str, kind: Any, expected: str, where: str = "") -> Any:
    value = _given(content, name, where, expected)
    if not isinstance(value, kind):
        raise TypeError(f"{_path(where, name)} is {describe(value)}; expected {expected}")
    return value


def _given(content: dict[str, Any], name: str, where: str, expected: str = "a value") -> Any:
    value = content.get(name, _MISSING)
    if value is _MISSING:
        raise ValueError(f"{_path(where, name)} is missing; expected {expected}")
    return value


def _path(where: str, name: str) -> str:
    return f"{where}: {name}" if where else name
