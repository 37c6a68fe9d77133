"""Cross-entropy with label smoothing, and its analytic gradient: the heart of the library.

In the notation of the paper (Szegedy et al., *Rethinking the Inception Architecture for Computer
Vision*, 2016, section 7), for logits z, true class y and K classes::

    q'_k = (1 - eps) [k = y] + eps / K                  the smoothed target
    loss = -sum_k q'_k log p_k,   p = softmax(z)
         = log sum exp z  -  (1 - eps) z_y  -  eps mean(z)
    dloss/dz_k = p_k - q'_k

The smoothed target appears in the formulas only: no array of it is ever built for integer targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinysmooth.graph import Array
from tinysmooth.losses import fused
from tinysmooth.primitive import is_grad_enabled
from tinysmooth.tensor import Tensor, nested_tensors

__all__ = ["cross_entropy", "cross_entropy_gradient"]

_SERIES = (list, tuple)


def cross_entropy(
    logits: Tensor | ArrayLike,
    targets: Tensor | ArrayLike,
    *,
    label_smoothing: float = 0.0,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    allow_negative: bool = False,
    check_probabilities: bool = True,
) -> Tensor:
    r"""Cross-entropy between softmax(logits) and smoothed targets, in nats.

    With the smoothed target :math:`q' = (1 - \varepsilon) q + \varepsilon / K` and class weights
    :math:`w` (1 if not given), a row costs :math:`-\sum_k w_k q'_k \log p_k`; for an integer
    target y that is :math:`(1-\varepsilon) w_y (-\log p_y) + (\varepsilon/K) \sum_k w_k (-\log
    p_k)`, as PyTorch defines it.

    Parameters
    ----------
    logits : Tensor or array, float32 or float64, (K,), (N, K) or (N, K, d1, ...)
        Scores before the softmax, classes on axis 1 (0 for (K,)); any memory order. Integers
        become float64; float16 is refused.
    targets : array of integers, () or (N,) or (N, d1, ...), or of floats of the shape of logits
        Class indices of any integer dtype, or class probabilities. Probabilities may be a Tensor
        that requires a gradient.
    label_smoothing : float in [0, 1]
        eps, the part of the target spread over all classes. 1 ignores the targets altogether.
    weight : array of float, (K,), optional
        Finite, none negative. Converted to the dtype of the logits.
    ignore_index : int
        Rows with this target count nowhere: loss 0, gradient exactly 0.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the summed weights of the true classes of the rows that count (without
        weights: by their number), for both terms; with probabilities by the number of rows,
        whatever the weights. "none" gives one loss a row.
    allow_negative : bool
        Accept eps < 0, which undoes symmetric label noise (`tinysmooth.backward_correction`); the
        loss is then unbounded below.
    check_probabilities : bool
        Refuse probabilities that are negative or do not add up to 1 within 1e-6 (and the rounding
        of their dtype).

    Returns
    -------
    Tensor
        Scalar, or for "none" of shape () or (N,) or (N, d1, ...); dtype of the logits. The mean of
        no rows, or of rows whose weights add up to 0, is NaN, as in PyTorch.

    Raises
    ------
    TypeError
        If logits are not float32, float64 or integers; if targets are booleans, or floats of
        another shape than the logits, or integers of the shape of the logits.
    ValueError
        If shapes do not fit, there are no classes, eps is NaN or out of range, probabilities are no
        distribution, weights are negative or not finite, ``ignore_index`` is not negative with
        probabilities, or ``reduction`` is unknown.
    IndexError
        If a target is neither in [0, K) nor ``ignore_index``; the message names row and value.

    Notes
    -----
    *Accuracy.* With the winner's 1 left out of the sum of exponentials, the loss is
    ``log1p(rest) + (1 - eps) (max - z_y) + eps (max - mean)``: no term is negative, nothing
    cancels. A confident right answer keeps its full relative accuracy, and its gradient is not
    rounded to zero. At a gap of 17 between two float32 logits the loss is 4.1399e-08 here;
    PyTorch's is exactly 0 from a gap of 16.64 on, and so is its gradient at y. Sums are in float64.

    *The smallest loss* for eps > 0 is not 0 but the entropy of q' (`tinysmooth.loss_floor`).

    *Where PyTorch differs*, each on purpose:

    ====================================  ========================  ==========================
    input                                 torch 2.13                here
    ====================================  ========================  ==========================
    eps < 0 or NaN                        treated as 0              ValueError
    probabilities negative, sum not 1     accepted                  ValueError (can be allowed)
    class weights negative or NaN         accepted                  ValueError
    target 0 times logit -inf             NaN                       0: the class has no part
    weight 0 times logit -inf             NaN                       0, likewise
    NaN in the logits of an ignored row   its gradient is NaN       its gradient is 0
    int8, int16, int32 targets            RuntimeError              accepted
    integer logits                        NotImplementedError       computed in float64
    float32 logits, float64 weights       RuntimeError              dtype of the logits
    no classes (K = 0)                    IndexError                ValueError
    ====================================  ========================  ==========================

    A logit of -inf on a wrong class is a mask: fine for eps = 0, and +inf for eps > 0, because
    smoothing asks the masked class for probability.

    *With weights*, the optimum is not q' but w q' / sum(w q'): a class whose weight is more than
    (K (1 - eps) + eps) / eps times the others' becomes the prediction everywhere.

    Sources: Szegedy et al. 2016, section 7; ``torch.nn.functional.cross_entropy``.

    Examples
    --------
    >>> logits = Tensor([[2.0, 1.0, 0.0, -1.0, 0.5]], requires_grad=True)
    >>> loss = cross_entropy(logits, [0], label_smoothing=0.1)
    >>> print(round(loss.item(), 12))
    0.724437939628
    >>> loss.backward()
    >>> print(logits.grad.round(4))
    [[-0.357   0.1871  0.0562  0.008   0.1056]]
    """
    if isinstance(logits, _SERIES) or isinstance(targets, _SERIES) or isinstance(weight, _SERIES):
        _refuse_tensors(logits=logits, targets=targets, weight=weight)
    wanted = isinstance(logits, Tensor) and logits.requires_grad and is_grad_enabled()
    if isinstance(targets, Tensor) and targets.requires_grad and isinstance(logits, np.ndarray):
        logits = logits.copy()  # the gradient of the targets needs them as they are now
    options = fused.Options(
        label_smoothing,
        _constant("cross_entropy", weight),
        ignore_index,
        reduction,
        allow_negative,
        check_probabilities,
    )
    return fused.cross_entropy(logits, targets, options, wanted)


def cross_entropy_gradient(
    logits: Tensor | ArrayLike,
    targets: Tensor | ArrayLike,
    *,
    label_smoothing: float = 0.0,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    allow_negative: bool = False,
    check_probabilities: bool = True,
) -> Array:
    """Gradient of `cross_entropy` with respect to the logits, without a graph.

    A row is ``p - q'``, divided by what the mean divides by; with class weights it is
    ``s p - w q'`` with ``s = sum_k w_k q'_k``. A row adds up to 0; without weights, and with
    distributions as targets, its entries are in [-1, 1] and their absolute values add up to at most
    2 (a negative ``label_smoothing`` makes targets above 1). The entry at the true class is
    computed as the negative sum of the others, which keeps it from being rounded to 0.

    Parameters
    ----------
    logits, targets, label_smoothing, weight, ignore_index, reduction
        As in `cross_entropy`. For "none", each row is the gradient of its own loss: the same
        array as for "sum".
    allow_negative, check_probabilities
        As in `cross_entropy`.

    Returns
    -------
    ndarray
        Shape and dtype of the logits (float64 for integers). NaN where the mean is NaN because the
        weights add up to 0; exactly 0 in ignored rows.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `cross_entropy`.

    Examples
    --------
    >>> cross_entropy_gradient([[2.0, 1.0, 0.0, -1.0, 0.5]], [0], label_smoothing=0.1).round(4)
    array([[-0.357 ,  0.1871,  0.0562,  0.008 ,  0.1056]])
    """
    where = "cross_entropy_gradient"
    options = fused.Options(
        label_smoothing,
        _constant(where, weight),
        ignore_index,
        reduction,
        allow_negative,
        check_probabilities,
    )
    done = fused.evaluate(where, _plain(logits), _plain(targets), options, True)
    assert done.gradient is not None
    return np.asarray(done.gradient)


def _plain(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _refuse_tensors(**arguments: Any) -> None:
    """Refuse Tensors in lists, whose gradients would be lost."""
    for name, value in arguments.items():
        if isinstance(value, _SERIES) and any(t.requires_grad for t in nested_tensors(value)):
            raise TypeError(
                f"cross_entropy: {name} is a {type(value).__name__} with Tensors that require a "
                "gradient; expected one Tensor. Join them with ts.stack"
            )


def _constant(where: str, weight: Any) -> Any:
    """Return class weights as an array; they have no gradient here, as in PyTorch."""
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise TypeError(
            f"{where}: weight requires a gradient; expected constants. Pass weight.detach()"
        )
    weight = _plain(weight)
    return weight.copy() if isinstance(weight, np.ndarray) else weight
