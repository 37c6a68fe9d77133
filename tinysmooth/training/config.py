"""Every option of a training run in one frozen record, checked once, written as JSON."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinysmooth.checks import check_choice, check_flag, check_int, check_real, describe
from tinysmooth.data import KINDS, NOISE_LEVELS
from tinysmooth.models import MODELS
from tinysmooth.training.mixing import SIZE_STEP

__all__ = ["LEAST_SIZE", "PRESETS", "PRESET_MINUTES", "OptionError", "TrainConfig"]

# Both models halve the image up to three times and need something left.
LEAST_SIZE = 16

# In all: boxes of the images, enlarged, in training images that are smaller than those loaded. That
# buys more epochs in the same time, and the boxes are cut from the detail of the larger ones.
PRESETS: dict[str, dict[str, Any]] = {
    # Few images: small batches for enough steps, and strong decay.
    "quick": {
        "per_class": 100,
        "epochs": 48,
        "zoom": 0.35,
        "colour": 0.4,
        "start_size": 32,
        "end_size": 48,
        "size_step": 16,
        "test_flip": True,
        "val_every": 16,
    },
    "tiny": {
        "per_class": 500,
        "epochs": 32,
        "batch_size": 64,
        "lr": 0.05,
        "weight_decay": 1e-3,
        "ema": 0.995,
        "zoom": 0.35,
        "colour": 0.4,
        "start_size": 32,
        "end_size": 56,
        "size_step": 16,
        "test_flip": True,
        "val_every": 4,
    },
    "full": {
        "per_class": None,
        "epochs": 46,
        "batch_size": 64,
        "lr": 0.05,
        "weight_decay": 1e-3,
        "ema": 0.998,
        "zoom": 0.35,
        "colour": 0.4,
        "start_size": 32,
        "end_size": 56,
        "test_flip": True,
        "val_every": 4,
    },
    "hour": {
        "per_class": None,
        "size": 96,
        "epochs": 64,
        "batch_size": 64,
        "lr": 0.05,
        "weight_decay": 1e-3,
        "ema": 0.998,
        "zoom": 0.35,
        "colour": 0.4,
        "start_size": 32,
        "end_size": 80,
        "size_step": 16,
        "test_flip": True,
        "val_every": 8,
    },
}
"""Options by name for ``--preset``; an option given beside it wins."""

PRESET_MINUTES = {"quick": 3, "tiny": 10, "full": 28, "hour": 60}
"""About how long each takes on two cores; quick and tiny stay below."""


class OptionError(ValueError):
    """An option that does not fit; ``option`` names it."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option

    def __reduce__(self) -> tuple[type[OptionError], tuple[str, str]]:
        """Pickle both arguments, so that a worker can send the error to its parent."""
        return type(self), (self.option, str(self))


