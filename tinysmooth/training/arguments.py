"""What ``fit`` looks at before it begins: options and data that do not fit one another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tinysmooth.checks import check_real, describe
from tinysmooth.nn import Module
from tinysmooth.training.history import EpochRow

__all__ = [
    "Callback",
    "check_callbacks",
    "check_classes",
    "check_finite",
    "check_train",
    "check_val",
]

Array = np.ndarray[Any, Any]
Callback = Callable[[EpochRow, Module], None]


def check_finite(name: str, value: object, *, open_low: bool = False) -> float:
    """Return ``value`` as a finite ``float`` that is not negative; nor 0 with ``open_low``."""
    number = check_real("fit", name, value, low=0, open_low=open_low)
    if math.isinf(number):
        raise ValueError(f"fit: {name} is inf; expected a finite number")
    return number


def check_callbacks(callbacks: object) -> list[Callback]:
    """Return the callbacks as a list, if all of them can be called."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(
            f"fit: callbacks is {describe(callbacks)}; expected a list of functions. "
            "Put a single one into a list"
        )
    listeners = list(callbacks)
    for index, each in enumerate(listeners):
        if not callable(each):
            raise TypeError(
                f"fit: callbacks[{index}] is {describe(each)}; expected a function of the row and "
                "the model"
            )
    return listeners


def check_train(images: Array, targets: Array, settings: Mapping[str, Any]) -> None:
    """Refuse training images that cannot be augmented or resized as asked, or hold NaN."""
    if settings["augment"] and images.dtype != np.uint8:
        raise TypeError(
            f"fit: augment is True and train.images is {describe(images)}; expected uint8 images "
            "to augment. Pass augment=False for floats"
        )
    for name in ("start_size", "end_size"):
        side = settings[name]
        if side is not None and images.dtype != np.uint8:
            raise TypeError(
                f"fit: {name} is {side} for train.images {describe(images)}; expected "
                "uint8 images to resize"
            )
    start, end = settings["start_size"], settings["end_size"]
    if end is not None and end > images.shape[-1]:
        raise ValueError(
            f"fit: end_size is {end} for train.images {describe(images)}; expected at most "
            "their own side"
        )
    if start is not None and end is not None and start > end:
        raise ValueError(f"fit: start_size is {start}; expected at most end_size, {end}")
    if start is not None and start > images.shape[-1]:
        raise ValueError(
            f"fit: start_size is {start} for train.images {describe(images)}; expected at most "
            "their own side"
        )
    _check_numbers("train", images, targets)


def check_val(images: Array, targets: Array, train: Array, settings: Mapping[str, Any]) -> None:
    """Refuse validation images that are unlike the training images, or cannot be evaluated."""
    alike = images.ndim == train.ndim and (
        images.shape[1] == train.shape[1] or images.ndim not in (2, 4)
    )
    if not alike:
        raise ValueError(
            f"fit: val.images is {describe(images)} beside train.images, {describe(train)}; "
            "expected as many axes and channels"
        )
    if settings["test_flip"] and images.ndim != 4:
        raise ValueError(
            f"fit: test_flip is True and val.images is {describe(images)}; expected "
            "(N, C, H, W) to mirror"
        )
    _check_numbers("val", images, targets)


def check_classes(num_classes: int, train: Array, held_out: tuple[Array, Array] | None) -> None:
    """Refuse targets that are no class of a model with ``num_classes`` logits."""
    val = () if held_out is None else (("val", held_out[1]),)
    for name, targets in (("train", train), *val):
        if targets.max() >= num_classes:
            raise ValueError(
                f"fit: {name}.targets holds {targets.max()}; expected class indices below "
                f"{num_classes}, the number of logits of the model"
            )


def _check_numbers(name: str, images: Array, targets: Array) -> None:
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise ValueError(f"fit: {name}.images holds NaN or infinity; expected finite numbers")
    if targets.min() < 0:
        raise ValueError(
            f"fit: {name}.targets holds {targets.min()}; expected class indices >= 0. Leave out "
            "images that have no class"
        )
