"""What the hardware can do, measured in the same run: the frame for every other number."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinysmooth.bench.timing import alternate
from tinysmooth.graph import Array
from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import ENABLED, jit
from tinysmooth.kernels.thread_count import get_num_threads
from tinysmooth.kernels.threads import run_parallel
from tinysmooth.kernels.vectors import LANES, WIDE, fma, splat, store

__all__ = ["limit_rows"]

MATRIX = 2048
STREAM = 1 << 24  # floats, 64 MiB: larger than the caches
REPEATS = 2_000_000
CHAINS = 10 if WIDE else 5  # independent sums of one or two registers: they hide the latency


def limit_rows() -> list[dict[str, Any]]:
    """Measure peak multiply-adds, BLAS and memory bandwidth.

    Returns
    -------
    list of dict
        name, value, unit (GFLOP/s or GB/s), threads.
    """
    threads = get_num_threads()
    rows = []
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((MATRIX, MATRIX), np.float32) for _ in range(2))
    source, target = memory.empty(STREAM), memory.empty(STREAM)
    source[:] = 1.0
    sides = {
        "sgemm": lambda: a @ b,
        "copy": lambda: run_parallel(_copy_parts, source, target, work=1e9),
    }
    if ENABLED:
        sums = memory.empty((threads, CHAINS * LANES))
        sides["fma"] = lambda: run_parallel(_multiply_add_parts, sums, REPEATS, work=1e9)
    times = alternate(sides, rounds=3)
    if ENABLED:
        operations = 2 * LANES * CHAINS * REPEATS * threads
        rows.append(_row("peak multiply-add", operations / times["fma"].median, "GFLOP/s", threads))
    rows.append(_row("NumPy matmul", 2 * MATRIX**3 / times["sgemm"].median, "GFLOP/s", None))
    moved = 2 * source.nbytes
    rows.append(_row("memory copy", moved / times["copy"].median, "GB/s", threads))
    return rows


def _row(name: str, per_second: float, unit: str, threads: int | None) -> dict[str, Any]:
    return {"name": name, "value": per_second / 1e9, "unit": unit, "threads": threads}


@jit
def _copy_parts(part: int, parts: int, source: Array, target: Array) -> None:
    here = slice(source.size * part // parts, source.size * (part + 1) // parts)
    values, copies = source[here], target[here]  # LLVM vectorises a loop that counts from 0
    for i in range(values.size):
        copies[i] = values[i]


@jit
def _multiply_add_parts(part: int, parts: int, sums: Array, repeats: int) -> None:
    """Keep chains of multiply-adds going in registers; every part does the whole work."""
    a, b = splat(np.float32(0.999)), splat(np.float32(0.001))
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = b
    for _ in range(repeats):
        s0, s1, s2 = fma(s0, a, b), fma(s1, a, b), fma(s2, a, b)
        s3, s4 = fma(s3, a, b), fma(s4, a, b)
        if WIDE:  # else ten sums of two registers each would not fit in sixteen
            s5, s6, s7 = fma(s5, a, b), fma(s6, a, b), fma(s7, a, b)
            s8, s9 = fma(s8, a, b), fma(s9, a, b)
    start = part * CHAINS * LANES
    total = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9
    store(sums, start, total)
