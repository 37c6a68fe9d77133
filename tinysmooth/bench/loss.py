"""Label-smoothed cross-entropy, forward and gradient, through the public API.

The shapes are those of a small classifier, of ImageNet's 1,000 classes at two batch sizes, and of a
language model's vocabulary. Both sides start from logits that require a gradient and end with the
gradient in ``.grad``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinysmooth import losses
from tinysmooth.bench.timing import alternate, check_equal
from tinysmooth.kernels.thread_count import get_num_threads
from tinysmooth.tensor import Tensor

__all__ = ["SHAPES", "loss_rows"]

SHAPES = ((64, 10), (256, 1000), (4096, 1000), (512, 50257))
LABEL_SMOOTHING = 0.1
TOLERANCE = 2e-6  # both sides are float32


def loss_rows(
    torch: Any = None,
    *,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    rounds: int = 5,
    block: float = 0.1,
) -> list[dict[str, Any]]:
    """Time ``cross_entropy(logits, targets, label_smoothing=0.1).backward()`` in float32.

    Before a shape is timed, loss and gradient of both sides must agree to 2e-6 (relative to the
    largest entry); without PyTorch, ours must agree with our own computation in float64.

    Parameters
    ----------
    torch : module, optional
        PyTorch, if it is installed; it is given as many threads as our kernels use.
    shapes : sequence of (N, K)
        Rows and classes.
    rounds, block
        As in `tinysmooth.bench.timing.alternate`.

    Returns
    -------
    list of dict
        name, shape, threads, ours_ms, ours_spread_ms, gradient_error and, with PyTorch, torch_ms,
        torch_spread_ms and ratio (ours / theirs: below 1 is faster). Times are medians, spreads
        the two quartiles.

    Raises
    ------
    AssertionError
        If the two sides disagree.
    """
    if torch is None:
        return [_row(None, shape, rounds, block) for shape in shapes]
    before = torch.get_num_threads()
    torch.set_num_threads(get_num_threads())
    try:
        return [_row(torch, shape, rounds, block) for shape in shapes]
    finally:
        torch.set_num_threads(before)


def _row(torch: Any, shape: tuple[int, int], rounds: int, block: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal(shape, dtype=np.float32)
    targets = rng.integers(0, shape[1], shape[0])
    logits = Tensor(numbers, requires_grad=True)

    def ours() -> Tensor:
        logits.zero_grad()
        loss = losses.cross_entropy(logits, targets, label_smoothing=LABEL_SMOOTHING)
        loss.backward()
        return loss

    what = f"cross_entropy at {shape[0]} x {shape[1]}"
    row: dict[str, Any] = {
        "name": "cross-entropy, forward and backward",
        "shape": f"{shape[0]} x {shape[1]}",
        "threads": get_num_threads(),
    }
    sides = {"ours": ours}
    if torch is None:
        # The whole in float64 is an independent way through the same formulas.
        exact = numbers.astype(np.float64)
        value = losses.cross_entropy(exact, targets, label_smoothing=LABEL_SMOOTHING).data
        gradient = losses.cross_entropy_gradient(exact, targets, label_smoothing=LABEL_SMOOTHING)
    else:
        theirs = _torch_side(torch, numbers, targets)
        value, gradient = theirs()
        sides["torch"] = theirs
    check_equal(f"{what}, loss", ours().data, value, TOLERANCE)
    assert logits.grad is not None
    row["gradient_error"] = check_equal(f"{what}, gradient", logits.grad, gradient, TOLERANCE)
    for name, timing in alternate(sides, rounds=rounds, block=block).items():
        row[f"{name}_ms"] = timing.median * 1e3
        row[f"{name}_spread_ms"] = (timing.lower * 1e3, timing.upper * 1e3)
    if torch is not None:
        row["ratio"] = row["ours_ms"] / row["torch_ms"]
    return row


def _torch_side(torch: Any, numbers: Any, targets: Any) -> Any:
    logits = torch.tensor(numbers, requires_grad=True)
    classes = torch.tensor(targets)
    cross_entropy = torch.nn.functional.cross_entropy

    def theirs() -> tuple[Any, Any]:
        logits.grad = None
        loss = cross_entropy(logits, classes, label_smoothing=LABEL_SMOOTHING)
        loss.backward()
        return loss.detach().numpy(), logits.grad.numpy()

    return theirs
