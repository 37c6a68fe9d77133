r"""Smoothed targets, written out: three definitions side by side, and how to convert.

The losses never build these arrays for integer targets; this room is for reading, for plots, for
tests, and for targets that are distributions in their own right (a prior, mixup).

===========  ==========================  =====================  ================================
definition   true class                  each wrong class       who uses it
===========  ==========================  =====================  ================================
"all"        1 - eps + eps/K             eps/K                  the paper (section 7), PyTorch,
                                                                Keras, timm, fastai, Hugging
                                                                Face ``LabelSmoother``, fastbook
"others"     1 - eps                     eps/(K - 1)            fairseq, tensor2tensor
``prior=u``  1 - eps + eps u_y           eps u_k                the paper's general form
===========  ==========================  =====================  ================================

The first is the third with a uniform prior. The first two are the same family under other names:
``eps_all = eps_others K / (K - 1)``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tinysmooth.checks import check_array, check_choice, check_int, check_real
from tinysmooth.graph import Array
from tinysmooth.losses.inputs import check_smoothing

__all__ = [
    "check_classes",
    "check_prior",
    "equivalent_label_smoothing",
    "mixup_label_smoothing",
    "mixup_targets",
    "smooth_targets",
]

VARIANTS = ("all", "others")
_LARGE_ALPHA = 1e7  # where the mass that mixup takes is known to 1e-8 without logarithms of gamma


def smooth_targets(
    targets: ArrayLike,
    num_classes: int,
    label_smoothing: float,
    *,
    variant: str = "all",
    prior: ArrayLike | None = None,
    allow_negative: bool = False,
) -> Array:
    """Write out smoothed targets: the distributions that the loss compares softmax with.

    Parameters
    ----------
    targets : array of integers, any shape (...)
        Class indices in [0, K).
    num_classes : int
        K, at least 1.
    label_smoothing : float in [0, 1]
        eps.
    variant : {"all", "others"}
        "all": eps/K on every class, on top of 1 - eps on the true one (the paper, PyTorch).
        "others": eps/(K - 1) on each wrong class, 1 - eps on the true one (fairseq).
    prior : array of float, (K,), optional
        A distribution u that replaces the uniform one: eps u_k on every class. Not with "others".
    allow_negative : bool
        Accept eps < 0: rows of the inverse of a symmetric noise matrix, negative off the true
        class.

    Returns
    -------
    ndarray of float64, shape (..., K)
        Rows that add up to 1.

    Raises
    ------
    TypeError
        If targets are not integers.
    ValueError
        If eps is out of range, ``variant`` is unknown, ``prior`` is not a distribution over K
        classes, or "others" came with one class (there is nobody to give eps to) or a prior.
    IndexError
        If a target is not in [0, K).

    Examples
    --------
    The row printed in the fastai book, chapter 7, for ten classes and eps = 0.1:

    >>> smooth_targets([3], 10, 0.1)
    array([[0.01, 0.01, 0.01, 0.91, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]])
    >>> smooth_targets(0, 3, 0.2, variant="others")
    array([0.8, 0.1, 0.1])
    >>> smooth_targets(1, 3, 0.1, prior=[0.5, 0.3, 0.2])
    array([0.05, 0.93, 0.02])
    """
    where = "smooth_targets"
    num_classes = check_int(where, "num_classes", num_classes, minimum=1)
    eps = check_smoothing(where, label_smoothing, allow_negative)
    variant = check_choice(where, "variant", variant, VARIANTS)
    indices = check_classes(where, "targets", targets, num_classes)
    if prior is not None:
        if variant == "others":
            raise ValueError(f"{where}: prior came with variant='others'; expected variant='all'")
        share = eps * check_prior(where, prior, num_classes)
    elif variant == "all":
        share = np.full(num_classes, eps / num_classes)
    else:
        _require_others(where, num_classes, eps)
        share = np.full(num_classes, eps / max(num_classes - 1, 1))
    smoothed = np.empty((*indices.shape, num_classes))
    smoothed[...] = share
    true = np.expand_dims(indices, -1)
    kept = np.zeros(num_classes) if variant == "others" else share
    np.put_along_axis(smoothed, true, ((1 - eps) + kept)[true], axis=-1)
    return smoothed


def equivalent_label_smoothing(
    label_smoothing: float, num_classes: int, *, source: str, target: str
) -> float:
    """Convert an eps from one definition to the other, so that the targets are the same.

    Parameters
    ----------
    label_smoothing : float in [0, 1]
        eps in the definition ``source``.
    num_classes : int
        K.
    source, target : {"all", "others"}
        As ``variant`` of `smooth_targets`: "all" is PyTorch, Keras, timm, fastai, the paper;
        "others" is fairseq and tensor2tensor.

    Returns
    -------
    float
        ``eps K/(K - 1)`` from "others" to "all", ``eps (K - 1)/K`` the other way.

    Raises
    ------
    ValueError
        If eps is out of range, a name is unknown, there is one class only (where "others" is not
        defined), or no eps in [0, 1] gives that target: "others" beyond (K - 1)/K puts less on
        the true class than on the wrong ones, which "all" cannot say.

    Examples
    --------
    >>> print(round(equivalent_label_smoothing(0.1, 10, source="others", target="all"), 12))
    0.111111111111
    """
    where = "equivalent_label_smoothing"
    eps = check_smoothing(where, label_smoothing)
    num_classes = check_int(where, "num_classes", num_classes, minimum=1)
    source = check_choice(where, "source", source, VARIANTS)
    target = check_choice(where, "target", target, VARIANTS)
    if "others" in (source, target):
        _require_others(where, num_classes, eps)
    if source == target:
        return eps
    if eps == 0:
        return 0.0
    if target == "others":
        return eps * (num_classes - 1) / num_classes
    largest = (num_classes - 1) / num_classes
    if eps > largest:
        raise ValueError(
            f"{where}: label_smoothing is {eps:g}; expected at most (K - 1)/K = {largest:g}. "
            "Beyond it the true class gets less than each wrong one, which 'all' cannot express"
        )
    return min(eps * num_classes / (num_classes - 1), 1.0)


def mixup_targets(
    targets: ArrayLike,
    partners: ArrayLike,
    mixing: ArrayLike,
    num_classes: int,
    label_smoothing: float = 0.0,
) -> Array:
    """Targets of mixed examples: ``mixing`` of one class and the rest of another.

    Parameters
    ----------
    targets, partners : array of integers, (N,)
        Classes of the two examples that were mixed.
    mixing : float or array of float, () or (N,)
        lambda in [0, 1], the share of ``targets``; the inputs are mixed by the same numbers.
    num_classes : int
        K.
    label_smoothing : float in [0, 1]
        Smooths the mixture as well.

    Returns
    -------
    ndarray of float64, (N, K)
        To be passed to `tinysmooth.cross_entropy` as probabilities.

    Raises
    ------
    TypeError, ValueError, IndexError
        For a wrong dtype, shapes that do not fit, numbers outside [0, 1], unknown classes.

    Notes
    -----
    Source: Zhang et al., *mixup: Beyond Empirical Risk Minimization*, 2018. The cross-entropy with
    these targets is the same mixture of the two cross-entropies, being linear in the target.

    Examples
    --------
    >>> mixup_targets([0, 1], [2, 1], [0.75, 0.5], 3)
    array([[0.75, 0.  , 0.25],
           [0.  , 1.  , 0.  ]])
    """
    where = "mixup_targets"
    num_classes = check_int(where, "num_classes", num_classes, minimum=1)
    eps = check_smoothing(where, label_smoothing)
    first = check_classes(where, "targets", targets, num_classes)
    second = check_classes(where, "partners", partners, num_classes)
    if first.ndim != 1 or second.shape != first.shape:
        raise ValueError(
            f"{where}: partners has shape {second.shape} and targets {first.shape}; expected "
            "(N,) for both"
        )
    share = check_array(where, "mixing", mixing).astype(np.float64)
    if share.shape not in ((), first.shape):
        raise ValueError(f"{where}: mixing has shape {share.shape}; expected () or {first.shape}")
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"{where}: mixing has values outside [0, 1] or NaN; expected none")
    mixed = np.full((len(first), num_classes), eps / num_classes)
    rows = np.arange(len(first))
    mixed[rows, first] += (1 - eps) * share
    mixed[rows, second] += (1 - eps) * (1 - share)  # adds up where both are the same class
    return mixed


def mixup_label_smoothing(alpha: float) -> float:
    """Mean mass that mixup takes away from the main class: the eps it amounts to.

    For ``lambda ~ Beta(alpha, alpha)`` that is ``1 - E max(lambda, 1 - lambda)``, which has the
    closed form ``1/2 - 1 / (alpha 4^alpha B(alpha, alpha))``.

    Parameters
    ----------
    alpha : float > 0

    Returns
    -------
    float
        In (0, 1/2). alpha = 0.2 gives almost exactly the usual eps = 0.1.

    Raises
    ------
    TypeError, ValueError
        If ``alpha`` is not a positive finite number.

    Notes
    -----
    Carratino et al., *On Mixup Regularization*, 2022, show that mixup contains label smoothing.

    Examples
    --------
    >>> print(round(mixup_label_smoothing(0.2), 4), mixup_label_smoothing(1.0))
    0.1012 0.25
    """
    where = "mixup_label_smoothing"
    alpha = check_real(where, "alpha", alpha, low=0, high=math.inf, open_low=True, open_high=True)
    if alpha > _LARGE_ALPHA:  # its limit; the closed form loses its digits there
        return 0.5 - 0.5 / math.sqrt(math.pi * alpha)
    log_beta = 2 * math.lgamma(alpha) - math.lgamma(2 * alpha)
    return 0.5 - math.exp(-math.log(alpha) - alpha * math.log(4) - log_beta)


def check_classes(where: str, name: str, targets: ArrayLike, num_classes: int) -> Array:
    """Return class indices of any shape as int64, all of them in [0, K)."""
    array = check_array(where, name, targets)
    if not array.size and not isinstance(targets, np.ndarray):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        first = f" (first value {array.flat[0]})" if array.size else ""
        raise TypeError(
            f"{where}: {name} has dtype {array.dtype}{first}; expected integer class indices. If "
            "the values are indices, use .astype(numpy.int64)"
        )
    bad = (array < 0) | (array >= num_classes)
    if bad.any():
        position = np.unravel_index(int(bad.argmax()), array.shape) if array.ndim else ()
        row = f" in row {', '.join(str(int(i)) for i in position)}" if position else ""
        raise IndexError(
            f"{where}: {name} is {array[position]}{row}; expected a class index in "
            f"[0, {num_classes})"
        )
    return array.astype(np.int64)


def check_prior(where: str, prior: ArrayLike, num_classes: int) -> Array:
    """Return a prior as float64 (K,): no entry negative, the sum 1 within 1e-6."""
    array = check_array(where, "prior", prior).astype(np.float64)
    if array.shape != (num_classes,):
        raise ValueError(
            f"{where}: prior has shape {array.shape}; expected ({num_classes},), one probability "
            "for each class"
        )
    if not (array >= 0).all() or not abs(array.sum() - 1) <= 1e-6:
        raise ValueError(
            f"{where}: prior has a sum of {array.sum():.9g} and a minimum of {array.min():g}; "
            "expected probabilities, none negative, that add up to 1"
        )
    return array


def _require_others(where: str, num_classes: int, eps: float) -> None:
    if num_classes == 1 and eps != 0:
        raise ValueError(
            f"{where}: num_classes is 1; expected at least 2 for variant 'others': there is no "
            "wrong class to give label_smoothing to"
        )
