"""The parts of the benchmark by name, run one after the other, with what they ran on."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinysmooth.bench import (
    convolution,
    layers,
    limits,
    loss,
    networks,
    processes,
    rivals,
    steps,
    training,
)
from tinysmooth.kernels.cache import cpu_description
from tinysmooth.kernels.thread_count import get_num_threads

__all__ = ["PARTS", "Wishes", "describe_machine", "find_torch", "format_rows", "run_parts"]

Rows = list[dict[str, Any]]


class Wishes(NamedTuple):
    """What parts may be asked for beside PyTorch.

    Attributes
    ----------
    compile : bool
        Time ``torch.compile`` too.
    preset, root : str or None
        Whose recipe the part training follows to its end, on images from where.
    """

    compile: bool = False
    preset: str | None = None
    root: str | None = None


NO_WISHES = Wishes()

PARTS: dict[str, tuple[str, Callable[[Any, Wishes], Rows]]] = {
    "limits": ("what the hardware can do", lambda torch, wishes: limits.limit_rows()),
    "convolution": (
        "each convolution, forward and both backwards",
        lambda torch, wishes: convolution.convolution_rows(torch),
    ),
    "layers": (
        "each fused layer, pooling and optimiser",
        lambda torch, wishes: layers.layer_rows(torch),
    ),
    "loss": ("the loss", lambda torch, wishes: loss.loss_rows(torch)),
    "steps": (
        "a whole training step",
        lambda torch, wishes: steps.step_rows(torch, compile=wishes.compile),
    ),
    "networks": (
        "a training step of other small networks",
        lambda torch, wishes: networks.network_rows(torch),
    ),
    "scaling": (
        "batch sizes, image sizes and threads",
        lambda torch, wishes: steps.scaling_rows(torch),
    ),
    "startup": ("start of a process", lambda torch, wishes: processes.startup_rows(torch)),
    "memory": ("peak of memory", lambda torch, wishes: processes.memory_rows(torch)),
    "training": (
        "a whole training, to the same accuracy and to the end",
        lambda torch, wishes: training.training_rows(torch, preset=wishes.preset, root=wishes.root),
    ),
    "rivals": (
        "the same small network in other libraries",
        lambda torch, wishes: rivals.rival_rows(torch),
    ),
}
"""By name: what a part measures and the function that does it: (torch or None, wishes) -> rows."""

COLUMNS = (
    ("name", "{}"),
    ("direction", "{}"),
    ("version", "{}"),
    ("shape", "{}"),
    ("threads", "{}"),
    ("value", "{:.1f}"),
    ("unit", "{}"),
    ("ms", "{:.1f}"),
    ("times_ours", "{:.1f}"),
    ("ours_ms", "{:.3g}"),
    ("torch_ms", "{:.3g}"),
    ("ours_s", "{:.2f}"),
    ("torch_s", "{:.2f}"),
    ("ours_mib", "{:.0f}"),
    ("torch_mib", "{:.0f}"),
    ("ratio", "{:.2f}"),
    ("ours_accuracy", "{:.1%}"),
    ("torch_accuracy", "{:.1%}"),
    ("gflop_per_s", "{:.0f}"),
    ("gb_per_s", "{:.1f}"),
    ("of_limit", "{:.0%}"),
)

RATED = frozenset({"convolution", "layers"})
"""Parts whose rows have a rate, to be held against what the hardware can do."""

_UNITS = {"gflop_per_s": "GFLOP/s", "gb_per_s": "GB/s"}


def find_torch() -> Any:
    """Return PyTorch, set to as many threads as our kernels use, or ``None`` without it."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(get_num_threads())
    return torch


def describe_machine(torch: Any = None) -> dict[str, Any]:
    """Say what the numbers were measured on."""
    return {
        "processor": cpu_description()[0],
        "system": platform.platform(),
        "threads": get_num_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": importlib.import_module("numba").__version__,
        "torch": None if torch is None else str(torch.__version__),
    }


def run_parts(
    names: Sequence[str],
    torch: Any = None,
    wishes: Wishes = NO_WISHES,
    announce: Callable[[str], None] = lambda name: None,
) -> Iterator[tuple[str, Rows]]:
    """Run parts by name; yield each with its rows as soon as it is done.

    With a part whose rows have a rate, the part "limits" is run too, before all others. Such rows
    then have ``of_limit`` as well: the rate divided by the peak of multiply-adds or by the rate of
    a copy in memory. A convolution counts the operations of its definition, and data that lie in a
    cache need not come from memory, so the share may exceed 1.

    Parameters
    ----------
    names : sequence of str
        Keys of ``PARTS``.
    torch : module, optional
        PyTorch, to compare with.
    wishes : Wishes
    announce : callable
        Called with the name of a part before it is run.
    """
    if "limits" in names or not RATED.isdisjoint(names):
        names = ["limits", *(name for name in names if name != "limits")]
    limit: dict[str, float] = {}
    for name in names:
        announce(name)
        rows = PARTS[name][1](torch, wishes)
        for row in rows:
            if name == "limits":
                limit[row["unit"]] = max(row["value"], limit.get(row["unit"], 0.0))
            for rate, unit in _UNITS.items():
                if row.get(rate) is not None and unit in limit:
                    row["of_limit"] = row[rate] / limit[unit]
        yield name, rows


def format_rows(rows: Rows) -> str:
    """Lay rows out as a table with the columns that any of them has."""
    columns = [(key, form) for key, form in COLUMNS if any(r.get(key) is not None for r in rows)]
    table = [[key.replace("_", " ") for key, _ in columns]]
    for row in rows:
        cells = ("-" if row.get(key) is None else form.format(row[key]) for key, form in columns)
        table.append(list(cells))
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )
