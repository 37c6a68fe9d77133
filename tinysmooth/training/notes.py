"""What ``config.json`` must hold beside the options of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tinysmooth.checks import describe

__all__ = ["check_counts", "check_notes"]


def check_notes(content: object) -> None:
    """Check the types of the notes in ``config.json``, on which other rooms rely.

    The options are left to ``TrainConfig``.

    Parameters
    ----------
    content : object
        What the JSON text says.

    Raises
    ------
    KeyError
        If a field is missing.
    TypeError
        If a field is not what training writes; the message names it.
    """
    _check("the content", content, _is_object, "an object")
    assert isinstance(content, Mapping)
    _check("options", content["options"], _is_object, "an object")
    _check("data", content["data"], _is_object, "an object")
    for name, (fits, expected) in _DATA.items():
        _check(f"data.{name}", content["data"][name], fits, expected)
    _check("environment", content["environment"], _is_object, "an object")


def check_counts(counts: Mapping[str, int], found: Mapping[str, Any], path: str) -> None:
    """Compare how many images there are with what the run found then.

    A checkpoint knows the images themselves; without one, their number is all there is.

    Parameters
    ----------
    counts : mapping of str to int
        ``num_train`` and ``num_val`` now.
    found : mapping
        The notes on the data.
    path : str
        Of the file that holds them.

    Raises
    ------
    ValueError
        If they differ.
    """
    for name, count in counts.items():
        if count != found[name]:
            raise ValueError(
                f"resume: {name} is {count}; expected {found[name]}, as in {path!r}. Resume with "
                "the same images"
            )


def _check(name: str, value: object, fits: Callable[[Any], bool], expected: str) -> None:
    if not fits(value):
        came = "null" if value is None else describe(value)
        raise TypeError(f"{name} is {came}, expected {expected}")


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_names(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_text, value))


_DATA: dict[str, tuple[Callable[[Any], bool], str]] = {
    "source": (lambda value: value in ("imagenette", "drawn"), "'imagenette' or 'drawn'"),
    "root": (lambda value: value is None or _is_text(value), "a folder or null"),
    "reason": (_is_text, "text"),
    "description": (_is_text, "text"),
    "stand_in": (lambda value: isinstance(value, bool), "true or false"),
    "class_names": (_are_names, "a list of names"),
    "num_train": (_is_count, "a whole number"),
    "num_val": (_is_count, "a whole number"),
}
