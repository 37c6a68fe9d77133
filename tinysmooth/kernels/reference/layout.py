"""The order of an array in memory, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["contiguous"]

Array = NDArray[Any]


def contiguous(array: Array) -> Array:
    """Return the array C-contiguous: as it is, or a copy.

    Parameters
    ----------
    array : ndarray
        At least one axis.

    Returns
    -------
    ndarray, equal to ``array``
    """
    return np.ascontiguousarray(array)
