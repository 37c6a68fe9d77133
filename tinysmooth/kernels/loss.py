"""Label-smoothed cross-entropy and its gradient in one sweep, compiled.

The formulas are those of `tinysmooth.kernels.reference.loss`, which is the version to read first.
A row goes through the cache three times: its maximum, its exps (written where the gradient will
be) and, while they are still in the nearest cache, the gradient from the exps. Sums over a row are
kept in float32 for a block of numbers and then added up in float64; what happens once a row
(the logarithm, the loss, the entry at the true class) is in float64 anyway.

float32 rows use the vector exp of `tinysmooth.kernels.exponential`; float64 rows the C library's,
so that float64 never goes through an approximation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.loss_row import row_exps, scale_row
from tinysmooth.kernels.thread_count import plan_parts
from tinysmooth.kernels.threads import run_parallel

__all__ = [
    "cross_entropy_rows",
    "log_softmax_rows",
    "scan_targets",
    "soft_cross_entropy_rows",
    "softmax_rows",
]

Array = np.ndarray[Any, Any]

ROW_COST = 40.0
"""Nanoseconds a row costs beside its numbers; then those of one number, float32 and float64."""
NUMBER_COST = {np.dtype(np.float32): 0.5, np.dtype(np.float64): 8.0}

NO_WEIGHT = {np.dtype(kind): np.empty(0, kind) for kind in (np.float32, np.float64)}

# ---- The kernels ---------------------------------------------------------------------------------


@jit(wrapper=True)
def _scan(targets: Any, num_classes: Any, ignore_index: Any, weight: Any) -> Any:
    divisor = 0.0
    for row in range(targets.size):
        y = targets[row]
        if y == ignore_index:
            continue
        if y < 0 or y >= num_classes:
            return row, 0.0
        divisor += np.float64(weight[y]) if weight.size else 1.0
    return -1, divisor


@jit(wrapper=True)
def _rows(
    part: Any,
    parts: Any,
    logits: Any,
    targets: Any,
    weight: Any,
    total: Any,
    label_smoothing: Any,
    ignore_index: Any,
    scale: Any,
    want_gradient: Any,
    losses: Any,
    gradient: Any,
) -> None:
    """Integer targets. Without `want_gradient`, `gradient` is one line of scratch for each part."""
    count, size = logits.shape
    share = label_smoothing / size
    for row in range(count * part // parts, count * (part + 1) // parts):
        line = row if want_gradient else part
        y = targets[row]
        if y == ignore_index:
            losses[row] = 0.0
            if want_gradient:
                for k in range(size):
                    gradient[line, k] = 0.0
            continue
        top, rest, distance = row_exps(logits, row, gradient, line)
        hard, mass = 1.0, 1.0
        if weight.size:
            hard = np.float64(weight[y])
            mass = (1.0 - label_smoothing) * hard + share * total
        loss = mass * math.log1p(rest)
        kept = (1.0 - label_smoothing) * hard
        if kept != 0.0:
            loss -= kept * (np.float64(logits[row, y]) - top)
        if label_smoothing != 0.0:
            if weight.size:
                distance = 0.0
                for k in range(size):
                    if weight[k] != 0.0:
                        distance += np.float64(weight[k]) * (np.float64(logits[row, k]) - top)
            loss -= share * distance
        losses[row] = loss
        if want_gradient:
            others = (rest + (1.0 - np.float64(gradient[line, y]))) / (1.0 + rest)
            factor = scale * mass / (1.0 + rest)
            if weight.size:
                offset = gradient.dtype.type(scale * share)
                narrow = gradient.dtype.type(factor)
                for k in range(size):
                    gradient[line, k] = gradient[line, k] * narrow - offset * weight[k]
            else:
                scale_row(gradient, line, factor, -scale * share)
            gradient[line, y] = scale * (share * (total - hard) - mass * others)


@jit
def _soft_rows(
    part: Any,
    parts: Any,
    logits: Any,
    probs: Any,
    weight: Any,
    label_smoothing: Any,
    scale: Any,
    want_gradient: Any,
    losses: Any,
    gradient: Any,
) -> None:
    """Targets that are distributions."""
    count, size = logits.shape
    share = label_smoothing / size
    for row in range(count * part // parts, count * (part + 1) // parts):
        line = row if want_gradient else part
        top, rest, _ = row_exps(logits, row, gradient, line)
        mass, distance, losers_mass, winner = 0.0, 0.0, 0.0, 0
        for k in range(size):
            target = (1.0 - label_smoothing) * np.float64(probs[row, k]) + share
            if weight.size:
                target *= np.float64(weight[k])
            mass += target
            if target != 0.0:
                distance += target * (np.float64(logits[row, k]) - top)
            if logits[row, k] > logits[row, winner]:
                winner = k
        losses[row] = mass * math.log1p(rest) - distance if mass != 0.0 else -distance
        if want_gradient:
            factor = mass / (1.0 + rest)
            for k in range(size):
                target = (1.0 - label_smoothing) * np.float64(probs[row, k]) + share
                if weight.size:
                    target *= np.float64(weight[k])
                if k != winner:
                    losers_mass += target
                gradient[line, k] = scale * (factor * np.float64(gradient[line, k]) - target)
            gradient[line, winner] = scale * (losers_mass - mass * (rest / (1.0 + rest)))


@jit
def _log_softmax(part: Any, parts: Any, logits: Any, out: Any) -> None:
    count, size = logits.shape
    for row in range(count * part // parts, count * (part + 1) // parts):
        top, rest, _ = row_exps(logits, row, out, row)
        log_norm = math.log1p(rest)
        for k in range(size):
            out[row, k] = (np.float64(logits[row, k]) - top) - log_norm


@jit
def _softmax(part: Any, parts: Any, logits: Any, out: Any) -> None:
    count = len(logits)
    for row in range(count * part // parts, count * (part + 1) // parts):
        _, rest, _ = row_exps(logits, row, out, row)
        scale_row(out, row, 1.0 / (1.0 + rest), 0.0)


# ---- What the library calls ----------------------------------------------------------------------

SMALL = 16_384
"""Numbers below which an output is not worth the pool's bookkeeping."""


