"""Convolutions, forward and both gradients, kernel against PyTorch.

Ours is the kernel that ``ts.conv2d`` calls, with its memory from the pool. PyTorch runs the same
arrays in both memory formats; for a convolution it spends the same time under autograd as in these
direct calls. The ratio is taken to the quicker format.

The table holds every layer of ``resnet9`` at batch 64, and then what a library must not be slow at:
1x1, 5x5, 7x7 and strided filters, three input channels, sizes and channels that fit nothing, and
small batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinysmooth import kernels
from tinysmooth.bench.timing import alternate, check_equal
from tinysmooth.graph import Array
from tinysmooth.kernels import memory
from tinysmooth.kernels.thread_count import get_num_threads

__all__ = ["DIRECTIONS", "SHAPES", "Convolution", "convolution_rows"]

DIRECTIONS = ("forward", "backward data", "backward weight")

# What the kernels promise against float64, and as much again for PyTorch's own rounding.
TOLERANCES = {"forward": 4e-5, "backward data": 4e-5, "backward weight": 2e-4}

WARM_UP = 0.02  # seconds; the table has 81 lines with three sides each

Side = Callable[[], Array]


@dataclass(frozen=True)
class Convolution:
    """One line of the table: square images and filters."""

    batch: int
    channels: int
    filters: int
    size: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    def __str__(self) -> str:
        """Return it as people write it."""
        step = f" stride {self.stride}" if self.stride > 1 else ""
        return (
            f"{self.batch} x {self.channels}->{self.filters} @ {self.size}, "
            f"{self.kernel}x{self.kernel}{step} padding {self.padding}"
        )


SHAPES = (
    Convolution(64, 3, 32, 64),
    Convolution(64, 32, 64, 64),
    Convolution(64, 64, 64, 32),
    Convolution(64, 64, 128, 32),
    Convolution(64, 128, 128, 16),
    Convolution(64, 128, 256, 16),
    Convolution(64, 256, 256, 8),
    Convolution(64, 64, 64, 32, kernel=1, padding=0),
    Convolution(64, 256, 64, 16, kernel=1, padding=0),
    Convolution(64, 64, 256, 16, kernel=1, padding=0),
    Convolution(64, 128, 256, 16, kernel=1, stride=2, padding=0),
    Convolution(32, 32, 64, 32, kernel=5, padding=2),
    Convolution(32, 16, 32, 28, kernel=5, padding=0),
    Convolution(32, 32, 32, 15, kernel=7, padding=3),
    Convolution(32, 3, 64, 64, kernel=7, stride=2, padding=3),
    Convolution(32, 64, 128, 32, stride=2),
    Convolution(32, 128, 256, 16, stride=2),
    Convolution(32, 3, 16, 33, kernel=5, stride=2, padding=2),
    Convolution(64, 1, 8, 28, kernel=5, padding=0),
    Convolution(64, 8, 16, 28),
    Convolution(32, 16, 16, 32),
    Convolution(16, 48, 70, 27),
    Convolution(32, 17, 33, 19, padding=0),
    Convolution(8, 512, 512, 4),
    Convolution(1, 64, 64, 32),
    Convolution(1, 256, 256, 8),
    Convolution(1, 3, 32, 64),
)


def convolution_rows(
    torch: Any = None,
    *,
    shapes: Sequence[Convolution] = SHAPES,
    directions: Sequence[str] = DIRECTIONS,
    rounds: int = 3,
    block: float = 0.02,
) -> list[dict[str, Any]]:
    """Check each convolution against PyTorch or the reference, then time it.

    Parameters
    ----------
    torch : module, optional
        PyTorch, if it is installed; it is given as many threads as our kernels use.
    shapes : sequence of Convolution
        What to time.
    directions : sequence of {"forward", "backward data", "backward weight"}
        Which of the three.
    rounds, block
        As in `tinysmooth.bench.timing.alternate`.

    Returns
    -------
    list of dict
        name, direction, the fields of `Convolution`, threads, error (largest difference relative
        to the largest number), ours_ms, ours_spread_ms, gflop_per_s (products and sums of the
        definition, so fewer multiplications count as speed), reference_ms and, with PyTorch,
        torch_ms, torch_variant (the quicker format), torch_spread_ms and ratio (ours / theirs:
        below 1 is faster). Times are medians, spreads the two quartiles.

    Raises
    ------
    AssertionError
        If the sides disagree.
    """
    before = None if torch is None else torch.get_num_threads()
    if torch is not None:
        torch.set_num_threads(get_num_threads())
    try:
        rows = []
        for shape in shapes:
            sides, flop = _sides(torch, shape)
            for direction in directions:
                rows.append(_row(shape, direction, sides[direction], flop, rounds, block))
        return rows
    finally:
        if torch is not None:
            torch.set_num_threads(before)


def _row(
    shape: Convolution,
    direction: str,
    sides: dict[str, Side],
    flop: int,
    rounds: int,
    block: float,
) -> dict[str, Any]:
    ours = sides["ours"]()
    error = 0.0
    for other in sides.keys() - {"ours"}:
        what = f"{direction} of {shape}, ours and {other}"
        error = max(error, check_equal(what, ours, sides[other](), TOLERANCES[direction]))
    # The reference only has to be slower: one short turn tells, and it may take seconds a call.
    compared = {name: side for name, side in sides.items() if name != "reference"}
    times = alternate(compared, rounds=rounds, block=block, warm_up=WARM_UP)
    alone = {"reference": sides["reference"]}
    reference = alternate(alone, rounds=1, block=0.0, warm_up=0.0)["reference"]
    mine = times.pop("ours")
    row: dict[str, Any] = {
        "name": str(shape),
        "direction": direction,
        **asdict(shape),
        "threads": get_num_threads(),
        "error": error,
        "ours_ms": mine.median * 1e3,
        "ours_spread_ms": (mine.lower * 1e3, mine.upper * 1e3),
        "reference_ms": reference.median * 1e3,
        "gflop_per_s": flop / mine.median / 1e9,
    }
    if times:
        best = min(times, key=lambda side: times[side].median)
        row["torch_variant"] = best.removeprefix("torch ")
        row["torch_ms"] = times[best].median * 1e3
        row["torch_spread_ms"] = (times[best].lower * 1e3, times[best].upper * 1e3)
        row["ratio"] = mine.median / times[best].median
    return row


def _sides(torch: Any, shape: Convolution) -> tuple[dict[str, dict[str, Side]], int]:
    """Return, for each direction, what to run, and the operations of one direction."""
    rng = np.random.default_rng(0)
    stride, padding = (shape.stride,) * 2, (shape.padding,) * 2
    x = _pooled(rng, (shape.batch, shape.size, shape.size, shape.channels))
    weight = rng.standard_normal(
        (shape.filters, shape.channels, shape.kernel, shape.kernel), np.float32
    )
    grad = _pooled(rng, kernels.conv2d_forward(x, weight, stride, padding).shape)

    def with_kernels(name: str) -> dict[str, Side]:
        def run(function: Callable[..., Array], *arguments: Any) -> Side:
            def call() -> Array:
                with kernels.use_kernels(name):
                    return function(*arguments, stride, padding)

            return call

        return {
            "forward": run(kernels.conv2d_forward, x, weight),
            "backward data": run(kernels.conv2d_backward_data, grad, weight, x.shape),
            "backward weight": run(kernels.conv2d_backward_weight, x, grad, weight.shape),
        }

    by_side = {"ours": with_kernels("compiled"), "reference": with_kernels("reference")}
    if torch is not None:
        for variant in ("channels_last", "contiguous_format"):
            sides = _torch_sides(torch, variant, x, weight, grad, shape)
            by_side[f"torch {variant}"] = sides
    flop = 2 * grad.size * shape.channels * shape.kernel**2
    return {
        direction: {name: sides[direction] for name, sides in by_side.items()}
        for direction in DIRECTIONS
    }, flop


def _torch_sides(
    torch: Any, variant: str, x: Array, weight: Array, grad: Array, shape: Convolution
) -> dict[str, Side]:
    layout = getattr(torch, variant)
    image, slope = (
        torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        for array in (x, grad)
    )
    filters = torch.from_numpy(weight).contiguous(memory_format=layout)
    stride, padding = [shape.stride] * 2, [shape.padding] * 2

    def forward() -> Array:
        out = torch.nn.functional.conv2d(image, filters, None, stride, padding)
        return np.asarray(out.permute(0, 2, 3, 1).numpy())

    def backward(which: int) -> Side:
        wanted = [which == 0, which == 1, False]
        numbers = (stride, padding, [1, 1], False, [0, 0], 1, wanted)

        def call() -> Array:
            found = torch.ops.aten.convolution_backward(slope, image, filters, None, *numbers)
            out = found[which].permute(0, 2, 3, 1) if which == 0 else found[which]
            return np.asarray(out.numpy())

        return call

    return {"forward": forward, "backward data": backward(0), "backward weight": backward(1)}


def _pooled(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return random numbers at an aligned address, as the library's own arrays have it."""
    out = memory.empty(shape, np.float32)
    out[...] = rng.standard_normal(shape, np.float32)
    return out
