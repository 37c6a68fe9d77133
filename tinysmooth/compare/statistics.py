"""Differences between runs that share their seed, and how sure one can be of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinysmooth.checks import check_array, check_int, check_real

__all__ = ["PairedDifference", "paired_difference", "student_t_quantile"]


@dataclass(frozen=True)
class PairedDifference:
    """Mean of paired differences with a confidence interval.

    Attributes
    ----------
    mean : float
    low, high : float
        Ends of the interval; minus and plus infinity for a single pair.
    count : int
        Number of pairs.
    """

    mean: float
    low: float
    high: float
    count: int

    def scaled(self, factor: float) -> PairedDifference:
        """Return the same in another unit; ``factor`` is positive."""
        ends = factor * self.mean, factor * self.low, factor * self.high
        return PairedDifference(*ends, self.count)

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0.0 or self.high < 0.0


def paired_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95
) -> PairedDifference:
    """Mean of ``second - first``, with Student's interval over the pairs.

    What the members of a pair share (initial weights, choice and order of the images) cancels in
    their difference, which therefore varies less than either (Student 1908).

    Parameters
    ----------
    first, second : array of float, (N,)
    level : float in (0, 1)
        Share of such intervals that hold the true mean, if the differences are normal.

    Returns
    -------
    PairedDifference

    Raises
    ------
    TypeError, ValueError
        If the arrays are empty, not finite or of different length.

    Examples
    --------
    >>> difference = paired_difference([1.0, 2.0, 3.0], [2.0, 2.0, 5.0])
    >>> print(f"{difference.mean:.2f} in [{difference.low:.2f}, {difference.high:.2f}]")
    1.00 in [-1.48, 3.48]
    """
    where = "paired_difference"
    before, after = (
        check_array(where, name, value).astype(np.float64)
        for name, value in (("first", first), ("second", second))
    )
    level = check_real(where, "level", level, low=0, high=1, open_low=True, open_high=True)
    if before.ndim != 1 or before.shape != after.shape or before.size == 0:
        raise ValueError(
            f"{where}: first has shape {before.shape} and second {after.shape}; expected (N,) "
            "for both, N >= 1"
        )
    differences = after - before
    if not np.isfinite(differences).all():
        raise ValueError(f"{where}: first or second holds NaN or infinity; expected finite numbers")
    count, mean = len(differences), float(differences.mean())
    if count == 1:
        return PairedDifference(mean, -math.inf, math.inf, 1)
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    reach = student_t_quantile((1 + level) / 2, count - 1) * error
    return PairedDifference(mean, mean - reach, mean + reach, count)


def student_t_quantile(probability: float, degrees: int) -> float:
    """Value that a Student t variable stays below with the given probability.

    Parameters
    ----------
    probability : float in (0, 1)
    degrees : int
        Degrees of freedom, at least 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        For arguments outside these ranges.

    Notes
    -----
    For whole degrees of freedom the distribution function is a finite sum (Abramowitz and Stegun
    1964, 26.7.3 and 26.7.4), which is inverted by bisection in the angle ``atan(t / sqrt(n))``.

    Examples
    --------
    >>> round(student_t_quantile(0.975, 4), 4)
    2.7764
    """
    where = "student_t_quantile"
    p = check_real(where, "probability", probability, low=0, high=1, open_low=True, open_high=True)
    degrees = check_int(where, "degrees", degrees, minimum=1)
    low, high = -math.pi / 2, math.pi / 2
    for _ in range(100):  # halves the interval to nothing
        middle = (low + high) / 2
        if (1 + _central(middle, degrees)) / 2 < p:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _central(angle: float, degrees: int) -> float:
    """Probability between -t and t, where ``tan(angle) = t / sqrt(degrees)``; odd in the angle."""
    sine, cosine = math.sin(angle), math.cos(angle)
    term = 1.0 if degrees % 2 == 0 else cosine
    total = 0.0 if degrees == 1 else term
    for k in range(2 if degrees % 2 == 0 else 3, degrees - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if degrees % 2 == 0:
        return sine * total
    return 2 / math.pi * (angle + sine * total)