@dataclass(frozen=True)
class TrainConfig:
    """Options of ``tinysmooth train``, which begins with those of a preset.

    Attributes
    ----------
    data : {"auto", "imagenette", "drawn"}
        "auto": Imagenette if it is on disk, else a download, else the drawn stand-in.
    root : str or None
        Folder of the images; None looks in the usual places.
    per_class, val_per_class : int or None
        Training and validation images a class; None takes all.
    size : int
        Side of the square images as they are loaded, in pixels.
    noise : int
        Per cent of wrong training labels, from the official lists (0, 1, 5, 25, 50).
    epochs, batch_size : int
    lr : float
        Peak of the one-cycle schedule.
    momentum, weight_decay : float
    label_smoothing : float in [0, 1]
    augment : bool
        Random boxes or crops and horizontal flips.
    zoom : float in (0, 1]
        Smallest share of an image's area that augmentation enlarges to the whole; 1 crops
        instead.
    colour : float in [0, 1]
        By how much augmentation changes brightness, contrast and saturation.
    mixup : float
        Above 0, images are mixed in pairs, with shares from Beta(mixup, mixup).
    warmup : float in [0, 1]
        Share of the steps in which the learning rate rises.
    ema : float in [0, 1)
        Decay a step of the running mean of the weights, which is what is evaluated and kept; 0
        keeps the last weights.
    start_size : int or None
        Side of the training images in the first epochs; they grow to ``end_size``.
    end_size : int or None
        Side of the training images in the last epochs and of all images that are judged; None
        is ``size``.
    size_step : int
        By how many pixels the training images grow at once.
    test_flip : bool
        Evaluate on each image and its mirror image.
    val_every : int
        Evaluate after every so many epochs, and after the last one.
    model : str
        A name in ``tinysmooth.models.MODELS``.
    seed : int
        Of the one random generator, and of the choice of images.
    threads : int or None
        For the kernels; None takes all that this process may use.

    Raises
    ------
    OptionError
        A ValueError that names the option, what came and what was expected.

    Examples
    --------
    >>> TrainConfig(label_smoothing=0.2).epochs
    20
    >>> try:
    ...     TrainConfig(label_smoothing=1.5)
    ... except OptionError as error:
    ...     print(error)
    train: label_smoothing is 1.5; expected a number in [0, 1]
    """

    data: str = "auto"
    root: str | None = None
    per_class: int | None = 100
    val_per_class: int | None = 100
    size: int = 64
    noise: int = 0
    epochs: int = 20
    batch_size: int = 32
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 2e-3
    label_smoothing: float = 0.1
    augment: bool = True
    zoom: float = 1.0
    colour: float = 0.0
    mixup: float = 0.0
    warmup: float = 0.3
    ema: float = 0.99
    start_size: int | None = None
    end_size: int | None = None
    size_step: int = SIZE_STEP
    test_flip: bool = False
    val_every: int = 1
    model: str = "resnet9"
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            try:
                value = check("train", name, getattr(self, name))
            except (TypeError, ValueError) as error:
                raise OptionError(name, str(error)) from None
            object.__setattr__(self, name, value)
        end, limit = self.size, "size"
        for name in ("end_size", "start_size"):
            side = getattr(self, name)
            if side is not None and side > end:
                raise OptionError(name, f"train: {name} is {side}; expected at most {limit}, {end}")
            if side is not None:
                end, limit = side, name

    @property
    def judged_size(self) -> int:
        """Side of the images that the network is asked about: that of the last epochs.

        A network that has learned from images of one side does worse on larger ones, in which
        everything is larger than it was.
        """
        return self.size if self.end_size is None else self.end_size

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> TrainConfig:
        """Make a configuration of what ``dataclasses.asdict`` gave.

        Raises
        ------
        OptionError
            For an unknown name or a value that does not fit.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise OptionError(
                    name, f"train: {name!r} is not an option; expected one of {', '.join(known)}"
                )
        return cls(**options)

    def to_dict(self) -> dict[str, Any]:
        """All options by name, ready for JSON."""
        return dataclasses.asdict(self)


def _check_root(where: str, name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{where}: {name} is {describe(value)}; expected a path")
    path = Path(os.path.abspath(os.path.expanduser(value)))
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError(f"{where}: {name} is {str(value)!r}, a file; expected a folder")
    return str(path)


def _optional(check: Callable[..., Any]) -> Callable[..., Any]:
    return lambda where, name, value: None if value is None else check(where, name, value)


def _with(check: Callable[..., Any], **limits: Any) -> Callable[..., Any]:
    return lambda where, name, value: check(where, name, value, **limits)


_COUNT = _with(check_int, minimum=1)

_CHECKS: dict[str, Callable[..., Any]] = {
    "data": _with(check_choice, choices=KINDS),
    "root": _check_root,
    "per_class": _optional(_COUNT),
    "val_per_class": _optional(_COUNT),
    "size": _with(check_int, minimum=LEAST_SIZE, maximum=512),
    "noise": _with(check_choice, choices=NOISE_LEVELS),
    "epochs": _COUNT,
    "batch_size": _with(check_int, minimum=2),
    "lr": _with(check_real, low=0, open_low=True, high=100),
    "momentum": _with(check_real, low=0, high=1, open_high=True),
    "weight_decay": _with(check_real, low=0, high=10),
    "label_smoothing": _with(check_real, low=0, high=1),
    "augment": check_flag,
    "zoom": _with(check_real, low=0, high=1, open_low=True),
    "colour": _with(check_real, low=0, high=1),
    "mixup": _with(check_real, low=0, high=100),
    "warmup": _with(check_real, low=0, high=1),
    "ema": _with(check_real, low=0, high=1, open_high=True),
    "start_size": _optional(_with(check_int, minimum=LEAST_SIZE, maximum=512)),
    "end_size": _optional(_with(check_int, minimum=LEAST_SIZE, maximum=512)),
    "size_step": _with(check_int, minimum=1, maximum=512),
    "test_flip": check_flag,
    "val_every": _COUNT,
    "model": _with(check_choice, choices=tuple(MODELS)),
    "seed": _with(check_int, minimum=0),
    "threads": _optional(_with(check_int, minimum=1, maximum=1024)),
}
