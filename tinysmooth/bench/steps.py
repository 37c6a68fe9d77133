"""The whole training step: forward, loss, backward, update, through the public API.

PyTorch is given its best chance: NCHW and channels_last memory, its fused optimiser, and (when
asked) ``torch.compile``; the ratio is taken against the fastest of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinysmooth import losses, models, nn, optim
from tinysmooth.bench.timing import alternate
from tinysmooth.graph import Array
from tinysmooth.kernels.thread_count import get_num_threads, use_threads

__all__ = ["loss_curves", "scaling_rows", "step_rows", "time_step", "torch_twin"]

LABEL_SMOOTHING = 0.1
SGD = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
CURVE_STEPS = 16
CURVE_TOLERANCE = 1e-3

Step = Callable[[], float]
Make = Callable[..., nn.Module]
Shape = tuple[int, int, int, int]


def step_rows(
    torch: Any = None, *, batch_size: int = 64, size: int = 64, compile: bool = False
) -> list[dict[str, Any]]:
    """Time a training step of both models.

    Before timing, sixteen steps of both sides from the same weights must give the same losses to
    1e-3 (relative).

    Parameters
    ----------
    torch : module, optional
        PyTorch, if it is installed.
    batch_size, size : int
        Images a step and their side in pixels.
    compile : bool
        Whether to time ``torch.compile`` too (it takes a minute to compile).

    Returns
    -------
    list of dict
        name, shape, ours_ms, torch_ms, ratio, torch_variants, images_per_second, loss_error.
    """
    return [
        time_step(
            torch,
            f"{name} step",
            functools.partial(make, 10),
            (batch_size, 3, size, size),
            curve=(16, 3, 32, 32),
            compile=compile,
        )
        for name, make in models.MODELS.items()
    ]


def time_step(
    torch: Any,
    name: str,
    make: Make,
    shape: Shape,
    *,
    curve: Shape | None = None,
    compile: bool = False,
) -> dict[str, Any]:
    """Time a training step of one network, after a check of its losses, beside PyTorch's.

    Parameters
    ----------
    torch : module or None
    name : str
        Of the row.
    make : callable
        From ``rng=`` to the network, equal ones from equal generators.
    shape : tuple of int
        Of the images (N, C, H, W).
    curve : tuple of int, optional
        Of the images for the losses; ``shape`` if left out.
    compile : bool
        As in `step_rows`.

    Returns
    -------
    dict
        A row of `step_rows`.

    Raises
    ------
    AssertionError
        If the loss curves of both sides differ by more than 1e-3.
    """
    batch = _batch(shape)
    row: dict[str, Any] = {"name": name, "shape": " x ".join(map(str, shape))}
    sides: dict[str, Step] = {"ours": _our_step(make, batch)}
    if torch is not None:
        row["loss_error"] = _curve_error(torch, name, make, _batch(curve or shape))
        sides.update(_torch_steps(torch, make, batch, compile))
    timings = alternate(sides, rounds=4, least_calls=3)
    row["ours_ms"] = timings["ours"].median * 1e3
    row["images_per_second"] = shape[0] / timings["ours"].median
    theirs = {k: t.median * 1e3 for k, t in timings.items() if k != "ours"}
    row["torch_variants"] = theirs
    row["torch_ms"] = min(theirs.values()) if theirs else None
    row["ratio"] = row["ours_ms"] / row["torch_ms"] if theirs else None
    return row


def scaling_rows(torch: Any = None) -> list[dict[str, Any]]:
    """Time a ``resnet9`` step at several batch sizes, image sizes and thread counts.

    Returns
    -------
    list of dict
        name, shape, threads, ours_ms, torch_ms (channels_last), ratio.
    """
    threads = get_num_threads()
    cases = [(n, 64, threads) for n in (1, 8, 64, 256)]
    cases += [(32, size, threads) for size in (32, 96, 128)]
    cases += [(64, 64, 1)] if threads > 1 else []
    rows = []
    for batch_size, size, count in cases:
        if torch is not None:
            torch.set_num_threads(count)
        batch = _batch((batch_size, 3, size, size))
        with use_threads(count):
            sides: dict[str, Step] = {"ours": _our_step(models.resnet9, batch)}
            if torch is not None:
                sides["torch"] = _torch_step(torch, models.resnet9, batch, channels_last=True)
            timings = alternate(sides, rounds=3)
        ours = timings["ours"].median * 1e3
        theirs = timings["torch"].median * 1e3 if torch is not None else None
        rows.append(
            {
                "name": "resnet9 step",
                "shape": f"{batch_size} x 3 x {size} x {size}",
                "threads": count,
                "ours_ms": ours,
                "torch_ms": theirs,
                "ratio": ours / theirs if theirs else None,
            }
        )
    if torch is not None:
        torch.set_num_threads(threads)
    return rows


def loss_curves(torch: Any, name: str, steps: int = CURVE_STEPS) -> tuple[list[float], list[float]]:
    """Train both sides from the same weights on the same batch; return both loss curves."""
    make = functools.partial(models.MODELS[name], 10)
    return _curves(torch, make, _batch((16, 3, 32, 32)), steps)


def torch_twin(torch: Any, module: nn.Module) -> Any:
    """Build the equal PyTorch module of one of ours, with the same weights.

    Parameters
    ----------
    torch : module
        PyTorch.
    module : Module
        Made of the layers in ``tinysmooth.nn``.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    TypeError
        If there is a layer that PyTorch has no twin for here.
    """
    twin = _build_twin(torch, module)
    state = {k: torch.from_numpy(v) for k, v in module.state_dict().items()}
    twin.load_state_dict(state)
    return twin


def _build_twin(torch: Any, module: nn.Module) -> Any:
    t = torch.nn
    match module:
        case nn.Sequential():
            return t.Sequential(*[_build_twin(torch, part) for part in module])
        case nn.Residual():
            return _residual_twin(torch, _build_twin(torch, module.module))
        case nn.Conv2d():
            return t.Conv2d(
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                module.stride,
                module.padding,
                bias=module.bias is not None,
            )
        case nn.Linear():
            return t.Linear(module.in_features, module.out_features, bias=module.bias is not None)
        case nn.BatchNorm2d():
            return t.BatchNorm2d(module.channels, module.eps, module.momentum)
        case nn.MaxPool2d():
            return t.MaxPool2d(module.kernel_size, module.stride, module.padding)
        case nn.AvgPool2d():
            return t.AvgPool2d(module.kernel_size, module.stride, module.padding)
        case nn.GlobalAvgPool2d():
            return t.AdaptiveAvgPool2d(1)
        case nn.ReLU():
            return t.ReLU()
        case nn.Flatten():
            return t.Flatten()
        case nn.Dropout():
            return t.Dropout(module.p)
    raise TypeError(f"torch_twin: no PyTorch twin for {type(module).__name__}")


def _residual_twin(torch: Any, branch: Any) -> Any:
    class Residual(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = branch

        def forward(self, x: Any) -> Any:
            return x + self.module(x)

    return Residual()


def _batch(shape: Shape) -> tuple[Array, Array]:
    """Make images with channels last in memory, as the loader gives them, and targets."""
    count, channels, height, width = shape
    rng = np.random.default_rng(0)
    images = rng.standard_normal((count, height, width, channels), np.float32)
    return images.transpose(0, 3, 1, 2), rng.integers(0, 10, count)


def _our_step(make: Make, batch: tuple[Array, Array]) -> Step:
    model = make(rng=np.random.default_rng(1))
    optimiser = optim.SGD(model.parameters(), **SGD)  # type: ignore[arg-type]
    return _our_loop(model, optimiser, batch)


def _our_loop(model: nn.Module, optimiser: optim.SGD, batch: tuple[Array, Array]) -> Step:
    images, targets = batch

    def step() -> float:
        optimiser.zero_grad()
        loss = losses.cross_entropy(model(images), targets, label_smoothing=LABEL_SMOOTHING)
        loss.backward()
        optimiser.step()
        return float(loss.item())

    return step


def _torch_steps(
    torch: Any, make: Make, batch: tuple[Array, Array], compile: bool
) -> dict[str, Step]:
    variants = {
        "NCHW": {"channels_last": False},
        "channels_last": {"channels_last": True},
        "channels_last, fused SGD": {"channels_last": True, "fused": True},
    }
    if compile:
        variants["compiled NCHW, fused SGD"] = {
            "channels_last": False,
            "fused": True,
            "compile": True,
        }
        variants["compiled channels_last, fused SGD"] = {
            "channels_last": True,
            "fused": True,
            "compile": True,
        }
    return {key: _torch_step(torch, make, batch, **options) for key, options in variants.items()}


def _torch_step(
    torch: Any,
    make: Make,
    batch: tuple[Array, Array],
    *,
    channels_last: bool,
    fused: bool = False,
    compile: bool = False,
) -> Step:
    model = torch_twin(torch, make(rng=np.random.default_rng(1)))
    order = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=order)
    optimiser = torch.optim.SGD(model.parameters(), **SGD, fused=fused)
    run = torch.compile(model) if compile else model
    return _torch_loop(torch, run, optimiser, batch, order)


def _torch_loop(
    torch: Any, model: Any, optimiser: Any, batch: tuple[Array, Array], order: Any
) -> Step:
    images = torch.from_numpy(np.ascontiguousarray(batch[0])).to(memory_format=order)
    targets = torch.from_numpy(batch[1])

    def step() -> float:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            model(images), targets, label_smoothing=LABEL_SMOOTHING
        )
        loss.backward()
        optimiser.step()
        return float(loss.item())

    return step


def _curves(
    torch: Any, make: Make, batch: tuple[Array, Array], steps: int
) -> tuple[list[float], list[float]]:
    model = make(rng=np.random.default_rng(1))
    twin = torch_twin(torch, model)
    ours = _our_loop(model, optim.SGD(model.parameters(), **SGD), batch)  # type: ignore[arg-type]
    optimiser = torch.optim.SGD(twin.parameters(), **SGD)
    theirs = _torch_loop(torch, twin, optimiser, batch, torch.contiguous_format)
    return [ours() for _ in range(steps)], [theirs() for _ in range(steps)]


def _curve_error(torch: Any, name: str, make: Make, batch: tuple[Array, Array]) -> float:
    ours, theirs = (np.array(curve) for curve in _curves(torch, make, batch, CURVE_STEPS))
    error = float((np.abs(ours - theirs) / np.abs(theirs)).max())
    if not error <= CURVE_TOLERANCE:
        raise AssertionError(
            f"{name}: the loss curves differ by {error:.2g}, more than {CURVE_TOLERANCE:.2g}"
        )
    return error
