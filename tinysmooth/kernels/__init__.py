"""Array in, array out: the hot loops, each in a reference and in a compiled version.

Callers write ``kernels.max_pool2d_forward(...)`` and do not know which version answers; this file
alone decides. A set is a table from name to function, collected from the rooms listed below, and
every public name here asks the set in use at the moment of the call.

Images are C-contiguous NHWC arrays, float32 or float64; results have the same dtype. Kernels
validate nothing and never change their inputs, except the optimisers, which work in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, ParamSpec, TypeVar

from tinysmooth.checks import check_choice, check_flag
from tinysmooth.kernels import (
    activation,
    augmentation,
    bias,
    blocks,
    layout,
    loss,
    max_pooling,
    memory,
    normalisation,
    optimisation,
    pooling,
    products,
)
from tinysmooth.kernels.convolution import fast as compiled_convolution
from tinysmooth.kernels.convolution import reference as reference_convolution
from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.reference import activation as reference_activation
from tinysmooth.kernels.reference import augmentation as reference_augmentation
from tinysmooth.kernels.reference import bias as reference_bias
from tinysmooth.kernels.reference import blocks as reference_blocks
from tinysmooth.kernels.reference import layout as reference_layout
from tinysmooth.kernels.reference import loss as reference_loss
from tinysmooth.kernels.reference import normalisation as reference_normalisation
from tinysmooth.kernels.reference import optimisation as reference_optimisation
from tinysmooth.kernels.reference import pooling as reference_pooling
from tinysmooth.kernels.reference import products as reference_products

# ---- The sets ------------------------------------------------------------------------------------
# A set offers every name in the ``__all__`` of its rooms. A new kernel needs three lines: its room
# in both lists here, and its name under "The kernels" below.

REFERENCE_ROOMS: tuple[ModuleType, ...] = (
    reference_convolution,
    reference_pooling,
    reference_products,
    reference_bias,
    reference_layout,
    reference_activation,
    reference_normalisation,
    reference_blocks,
    reference_optimisation,
    reference_loss,
    reference_augmentation,
)

COMPILED_ROOMS: tuple[ModuleType, ...] = (
    compiled_convolution,
    max_pooling,
    pooling,
    products,
    bias,
    layout,
    activation,
    normalisation,
    blocks,
    optimisation,
    loss,
    augmentation,
)

# ---- The choice ----------------------------------------------------------------------------------

Table = dict[str, Callable[..., Any]]


class _Choice(NamedTuple):
    """What `use_kernels` has chosen. Replaced as a whole, so no thread sees half a choice."""

    name: str
    winograd: bool
    table: Table


def _collect(rooms: tuple[ModuleType, ...]) -> Table:
    return {name: getattr(room, name) for room in rooms for name in room.__all__}


_REFERENCE = _collect(REFERENCE_ROOMS)
# Vectors cannot be written in plain Python: with NUMBA_DISABLE_JIT=1 both names mean the reference.
_COMPILED = _collect(COMPILED_ROOMS if ENABLED else REFERENCE_ROOMS)
_in_use = _Choice("compiled", True, _COMPILED)


def _use(choice: _Choice) -> None:
    global _in_use
    compiled_convolution.winograd_enabled = choice.winograd
    _in_use = choice


class _Restore:
    """What `use_kernels` returns: leaving a ``with`` over it brings the earlier choice back."""

    def __init__(self, earlier: _Choice) -> None:
        self._earlier = earlier

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _use(self._earlier)


def use_kernels(name: str, winograd: bool = True) -> _Restore:
    """Choose the kernels that the whole process uses from now on.

    Parameters
    ----------
    name : {"compiled", "reference"}
        The compiled kernels, or the plain NumPy ones that they are tested against.
    winograd : bool, optional
        Whether compiled float32 convolutions may use Winograd's algorithm, which is several times
        faster and costs about a decimal digit, and compute several windows of few filters at once.
        In both, a pixel that is not finite may spoil results beside those that it belongs to. No
        effect on the reference and on float64.

    Returns
    -------
    context manager
        The call itself sets; use it in a ``with`` to get the earlier choice back at its end. The
        choice is one for the process: a thread that changes it changes it for all. Of contexts that
        overlap in several threads the one that is left last decides what stays.

    Raises
    ------
    TypeError, ValueError
        If ``name`` is not one of the two, or ``winograd`` is not a boolean.

    Examples
    --------
    >>> with use_kernels("reference"):
    ...     kernels_in_use()
    'reference'
    >>> kernels_in_use()
    'compiled'
    """
    chosen = check_choice("use_kernels", "name", name, ("compiled", "reference"))
    fast = check_flag("use_kernels", "winograd", winograd)
    restore = _Restore(_in_use)
    _use(_Choice(chosen, fast, _COMPILED if chosen == "compiled" else _REFERENCE))
    return restore


def kernels_in_use() -> str:
    """Return the name of the set in use, ``"compiled"`` or ``"reference"``."""
    return _in_use.name


# ---- The kernels ---------------------------------------------------------------------------------

P = ParamSpec("P")
R = TypeVar("R")


def _chosen(reference: Callable[P, R]) -> Callable[P, R]:
    """Return a function that hands its call to the version in use; the reference documents it."""
    name = reference.__name__

    @functools.wraps(reference)
    def kernel(*args: P.args, **kwargs: P.kwargs) -> R:
        return _in_use.table[name](*args, **kwargs)

    return kernel


conv2d_forward = _chosen(reference_convolution.conv2d_forward)
conv2d_with_statistics = _chosen(reference_convolution.conv2d_with_statistics)
conv2d_backward_data = _chosen(reference_convolution.conv2d_backward_data)
conv2d_backward_weight = _chosen(reference_convolution.conv2d_backward_weight)
max_pool2d_forward = _chosen(reference_pooling.max_pool2d_forward)
max_pool2d_backward = _chosen(reference_pooling.max_pool2d_backward)
avg_pool2d_forward = _chosen(reference_pooling.avg_pool2d_forward)
avg_pool2d_backward = _chosen(reference_pooling.avg_pool2d_backward)
global_avg_pool_forward = _chosen(reference_pooling.global_avg_pool_forward)
global_avg_pool_backward = _chosen(reference_pooling.global_avg_pool_backward)
add_bias = _chosen(reference_bias.add_bias)
bias_gradient = _chosen(reference_bias.bias_gradient)
contiguous = _chosen(reference_layout.contiguous)
linear = _chosen(reference_products.linear)
matmul = _chosen(reference_products.matmul)
relu_forward = _chosen(reference_activation.relu_forward)
relu_backward = _chosen(reference_activation.relu_backward)
sigmoid_forward = _chosen(reference_activation.sigmoid_forward)
sigmoid_backward = _chosen(reference_activation.sigmoid_backward)
batch_norm_statistics = _chosen(reference_normalisation.batch_norm_statistics)
batch_norm_apply = _chosen(reference_normalisation.batch_norm_apply)
batch_norm_backward = _chosen(reference_normalisation.batch_norm_backward)
batch_norm_fold = _chosen(reference_normalisation.batch_norm_fold)
conv2d_block_backward_weight = _chosen(reference_blocks.conv2d_block_backward_weight)
sgd_update = _chosen(reference_optimisation.sgd_update)
adamw_update = _chosen(reference_optimisation.adamw_update)
move_towards = _chosen(reference_optimisation.move_towards)
cross_entropy_rows = _chosen(reference_loss.cross_entropy_rows)
soft_cross_entropy_rows = _chosen(reference_loss.soft_cross_entropy_rows)
scan_targets = _chosen(reference_loss.scan_targets)
softmax_rows = _chosen(reference_loss.softmax_rows)
log_softmax_rows = _chosen(reference_loss.log_softmax_rows)
crop_and_flip = _chosen(reference_augmentation.crop_and_flip)
recolour = _chosen(reference_augmentation.recolour)
scale_pixels = _chosen(reference_augmentation.scale_pixels)
zoom_and_flip = _chosen(reference_augmentation.zoom_and_flip)

__all__ = [
    "adamw_update",
    "add_bias",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm_apply",
    "batch_norm_backward",
    "batch_norm_fold",
    "batch_norm_statistics",
    "bias_gradient",
    "contiguous",
    "conv2d_backward_data",
    "conv2d_backward_weight",
    "conv2d_block_backward_weight",
    "conv2d_forward",
    "conv2d_with_statistics",
    "crop_and_flip",
    "cross_entropy_rows",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "kernels_in_use",
    "linear",
    "log_softmax_rows",
    "matmul",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "memory",
    "move_towards",
    "relu_backward",
    "relu_forward",
    "recolour",
    "scale_pixels",
    "scan_targets",
    "sigmoid_backward",
    "sigmoid_forward",
    "sgd_update",
    "soft_cross_entropy_rows",
    "softmax_rows",
    "use_kernels",
    "zoom_and_flip",
]
