"""Operations that are random in training and do nothing in evaluation."""

from __future__ import annotations

import numpy as np

from tinysmooth.checks import check_flag, check_floating, check_real, check_rng
from tinysmooth.graph import Array
from tinysmooth.primitive import Recorded, primitive

__all__ = ["dropout"]


@primitive
def dropout(
    x: Array,
    p: float = 0.5,
    training: bool = True,
    rng: np.random.Generator | None = None,
) -> Recorded:
    """Set each element to 0 with probability ``p`` and divide the others by ``1 - p``.

    The division keeps the expected value, so that evaluation needs no correction (Srivastava et
    al. 2014, in its inverted form).

    Parameters
    ----------
    x : array
        Any shape, floating.
    p : float in [0, 1]
        Probability of dropping; 1 drops everything.
    training : bool
        If false, ``x`` is returned unchanged.
    rng : numpy.random.Generator, optional
        Source of randomness; a fresh unseeded one if left out.

    Returns
    -------
    Tensor, shape and dtype of ``x``

    Raises
    ------
    TypeError, ValueError
        If ``x`` is not floating, ``p`` is outside [0, 1] or NaN, or ``rng`` is no Generator.
    """
    p = check_real("dropout", "p", p, low=0.0, high=1.0)
    check_floating("dropout", "x", x, "Convert with x.astype(numpy.float32)")
    if rng is not None:
        check_rng("dropout", "rng", rng)
    if not check_flag("dropout", "training", training) or p == 0.0:
        return x, {"x": lambda grad: grad}
    rng = rng or np.random.default_rng()
    scale = 0.0 if p == 1.0 else 1.0 / (1.0 - p)
    mask = (rng.random(x.shape, dtype=np.float32) >= p) * np.asarray(scale, x.dtype)
    return x * mask, {"x": lambda grad: grad * mask}
