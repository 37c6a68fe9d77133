"""Compare gradients with finite differences, element by element or along random directions.

For a smooth function the central difference ``(f(x + h) - f(x - h)) / 2h`` differs from the slope
by about ``h**2 f''' / 6`` (truncation) plus ``u |f| / h`` (rounding, u = 1.1e-16 in float64). Both
are smallest together near ``h = u**(1/3)``, about 1e-5, where some ten digits can be trusted. That
is why this needs float64, and why a tolerance of 1e-6 is fair: a forgotten ``epsilon / K`` changes
a gradient by less than one percent, and a tolerance of 1e-2 lets it pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinysmooth.checks import check_int, check_real, check_rng, describe
from tinysmooth.graph import Array
from tinysmooth.primitive import no_grad
from tinysmooth.tensor import Tensor

__all__ = ["GradcheckError", "GradcheckReport", "gradcheck"]

EVERY_ELEMENT_UP_TO = 1000  # elements of one input; above, random directions
DEFAULT_DIRECTIONS = 20
SEED = -2.0  # what backward begins with, and is divided by again: that rounds nothing
ROUNDINGS = 16  # differences below so many rounding errors say nothing
SMALL = 1e-3  # an element counts as at least this share of the largest one
BLUR = 1e-5  # rounding that hides slopes up to here, and up to this share of the largest one, ...
BLUR_SHARE = 1e-2  # ... leaves nothing to compare
BLUR_AT_REST = 1e-4  # up to here where not one output moved: there the slope is most likely 0
KINK = 1e-2  # left and right slopes that differ by more are not one slope


@dataclass(frozen=True)
class GradcheckReport:
    """What a gradient check found.

    Attributes
    ----------
    max_relative_error : float
        Largest ``|analytic - numeric| / max(|analytic|, |numeric|)``; elements below a thousandth
        of the largest, or lost in rounding, are measured against that instead.
    worst_input : int
        Which input it belongs to.
    worst_element : tuple of int, or None
        Its index in that input; ``None`` if it is a direction.
    analytic, numeric : float
        The two slopes there.
    kink_suspected : bool
        Whether the slopes to the left and to the right differ there, as at ReLU's 0.
    comparisons : int
        How many slopes were compared.
    """

    max_relative_error: float
    worst_input: int
    worst_element: tuple[int, ...] | None
    analytic: float
    numeric: float
    kink_suspected: bool
    comparisons: int


class GradcheckError(AssertionError):
    """The analytic gradient and finite differences disagree; ``.report`` has the details."""

    def __init__(self, message: str, report: GradcheckReport) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[GradcheckError], tuple[str, GradcheckReport]]:
        """Pickle both arguments, so that a worker can send the error to its parent."""
        return type(self), (str(self), self.report)


def gradcheck(
    function: Callable[..., Tensor],
    inputs: Any,
    *,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    directions: int | None = None,
    rng: np.random.Generator | None = None,
) -> GradcheckReport:
    """Check the gradients that ``backward`` gives for ``function`` at ``inputs``.

    A result with several elements is weighed with fixed random numbers and added up, so that every
    output counts.

    Parameters
    ----------
    function : callable
        Takes the inputs as Tensors and returns a Tensor. Must be deterministic.
    inputs : Tensor or array, or a list or tuple of them
        float64. Float arrays and Tensors that require a gradient are checked; integers and Tensors
        that require none are constants. A list of numbers is one input, a tuple several.
    step : float
        Finite-difference step, in (0, 0.1].
    tolerance : float
        Largest relative error that passes, in (0, 1).
    directions : int, optional
        Compare slopes along so many random directions an input. If left out: every element of
        inputs of up to 1000 elements, and 20 directions for larger ones.
    rng : numpy.random.Generator, optional
        Source of weights and directions; ``default_rng(0)`` if left out.

    Returns
    -------
    GradcheckReport

    Raises
    ------
    GradcheckError
        If the largest relative error exceeds the tolerance; names the input, the element and both
        numbers, and tells whether a kink is suspected.
    TypeError, ValueError
        If there is nothing to check, an input is not float64 or not finite, the function returns no
        Tensor, does not depend on the inputs, or returns another value when called again.

    Examples
    --------
    >>> report = gradcheck(lambda x: (x * x).sum(), np.array([1.0, 2.0]))
    >>> report.max_relative_error < 1e-9
    True
    """
    if not callable(function):
        raise TypeError(f"gradcheck: function is {describe(function)}; expected a function")
    step = check_real("gradcheck", "step", step, low=0.0, high=0.1, open_low=True)
    tolerance = check_real(
        "gradcheck", "tolerance", tolerance, low=0.0, high=1.0, open_low=True, open_high=True
    )
    if directions is not None:
        directions = check_int("gradcheck", "directions", directions, minimum=1)
    rng = np.random.default_rng(0) if rng is None else check_rng("gradcheck", "rng", rng)
    given, checked = _check_inputs(inputs)
    check = _Check(function, given, step, tolerance)
    weights = check.choose_weights(rng)
    grads = check.analytic(checked, weights)
    worst: GradcheckReport | None = None
    comparisons = 0
    for index in checked:
        array, grad = given[index], grads[index]
        assert isinstance(array, np.ndarray)
        moves = _moves(array, directions, rng)
        slopes = [check.slope(index, move, weights) for _, move in moves]
        scale = max((abs(numeric) for numeric, _ in slopes), default=0.0)
        _refuse_blur(index, max((blur for _, blur in slopes), default=0.0), scale)
        comparisons += len(moves)
        for (element, move), (numeric, blur) in zip(moves, slopes, strict=True):
            analytic = float(grad[element]) if element is not None else float((grad * move).sum())
            error = check.error(analytic, numeric, scale, blur)
            # "not <=" so that NaN counts as the worst of all
            if worst is None or not error <= worst.max_relative_error:
                worst = GradcheckReport(error, index, element, analytic, numeric, False, 0)
                worst_move = move
                if np.isnan(error):
                    break
    if worst is None:
        raise ValueError("gradcheck: inputs have no elements; expected at least one")
    kink = check.has_kink(worst.worst_input, worst_move, weights)
    report = replace(worst, kink_suspected=kink, comparisons=comparisons)
    if not report.max_relative_error <= tolerance:
        raise GradcheckError(_message(report, tolerance), report)
    return report


class _Check:
    """The function under test at its inputs, with all but one of them held fixed."""

    def __init__(
        self, function: Callable[..., Tensor], given: list[Any], step: float, tolerance: float
    ) -> None:
        self.function = function
        self.given = given
        self.step = step
        self.tolerance = tolerance

    def value(self, index: int | None = None, array: Array | None = None) -> Array:
        """Evaluate without recording, with one input replaced."""
        arguments = [
            self._argument(array if i == index else value) for i, value in enumerate(self.given)
        ]
        with no_grad():
            out = self.function(*arguments)
        if not isinstance(out, Tensor):
            raise TypeError(f"gradcheck: function returned {describe(out)}; expected a Tensor")
        return np.array(out._data, np.float64)

    def choose_weights(self, rng: np.random.Generator) -> Array:
        """Draw the weights of the outputs, away from 0; refuse a function that is not one."""
        first, again = self.value(), self.value()
        if first.shape != again.shape or not np.array_equal(first, again, equal_nan=True):
            raise ValueError(
                "gradcheck: function returned two different values for the same inputs; expected a "
                "deterministic one. Is there a dropout or an unseeded rng in it?"
            )
        if first.size == 1:
            return np.ones_like(first)
        signs: Array = rng.choice([-1.0, 1.0], first.shape)
        return signs * rng.uniform(0.5, 1.5, first.shape)

    def analytic(self, checked: list[int], weights: Array) -> dict[int, Array]:
        """Run forward and backward once; return the gradient of each checked input."""
        arguments = [
            Tensor(value, requires_grad=True) if i in checked else self._argument(value)
            for i, value in enumerate(self.given)
        ]
        out = self.function(*arguments)
        for i, before in enumerate(self.given):
            after = getattr(arguments[i], "_data", arguments[i])
            if isinstance(before, np.ndarray) and not np.array_equal(after, before, equal_nan=True):
                raise ValueError(
                    f"gradcheck: function changed inputs[{i}] in place; expected a new array as "
                    "its result"
                )
        if not out.requires_grad:
            raise ValueError(
                "gradcheck: the result does not require a gradient; expected a function that "
                "computes with the Tensors it is given, outside no_grad"
            )
        # A rule that leaves out its grad, or takes its size or sign, would be right for 1.
        out.backward(SEED * weights)
        grads: dict[int, Array] = {}
        for i in checked:
            grad = arguments[i].grad
            grads[i] = np.zeros_like(self.given[i]) if grad is None else np.asarray(grad / SEED)
        return grads

    def slope(self, index: int, move: Array, weights: Array) -> tuple[float, float]:
        """Return the central difference along ``move``, and slopes that rounding may hide in it."""
        above = np.asarray(self.given[index] + self.step * move)
        below = np.asarray(self.given[index] - self.step * move)
        width = float(np.vdot(above - below, move))  # the step that rounding really left
        if not width:
            largest = np.abs(self.given[index]).max()
            raise ValueError(
                f"gradcheck: inputs[{index}] has numbers up to {largest:g}, to which a step of "
                f"{self.step:g} adds nothing; expected smaller ones"
            )
        high, low = self.value(index, above), self.value(index, below)
        difference = weights * (high - low)
        roundings = np.finfo(np.float64).eps * np.abs(weights * high)
        moved = difference != 0
        # An output that did not move may have moved by less than its last place. Most did not
        # because the input is none of theirs; so these are not added up.
        blur = ROUNDINGS * float(roundings[moved].sum()) + float(np.linalg.norm(roundings[~moved]))
        return float(difference.sum()) / width, blur / width

    def error(self, analytic: float, numeric: float, scale: float, blur: float) -> float:
        """Return the relative error of one slope."""
        difference = abs(analytic - numeric)
        if difference == 0:
            return 0.0
        floor = max(SMALL * scale, blur / self.tolerance)
        return difference / max(abs(analytic), abs(numeric), floor)

    def has_kink(self, index: int, move: Array, weights: Array) -> bool:
        """Tell whether the slopes to both sides differ."""
        here = self.value()
        sides = []
        for sign in (1.0, -1.0):
            moved = np.asarray(self.given[index] + sign * self.step * move)
            width = float(np.vdot(moved - self.given[index], move))
            sides.append(float((weights * (self.value(index, moved) - here)).sum()) / width)
        right, left = sides
        blur = ROUNDINGS * np.finfo(np.float64).eps * float(np.linalg.norm(weights * here))
        least = max(KINK * max(abs(right), abs(left)), blur / self.step)
        return bool(abs(right - left) > least)

    def _argument(self, value: Any) -> Any:
        checked = isinstance(value, np.ndarray) and value.dtype == np.float64
        return Tensor(value) if checked else value


def _check_inputs(inputs: Any) -> tuple[list[Any], list[int]]:
    """Return the inputs as a list and which of them are to be checked."""
    items: Sequence[Any] = inputs if isinstance(inputs, list | tuple) else [inputs]
    if isinstance(items, list) and items and all(isinstance(item, int | float) for item in items):
        items = [np.asarray(inputs, np.float64)]  # one input, given as a list of numbers
    given: list[Any] = []
    checked: list[int] = []
    for i, item in enumerate(items):
        if isinstance(item, Tensor) and not item.requires_grad:
            given.append(item)
            continue
        array = item._data if isinstance(item, Tensor) else np.asarray(item)
        if array.dtype.kind in "iub":
            given.append(item)
            continue
        if array.dtype != np.float64:
            raise TypeError(
                f"gradcheck: inputs[{i}] has dtype {array.dtype}; expected float64, as finite "
                "differences in less cannot be told from a wrong gradient. Convert with "
                "x.astype(numpy.float64)"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"gradcheck: inputs[{i}] has NaN or infinity; expected finite numbers")
        checked.append(i)
        given.append(array.copy())
    if not checked:
        raise ValueError(
            "gradcheck: inputs have nothing to check; expected float64 arrays or Tensors with "
            "requires_grad=True"
        )
    return given, checked


def _moves(
    array: Array, directions: int | None, rng: np.random.Generator
) -> list[tuple[tuple[int, ...] | None, Array]]:
    """Return the displacements to try: one an element, or random ones of length 1."""
    if directions is None and array.size <= EVERY_ELEMENT_UP_TO:
        moves: list[tuple[tuple[int, ...] | None, Array]] = []
        for element in np.ndindex(array.shape):
            move = np.zeros_like(array)
            move[element] = 1.0
            moves.append((element, move))
        return moves
    draws = [rng.standard_normal(array.shape) for _ in range(directions or DEFAULT_DIRECTIONS)]
    return [(None, draw / np.linalg.norm(draw)) for draw in draws]


def _refuse_blur(index: int, blur: float, scale: float) -> None:
    """Refuse a comparison in which rounding hides slopes as large as those compared."""
    if blur > (max(BLUR, BLUR_SHARE * scale) if scale else BLUR_AT_REST):
        raise ValueError(
            f"gradcheck: for inputs[{index}] rounding hides slopes up to {blur:.2g}, beside which "
            f"the largest, {scale:.2g}, says nothing; expected a function with smaller values. "
            "Subtract a constant from it, or take smaller inputs"
        )


def _message(report: GradcheckReport, tolerance: float) -> str:
    if report.worst_element is None:
        place = f"a random direction of inputs[{report.worst_input}]"
    else:
        place = f"inputs[{report.worst_input}] at element {report.worst_element}"
    kink = (
        " The slopes to the left and to the right differ there: a kink is suspected; move the "
        "input away from it before you blame the rule."
        if report.kink_suspected
        else ""
    )
    return (
        f"gradcheck: {place}: the analytic gradient is {report.analytic:.10g}, finite differences "
        f"give {report.numeric:.10g}; the relative error is {report.max_relative_error:.3g}, "
        f"expected at most {tolerance:g}.{kink}"
    )
