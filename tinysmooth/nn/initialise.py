"""How weights begin."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from tinysmooth.checks import check_int, check_rng
from tinysmooth.graph import Array

__all__ = ["he_normal"]


def he_normal(
    shape: tuple[int, ...],
    rng: np.random.Generator | None = None,
    dtype: DTypeLike = np.float32,
) -> Array:
    """Draw weights with standard deviation sqrt(2 / fan_in); fan_in is the product of shape[1:].

    A ReLU throws away half of the variance; the 2 puts it back, so that signals keep their size
    through many layers (He et al. 2015, equation 10).

    Parameters
    ----------
    shape : tuple of int
        (out, in) or (out_channels, in_channels, height, width).
    rng : numpy.random.Generator, optional
        Source of randomness; a fresh unseeded one if left out.
    dtype : dtype
        Of the result; the draws are the same for every dtype.

    Returns
    -------
    ndarray, shape ``shape``

    Raises
    ------
    TypeError, ValueError
        If a length is no positive integer, or ``rng`` is not a Generator.
    """
    if rng is not None:
        check_rng("he_normal", "rng", rng)
    lengths = tuple(check_int("he_normal", "shape", n, minimum=1) for n in shape)
    deviation = math.sqrt(2 / max(1, math.prod(lengths[1:])))
    draws = (rng or np.random.default_rng()).standard_normal(lengths)
    return (draws * deviation).astype(dtype)