def _output(rows: int, columns: int, kind: np.dtype[Any]) -> Array:
    if rows * columns < SMALL:
        return np.empty((rows, columns), kind)
    return memory.empty((rows, columns), kind)


def _all_writeable(*arrays: Array) -> bool:
    """Tell whether Numba's own call will do, the quicker one for a small batch.

    For Numba a read-only array has a type of its own; the kernel would be compiled once more.
    """
    for array in arrays:  # all() takes twice as long for the few that there are
        if not array.flags.writeable:
            return False
    return True


def scan_targets(
    targets: Array, num_classes: int, ignore_index: int, weight: Array | None
) -> tuple[int, float]:
    """Return the first bad row (-1: none) and what a mean divides by; see the reference."""
    known = NO_WEIGHT[np.dtype(np.float32)] if weight is None else weight
    scan = _scan.wrapped if _all_writeable(targets, known) else _scan
    bad_row, divisor = scan(targets, num_classes, ignore_index, known)
    return bad_row, divisor


def cross_entropy_rows(
    logits: Array,
    targets: Array,
    weight: Array | None,
    label_smoothing: float,
    ignore_index: int,
    scale: float,
    want_gradient: bool,
) -> tuple[Array, Array | None]:
    """Return the float64 losses of the rows and the gradient; see the reference."""
    count, size = logits.shape
    kind = logits.dtype
    parts = plan_parts(count * (ROW_COST + size * NUMBER_COST[kind]), count)
    losses = np.empty(count)
    gradient = _output(count if want_gradient else parts, size, kind)
    total = float(size) if weight is None else float(weight.sum(dtype=np.float64))
    known = NO_WEIGHT[kind] if weight is None else weight
    options = (total, label_smoothing, ignore_index, scale, want_gradient)
    arguments = (logits, targets, known, *options, losses, gradient)
    if parts == 1 and _all_writeable(logits, targets, known):
        _rows.wrapped(0, 1, *arguments)
    else:
        run_parallel(_rows, *arguments, parts=parts)
    return losses, gradient if want_gradient else None


def soft_cross_entropy_rows(
    logits: Array,
    probs: Array,
    weight: Array | None,
    label_smoothing: float,
    scale: float,
    want_gradient: bool,
) -> tuple[Array, Array | None]:
    """Return the float64 losses of the rows and the gradient; see the reference."""
    count, size = logits.shape
    kind = logits.dtype
    parts = plan_parts(count * (ROW_COST + size * (2 + NUMBER_COST[kind])), count)
    losses = np.empty(count)
    gradient = _output(count if want_gradient else parts, size, kind)
    known = NO_WEIGHT[kind] if weight is None else weight
    run_parallel(
        _soft_rows,
        logits,
        probs,
        known,
        label_smoothing,
        scale,
        want_gradient,
        losses,
        gradient,
        parts=parts,
    )
    return losses, gradient if want_gradient else None


def log_softmax_rows(logits: Array) -> Array:
    """Return log(softmax) of every row; see the reference."""
    out = _output(len(logits), logits.shape[1], logits.dtype)
    work = len(logits) * (ROW_COST + logits.shape[1] * NUMBER_COST[logits.dtype])
    run_parallel(_log_softmax, logits, out, work=work)
    return out


def softmax_rows(logits: Array) -> Array:
    """Return the softmax of every row; see the reference."""
    out = _output(len(logits), logits.shape[1], logits.dtype)
    work = len(logits) * (ROW_COST + logits.shape[1] * NUMBER_COST[logits.dtype])
    run_parallel(_softmax, logits, out, work=work)
    return out
