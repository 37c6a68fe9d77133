"""tinysmooth: label smoothing from scratch, as runnable evidence.

``import tinysmooth as ts`` gives everything a reader needs: tensors and their operations, the
label-smoothed loss, layers, optimisers, models, data, training, metrics and plots.
"""

from __future__ import annotations

from tinysmooth import models, nn, optim
from tinysmooth.gradcheck import GradcheckError, GradcheckReport, gradcheck
from tinysmooth.kernels import kernels_in_use, use_kernels
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
    "global_avg_pool2d",
    "gradcheck",
    "is_grad_enabled",
    "kernels_in_use",
    "linear",
    "log",
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
]
