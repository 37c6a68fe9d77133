"""The options that describe a training, for the commands that train."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tinysmooth.cli.options import UsageError, count_or_all, real, whole
from tinysmooth.data import KINDS
from tinysmooth.models import MODELS
from tinysmooth.training import PRESET_MINUTES, PRESETS, OptionError, TrainConfig
from tinysmooth.training.config import LEAST_SIZE

__all__ = ["RECIPE", "SWITCHES", "UNSET", "add_recipe", "flag", "name_option", "read_config"]

_USUAL = "quick"

UNSET = argparse.SUPPRESS
"""What was not given is not in the namespace, so presets can tell."""

RECIPE: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "data": (str, "KIND", f"{', '.join(KINDS)}: where the images come from"),
    "root": (str, "DIR", "folder of Imagenette (default: the usual places)"),
    "per_class": (count_or_all, "N", "training images a class, or all"),
    "val_per_class": (count_or_all, "N", "validation images a class, or all"),
    "size": (whole, "PX", "side of the images as loaded, in pixels"),
    "noise": (whole, "PERCENT", "wrong training labels on purpose: 0, 1, 5, 25 or 50"),
    "epochs": (whole, "E", "how often to go through the training images"),
    "batch_size": (whole, "B", "images a step"),
    "lr": (real, "LR", "highest learning rate of the one-cycle schedule"),
    "warmup": (real, "SHARE", "share of the steps in which the learning rate rises"),
    "momentum": (real, "M", "Nesterov momentum"),
    "weight_decay": (real, "WD", "spares BatchNorm and biases"),
    "label_smoothing": (real, "EPS", "epsilon in [0, 1]; 0 trains on one-hot targets"),
    "zoom": (real, "SHARE", "least share of an image that is enlarged; 1 only moves it"),
    "colour": (real, "SHARE", "change brightness, contrast and saturation by up to this share"),
    "mixup": (real, "A", "above 0: mix images in pairs, shares from Beta(A, A)"),
    "ema": (real, "DECAY", "keep the running mean of the weights; 0 keeps the last ones"),
    "start_size": (whole, "PX", "let the training images grow from this side"),
    "end_size": (whole, "PX", "side that the images grow to and are judged at"),
    "size_step": (whole, "PX", "by how much the images grow at once"),
    "val_every": (whole, "E", "evaluate after every so many epochs, and after the last"),
    "model": (str, "NAME", f"network: {', '.join(MODELS)}"),
    "seed": (whole, "S", "of all randomness"),
    "threads": (whole, "T", "threads of the kernels (default: all)"),
}
"""Fields of ``TrainConfig`` by name: how to read one, how to call its value, what it is."""

SWITCHES = {
    "augment": "random changes and flips of the training images",
    "test_flip": "evaluate on each image and its mirror image",
}
"""Fields that are on or off."""


def add_recipe(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """Add an option for every field of ``TrainConfig``, and ``--preset``."""
    default = TrainConfig(**PRESETS[_USUAL])
    for name, (kind, meta, text) in RECIPE.items():
        if name in without:
            continue
        value = getattr(default, name)
        shown = "" if value is None else f" (default {value})"
        parser.add_argument(flag(name), type=kind, metavar=meta, default=UNSET, help=text + shown)
    for name, text in SWITCHES.items():
        shown = "yes" if getattr(default, name) else "no"
        parser.add_argument(
            flag(name),
            action=argparse.BooleanOptionalAction,
            default=UNSET,
            help=f"{text} (default {shown})",
        )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        choices=sorted(PRESETS),
        default=UNSET,
        help=f"where the other options begin (default {_USUAL}): "
        + "; ".join(
            f"{name} (about {PRESET_MINUTES[name]} minutes on two cores): "
            + ", ".join(f"{key.replace('_', '-')} {_show(value)}" for key, value in options.items())
            for name, options in PRESETS.items()
        ),
    )


def read_config(given: Mapping[str, Any]) -> TrainConfig:
    """Make a configuration of the options that were given and those of the preset.

    Training images that the preset makes larger than a ``size`` that was given are of that size.

    Raises
    ------
    UsageError
        If a value does not fit; the message names the option.
    """
    options = dict(PRESETS[given.get("preset", _USUAL)])
    limit = given.get("end_size", given.get("size"))
    for name in ("start_size", "end_size"):
        # A limit that is too small is told by its own name, not by those of what it limits.
        if limit is not None and options.get(name, 0) > limit >= LEAST_SIZE:
            options[name] = limit
    options.update((name, value) for name, value in given.items() if name in (*RECIPE, *SWITCHES))
    try:
        return TrainConfig.from_dict(options)
    except OptionError as error:
        raise UsageError(name_option(error)) from None


def name_option(error: OptionError) -> str:
    """Replace the name of the field by the option that the user typed."""
    command, _, rest = str(error).partition(": ")
    prefix = f"{error.option} "
    if not rest.startswith(prefix):
        return str(error) if command != "train" else rest
    return f"{flag(error.option)} {rest.removeprefix(prefix)}"


def flag(name: str) -> str:
    """Return the option of a field."""
    return "--" + name.replace("_", "-")


def _show(value: object) -> str:
    return "all" if value is None else str(value)
