"""tinysmooth: label smoothing from scratch, as runnable evidence.

``import tinysmooth as ts`` gives everything a reader needs: tensors and their operations, the
label-smoothed loss, layers, optimisers, models, data, training, metrics and plots. The rooms that
need Matplotlib, Pillow or a download are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tinysmooth import losses, metrics, models, nn, optim
from tinysmooth.gradcheck import GradcheckError, GradcheckReport, gradcheck
from tinysmooth.kernels import kernels_in_use, use_kernels
from tinysmooth.kernels.thread_count import get_num_threads, set_num_threads
from tinysmooth.losses import *  # noqa: F403  (the heart: its __all__ is public)
from tinysmooth.ops import (
    abs,
    avg_pool2d,
    batch_norm,
    concatenate,
    conv2d,
    dropout,
    exp,
    global_avg_pool2d,
    linear,
    log,
    matmul,
    max,
    max_pool2d,
    maximum,
    mean,
    min,
    minimum,
    pad,
    relu,
    reshape,
    sigmoid,
    sqrt,
    stack,
    sum,
    tanh,
    transpose,
    where,
)
from tinysmooth.primitive import PRIMITIVES, is_grad_enabled, no_grad, primitive, unbroadcast
from tinysmooth.tensor import Tensor

if TYPE_CHECKING:
    from tinysmooth import data, plots, training
    from tinysmooth.training import load, save

__version__ = "0.1.0"

__all__ = [
    "PRIMITIVES",
    "GradcheckError",
    "GradcheckReport",
    "Tensor",
    "abs",
    "avg_pool2d",
    "batch_norm",
    "concatenate",
    "conv2d",
    "data",
    "dropout",
    "exp",
    "get_num_threads",
    "global_avg_pool2d",
    "gradcheck",
    "is_grad_enabled",
    "kernels_in_use",
    "linear",
    "load",
    "log",
    "losses",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "metrics",
    "min",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "optim",
    "pad",
    "plots",
    "primitive",
    "relu",
    "reshape",
    "save",
    "set_num_threads",
    "sigmoid",
    "sqrt",
    "stack",
    "sum",
    "tanh",
    "training",
    "transpose",
    "unbroadcast",
    "use_kernels",
    "where",
    *losses.__all__,
]

_LAZY = {
    "data": "tinysmooth.data",
    "plots": "tinysmooth.plots",
    "training": "tinysmooth.training",
    "save": "tinysmooth.training",
    "load": "tinysmooth.training",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinysmooth' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    value = module if module.__name__ == f"tinysmooth.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
