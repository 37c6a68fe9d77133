"""Comparisons for the checks of exercises: each fails in words that help the reader on.

A check calls the reader's function and hands the answer to one of these with the call spelt out,
so that a failure reads like a sentence: what was called, which element is off, by how much, and,
where the wrong answer is a known one, what it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinysmooth.tensor import Tensor

__all__ = ["Wrong", "frozen", "holds", "near", "numerical_gradient", "refuses", "same"]

Mistakes = Iterable[tuple[npt.ArrayLike, str]]


class Wrong(Exception):
    """An answer that is not right: ``words`` say how, ``hint`` says where to look."""

    def __init__(self, words: str, hint: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.hint = hint


def frozen(values: npt.ArrayLike) -> np.ndarray[Any, Any]:
    """Return a read-only copy, so that a solution which writes into its argument is caught.

    >>> frozen([1.0, 2.0]).flags.writeable
    False
    """
    array = np.array(values)
    array.flags.writeable = False
    return array


def same(
    got: object,
    want: npt.ArrayLike,
    call: str,
    *,
    tolerance: float = 1e-9,
    mistakes: Mistakes = (),
    hint: str = "",
) -> None:
    """Demand that an answer equals the expected numbers, element by element.

    Parameters
    ----------
    got : object
        What the reader's function returned: a number, an array, a list, or a Tensor.
    want : array_like
        The right answer.
    call : str
        The call as the reader would type it, for the message.
    tolerance : float
        Largest accepted difference, relative to ``max(1, |want|)``.
    mistakes : iterable of (array_like, str)
        Known wrong answers and what each comes from: the words take the place of ``hint``.
    hint : str
        Where to look when the wrong answer is not a known one.

    Raises
    ------
    Wrong
        If shape or values differ.

    Examples
    --------
    >>> same([0.9, 0.1], [0.9, 0.1], "f(x)")
    >>> same([0.9, 0.2], [0.9, 0.1], "f(x)")
    Traceback (most recent call last):
        ...
    tinysmooth.chapters.expect.Wrong: f(x) is off at [1]: 0.2, expected 0.1 (0.1 too large)
    """
    expected = np.asarray(want)
    answer = _as_numbers(got, call, hint)
    if answer.shape != expected.shape:
        raise Wrong(
            f"{call} has {_shape(answer)}, expected {_shape(expected)}",
            _known(answer, mistakes, tolerance) or hint,
        )
    off = _differences(answer, expected, tolerance)
    if not off.any():
        return
    where = np.unravel_index(int(np.argmax(off)), expected.shape)
    seen, right = answer[where], expected[where]
    place = f" at [{', '.join(str(int(i)) for i in where)}]" if expected.ndim else ""
    count = int((off > 0).sum())
    rest = f"; {count} of {expected.size} elements are off" if count > 1 else ""
    raise Wrong(
        f"{call} is off{place}: {_number(seen)}, expected {_number(right)}"
        f"{_distance(seen, right)}{rest}",
        _known(answer, mistakes, tolerance) or hint,
    )


def near(got: object, want: float, slack: float, call: str, hint: str = "") -> None:
    """Demand that one measured number lies within ``slack`` of the expected one.

    For answers that come from random draws: the message states the slack, so that the reader
    sees that the miss is more than luck.
    """
    answer = _as_numbers(got, call, hint)
    if answer.size != 1:
        raise Wrong(f"{call} has {_shape(answer)}, expected one number", hint)
    value = float(answer.reshape(()))
    if not abs(value - want) <= slack:
        raise Wrong(
            f"{call} is {_number(value)}, expected {_number(want)} give or take {slack:.2g}", hint
        )


def holds(condition: object, words: str, hint: str = "") -> None:
    """Demand a property; ``words`` say what does not hold."""
    if not condition:
        raise Wrong(words, hint)


def refuses(
    function: Callable[[], object], kinds: type[Exception] | tuple[type[Exception], ...], call: str
) -> None:
    """Demand that a call raises one of the given exceptions rather than return a number.

    >>> refuses(lambda: int("x"), ValueError, "int('x')")
    """
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    names = " or ".join(kind.__name__ for kind in kinds)
    try:
        got = function()
    except kinds:
        return
    raise Wrong(
        f"{call} returned {_number(got)}; expected a {names}",
        "refuse bad input before any work, and name the value in the message",
    )


def numerical_gradient(
    function: Callable[[np.ndarray[Any, Any]], float],
    point: npt.ArrayLike,
    step: float = 1e-5,
) -> np.ndarray[Any, Any]:
    """Central differences of a scalar function, one element at a time, in float64.

    >>> numerical_gradient(lambda x: float((x**2).sum()), [1.0, -2.0]).round(8).tolist()
    [2.0, -4.0]
    """
    base = np.array(point, dtype=np.float64)
    slopes = np.empty_like(base)
    for index in np.ndindex(*base.shape):
        up, down = base.copy(), base.copy()
        up[index] += step
        down[index] -= step
        # The realised step: base + step is rounded too.
        slopes[index] = (function(up) - function(down)) / (up[index] - down[index])
    return slopes


def _as_numbers(got: object, call: str, hint: str) -> np.ndarray[Any, Any]:
    if got is None:
        raise Wrong(f"{call} gave None", "does the function return its result?")
    data = got.data if isinstance(got, Tensor) else got
    try:
        array: np.ndarray[Any, Any] = np.asarray(data)
    except ValueError:
        raise Wrong(f"{call} gave a ragged sequence", "every row needs the same length") from None
    if array.dtype.kind not in "fiub":
        raise Wrong(f"{call} gave {got!r} ({type(got).__name__}), expected numbers", hint)
    return array


def _differences(
    answer: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tolerance: float
) -> np.ndarray[Any, Any]:
    """Distance of each element beyond its tolerance, 0 where it is right."""
    with np.errstate(all="ignore"):
        a, b = answer.astype(np.float64), expected.astype(np.float64)
        distance = np.abs(a - b)
        allowed = tolerance * np.maximum(1.0, np.abs(b))
    equal = (a == b) | (np.isnan(a) & np.isnan(b)) | (distance <= allowed)
    return np.where(equal, 0.0, np.where(np.isfinite(distance), distance, np.inf))


def _known(answer: np.ndarray[Any, Any], mistakes: Mistakes, tolerance: float) -> str:
    for value, words in mistakes:
        wrong = np.asarray(value)
        if wrong.shape == answer.shape and not _differences(answer, wrong, tolerance).any():
            return words
    return ""


def _distance(seen: Any, right: Any) -> str:
    with np.errstate(all="ignore"):
        difference = float(seen) - float(right)
    if not np.isfinite(difference):
        return ""
    return f" ({abs(difference):.3g} too {'large' if difference > 0 else 'small'})"


def _shape(array: np.ndarray[Any, Any]) -> str:
    return f"shape {array.shape}" if array.ndim else "shape () (one number)"


def _number(value: object) -> str:
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return f"{float(value):.10g}"
    return repr(value)
