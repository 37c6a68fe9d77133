"""Fused layers, pooling and optimisers, forward and backward, kernel against PyTorch.

Ours is the kernel that the public operation calls, from NHWC arrays to the gradients. PyTorch runs
the composition (it has no fused form of it) through its autograd, in both memory formats; for the
optimisers it may choose between its fused and its multi-tensor form. The ratio is taken to the
quicker of the two.

The shapes are those of ``resnet9`` at batch 64 and 64 x 64 pixels. Bandwidth counts each array once
for each sweep that has to touch it, so it can be compared with the memory copy of
`tinysmooth.bench.limits`; where all arrays fit into the last cache it may exceed that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinysmooth import kernels
from tinysmooth.bench.optimisers import OPTIMISERS, PARAMETERS, Sides, optimiser_sides, pooled
from tinysmooth.bench.timing import alternate, check_equal
from tinysmooth.graph import Array
from tinysmooth.kernels.thread_count import get_num_threads

__all__ = ["LAYERS", "OPTIMISERS", "Layer", "layer_rows"]

TOLERANCE = 1e-4  # both sides are float32; the sums run over up to 262,144 pixels
EPS = 1e-5
GRID = 256  # pixels are multiples of 1 / GRID, see _images_and_coefficients


@dataclass(frozen=True)
class Layer:
    """One line of the table: what is computed, on images (N, H, W, C)."""

    name: str
    shape: tuple[int, int, int, int]
    kind: str = "batch norm"
    relu: bool = True
    pool: bool = False
    residual: bool = False
    kernel_size: int = 2
    stride: int = 2
    padding: int = 0


LAYERS = (
    Layer("batch norm", (64, 32, 32, 64), relu=False),
    Layer("batch norm + ReLU", (64, 64, 64, 32)),
    Layer("batch norm + ReLU", (64, 32, 32, 64)),
    Layer("batch norm + ReLU", (64, 8, 8, 256)),
    Layer("batch norm + ReLU + residual", (64, 32, 32, 64), residual=True),
    Layer("batch norm + ReLU + max-pool", (64, 64, 64, 64), pool=True),
    Layer("batch norm + ReLU + max-pool", (64, 32, 32, 128), pool=True),
    Layer("batch norm + ReLU + max-pool", (64, 16, 16, 256), pool=True),
    Layer("max-pool 2x2", (64, 32, 32, 64), kind="max"),
    Layer("max-pool 3x3, stride 2", (64, 32, 32, 64), kind="max", kernel_size=3, padding=1),
    Layer("average pool 2x2", (64, 32, 32, 64), kind="avg"),
    Layer("global average pool", (64, 8, 8, 256), kind="global"),
)


def layer_rows(
    torch: Any = None,
    *,
    layers: Sequence[Layer] = LAYERS,
    optimisers: Sequence[str] = OPTIMISERS,
    parameters: int = PARAMETERS,
    rounds: int = 5,
    block: float = 0.1,
) -> list[dict[str, Any]]:
    """Check each layer and optimiser against PyTorch or the reference kernels, then time it.

    Parameters
    ----------
    torch : module, optional
        PyTorch, if it is installed; it is given as many threads as our kernels use.
    layers : sequence of Layer
        What to time, forward and backward together.
    optimisers : sequence of {"SGD", "AdamW"}
        Which optimisers to time (Nesterov momentum and weight decay, and weight decay).
    parameters : int
        Numbers that an optimiser updates.
    rounds, block
        As in `tinysmooth.bench.timing.alternate`.

    Returns
    -------
    list of dict
        name, shape, threads, error (largest difference relative to the largest number), ours_ms,
        ours_spread_ms, gb_per_s and, with PyTorch, torch_ms, torch_variant (the quicker one),
        torch_spread_ms and ratio (ours / theirs: below 1 is faster). Times are medians, spreads
        the two quartiles.

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
        for layer in layers:
            sides, moved = _layer_sides(torch, layer)
            shape = " x ".join(map(str, layer.shape))
            rows.append(_row(layer.name, shape, sides, moved, rounds, block))
        for name in optimisers:
            sides, moved = optimiser_sides(torch, name, parameters)
            rows.append(_row(f"{name} step", f"{parameters}", sides, moved, rounds, block))
        return rows
    finally:
        if torch is not None:
            torch.set_num_threads(before)


def _row(
    name: str, shape: str, sides: Sides, moved: int, rounds: int, block: float
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "shape": shape, "threads": get_num_threads(), "error": 0.0}
    ours = [array.copy() for array in sides["ours"]()]
    for other in sides.keys() - {"ours"}:
        for mine, theirs in zip(ours, sides[other](), strict=True):
            what = f"{name} at {shape}, ours and {other}"
            error = check_equal(what, mine, theirs, TOLERANCE)
            row["error"] = max(row["error"], error)
    del sides["reference"]
    times = alternate(sides, rounds=rounds, block=block)
    timing = times.pop("ours")
    row["ours_ms"] = timing.median * 1e3
    row["ours_spread_ms"] = (timing.lower * 1e3, timing.upper * 1e3)
    row["gb_per_s"] = moved / timing.median / 1e9
    if times:
        best = min(times, key=lambda side: times[side].median)
        row["torch_variant"] = best.removeprefix("torch ")
        row["torch_ms"] = times[best].median * 1e3
        row["torch_spread_ms"] = (times[best].lower * 1e3, times[best].upper * 1e3)
        row["ratio"] = timing.median / times[best].median
    return row


def _images_and_coefficients(
    shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return images, weight and bias for which rounding cannot decide where a gradient goes.

    A value that is zero but for rounding may fall on either side of ReLU's kink, and of two almost
    equal taps either may be the maximum. With pixels on a grid and the kink in the middle between
    two of its points, taps are equal or clearly different, and no value is near the kink.
    """
    x = pooled(np.round(rng.standard_normal(shape, np.float32) * GRID) / GRID)
    pixels, channels = (0, 1, 2), shape[3]
    mean, std = x.mean(pixels, np.float64), x.std(pixels, np.float64)
    weight = rng.uniform(0.5, 1.5, channels).astype(np.float32)
    kink = (rng.integers(-GRID // 2, GRID // 2, channels) + 0.5) / GRID
    bias = weight * (mean - kink) / np.sqrt(std**2 + EPS)
    return x, weight, bias.astype(np.float32)


def _layer_sides(torch: Any, layer: Layer) -> tuple[Sides, int]:
    """Return what to run and the bytes that ours has to move."""
    rng = np.random.default_rng(0)
    x, weight, bias = _images_and_coefficients(layer.shape, rng)
    window = ((layer.kernel_size,) * 2, (layer.stride,) * 2, (layer.padding,) * 2)
    residual = pooled(rng.standard_normal(layer.shape, np.float32)) if layer.residual else None

    def batch_norm(grad: Array | None) -> list[Array]:
        mean, var = kernels.batch_norm_statistics(x)
        inv_std = 1 / np.sqrt(var + EPS)
        scale = weight * inv_std
        flags = (layer.relu, layer.pool)
        out = kernels.batch_norm_apply(x, scale, bias - mean * scale, *flags, residual)
        if grad is None:
            return [out]
        numbers = (scale, bias - mean * scale, mean, inv_std, weight)
        result = out if layer.pool and residual is None else None
        return [out, *kernels.batch_norm_backward(grad, x, *numbers, *flags, True, result)]

    def max_pool(grad: Array | None) -> list[Array]:
        out, argmax = kernels.max_pool2d_forward(x, *window)
        if grad is None:
            return [out]
        return [out, kernels.max_pool2d_backward(grad, argmax, x.shape, *window)]

    def avg_pool(grad: Array | None) -> list[Array]:
        out = kernels.avg_pool2d_forward(x, *window)
        if grad is None:
            return [out]
        return [out, kernels.avg_pool2d_backward(grad, x.shape, *window)]

    def global_pool(grad: Array | None) -> list[Array]:
        out = kernels.global_avg_pool_forward(x)
        return [out] if grad is None else [out, kernels.global_avg_pool_backward(grad, x.shape)]

    run = {"batch norm": batch_norm, "max": max_pool, "avg": avg_pool, "global": global_pool}
    ours = run[layer.kind]
    (out,) = ours(None)
    grad = pooled(rng.standard_normal(out.shape, np.float32))

    def reference() -> list[Array]:
        with kernels.use_kernels("reference"):
            return ours(grad)

    sides: Sides = {"ours": lambda: ours(grad), "reference": reference}
    if torch is not None:
        for variant in ("channels_last", "contiguous_format"):
            arrays = (x, weight, bias, residual, grad)
            sides[f"torch {variant}"] = _torch_layer(torch, layer, variant, *arrays)
    added = 0 if residual is None else residual.nbytes
    if layer.kind == "batch norm":
        summed = out if layer.pool else x  # what is read with the gradient for the first sums
        return sides, 4 * x.nbytes + summed.nbytes + 3 * grad.nbytes + added
    taps = out.size if layer.kind == "max" else 0  # one byte each, written and read
    return sides, 2 * x.nbytes + 2 * grad.nbytes + 2 * taps


def _torch_layer(
    torch: Any,
    layer: Layer,
    variant: str,
    x: Array,
    weight: Array,
    bias: Array,
    residual: Array | None,
    grad: Array,
) -> Callable[[], list[Array]]:
    functional = torch.nn.functional

    def images(array: Array, **options: Any) -> Any:
        if array.ndim == 2:
            array = array[:, None, None, :]
        tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
        return tensor.contiguous(memory_format=getattr(torch, variant)).requires_grad_(**options)

    image, slope = images(x), images(grad, requires_grad=False)
    scale, shift = (torch.tensor(array, requires_grad=True) for array in (weight, bias))
    added = None if residual is None else images(residual, requires_grad=False)
    pool = (layer.kernel_size, layer.stride, layer.padding)

    def forward() -> Any:
        if layer.kind == "max":
            return functional.max_pool2d(image, *pool)
        if layer.kind == "avg":
            return functional.avg_pool2d(image, *pool)
        if layer.kind == "global":
            return functional.adaptive_avg_pool2d(image, 1)
        out = functional.batch_norm(image, None, None, scale, shift, True, 0.1, EPS)
        out = functional.relu(out) if layer.relu else out
        out = functional.max_pool2d(out, 2) if layer.pool else out
        return out if added is None else out + added

    def theirs() -> list[Array]:
        image.grad = scale.grad = shift.grad = None
        out = forward()
        out.backward(slope)
        found = [out.detach().permute(0, 2, 3, 1).numpy(), image.grad.permute(0, 2, 3, 1).numpy()]
        if layer.kind == "global":
            found[0] = found[0].reshape(grad.shape)
        if layer.kind == "batch norm":
            found += [scale.grad.numpy(), shift.grad.numpy()]
        return found

    return theirs
