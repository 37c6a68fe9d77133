"""The front door of training: one-cycle Nesterov SGD that can be stopped anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinysmooth.checks import check_flag, check_int, check_real, check_rng
from tinysmooth.nn import Module
from tinysmooth.training.arguments import (
    Callback,
    check_callbacks,
    check_finite,
    check_train,
    check_val,
)
from tinysmooth.training.evaluation import Images, as_arrays
from tinysmooth.training.fingerprint import fingerprint
from tinysmooth.training.history import EpochRow
from tinysmooth.training.loop import Loop
from tinysmooth.training.mixing import SIZE_STEP, shrink

__all__ = ["fit"]

Array = np.ndarray[Any, Any]


def fit(
    model: Module,
    train: Images | tuple[Array, Array],
    val: Images | tuple[Array, Array] | None = None,
    *,
    epochs: int,
    batch_size: int = 64,
    lr: float = 0.05,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    label_smoothing: float = 0.1,
    augment: bool = True,
    zoom: float = 1.0,
    colour: float = 0.0,
    mixup: float = 0.0,
    warmup: float = 0.3,
    ema: float = 0.0,
    start_size: int | None = None,
    end_size: int | None = None,
    size_step: int = SIZE_STEP,
    test_flip: bool = False,
    val_every: int = 1,
    rng: np.random.Generator | None = None,
    callbacks: Iterable[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    save_every: float = 30.0,
    resume: bool = False,
    progress: bool = True,
) -> list[EpochRow]:
    """Train a model with one-cycle Nesterov SGD and label smoothing.

    Parameters
    ----------
    model : Module
        From images (N, C, H, W) to logits (N, K); trained in place.
    train, val : Dataset or (images, targets)
        Images uint8 (N, C, H, W), which are normalised, or float (N, ...), which are taken as
        they are and need ``augment=False``; targets integers (N,). Without ``val``, those columns
        are NaN.
    epochs, batch_size : int
    lr : float
        The peak of the one-cycle schedule.
    momentum, weight_decay : float
        Weight decay spares biases and BatchNorm (``decay_groups``).
    label_smoothing : float in [0, 1]
    augment : bool
        Random crops and horizontal flips of the training images.
    zoom : float in (0, 1]
        Below 1, augmentation enlarges boxes of ``zoom`` to 1 of the image's area instead.
    colour : float in [0, 1]
        Above 0, augmentation also changes brightness, contrast and saturation, each by a factor
        between ``1 - colour`` and ``1 + colour``.
    mixup : float
        Above 0, images are mixed in pairs, with shares from Beta(mixup, mixup).
    warmup : float in [0, 1]
        Share of the steps in which the learning rate rises.
    ema : float in [0, 1)
        Above 0, the model that is evaluated and handed over is the running mean of the weights
        with this decay a step (``WeightAverage``).
    start_size : int, optional
        The images grow from this side to ``end_size`` during the first three quarters of the
        epochs.
    end_size : int, optional
        Side of the training images in the last quarter; their own if left out. Larger validation
        images are judged at this side too.
    size_step : int
        By how many pixels the images grow at once.
    test_flip : bool
        Evaluate on each validation image and its mirror image, mean of the logits.
    val_every : int
        Evaluate after every so many epochs, and after the last one; between them those columns
        are NaN.
    rng : numpy.random.Generator, optional
        The one source of randomness: order and augmentation. Fresh and unseeded if left out.
    callbacks : iterable of callable
        Each is called as ``callback(row, model)`` after every epoch.
    checkpoint : path, optional
        File to save everything to: at the start, after every epoch, every ``save_every``
        seconds, and on Ctrl-C.
    save_every : float
        Seconds; has no influence on the result.
    resume : bool
        Go on from ``checkpoint``. The result equals that of an uninterrupted run bit for bit,
        given the same machine and number of threads.
    progress : bool
        Print a progress bar and a row an epoch.

    Returns
    -------
    list of EpochRow
        All epochs, those before a resume included.

    Raises
    ------
    TypeError, ValueError
        For bad options and data, before any work; for a checkpoint of other settings or data.
        Targets that are no class of the model are found in the first step, before it takes it.
    DivergedError
        If the loss runs away; the model then holds the weights of the last good epoch, or those
        that it came with.
    TrainingInterrupted
        On Ctrl-C (a KeyboardInterrupt): a second one stops at once, without saving.
    OSError
        If the checkpoint cannot be written; the previous one is whole.
    """
    images, targets = as_arrays("fit", "train", train)
    held_out = None if val is None else as_arrays("fit", "val", val)
    if not isinstance(model, Module):
        raise TypeError(f"fit: model is a {type(model).__name__}; expected a tinysmooth.nn.Module")
    settings: dict[str, Any] = {
        "epochs": check_int("fit", "epochs", epochs, minimum=1),
        "batch_size": check_int("fit", "batch_size", batch_size, minimum=1),
        "lr": check_finite("lr", lr, open_low=True),
        "momentum": check_real("fit", "momentum", momentum, low=0, high=1, open_high=True),
        "weight_decay": check_finite("weight_decay", weight_decay),
        "label_smoothing": check_real("fit", "label_smoothing", label_smoothing, low=0, high=1),
        "augment": check_flag("fit", "augment", augment),
        "zoom": check_real("fit", "zoom", zoom, low=0, high=1, open_low=True),
        "colour": check_real("fit", "colour", colour, low=0, high=1),
        "mixup": check_finite("mixup", mixup),
        "warmup": check_real("fit", "warmup", warmup, low=0, high=1),
        "ema": check_real("fit", "ema", ema, low=0, high=1, open_high=True),
        "start_size": None
        if start_size is None
        else check_int("fit", "start_size", start_size, minimum=8),
        "end_size": None if end_size is None else check_int("fit", "end_size", end_size, minimum=8),
        "size_step": check_int("fit", "size_step", size_step, minimum=1),
        "test_flip": check_flag("fit", "test_flip", test_flip),
        "val_every": check_int("fit", "val_every", val_every, minimum=1),
    }
    check_real("fit", "save_every", save_every, low=0)
    talk = check_flag("fit", "progress", progress)
    if check_flag("fit", "resume", resume) and checkpoint is None:
        raise ValueError(
            "fit: resume is True and checkpoint is None; expected a file to go on from"
        )
    listeners = check_callbacks(callbacks)
    check_train(images, targets, settings)
    if held_out is not None:
        check_val(*held_out, images, settings)
    if held_out is not None and end_size is not None and held_out[0].dtype == np.uint8:
        held_out = (shrink(held_out[0], end_size), held_out[1])
    if checkpoint is not None:
        settings["train_data"] = fingerprint(images, targets)
        settings["val_data"] = None if held_out is None else fingerprint(*held_out)
    generator = np.random.default_rng() if rng is None else check_rng("fit", "rng", rng)
    loop = Loop(model, images, targets, held_out, settings, generator)
    loop.callbacks = listeners
    loop.checkpoint, loop.save_every, loop.talk = checkpoint, save_every, talk
    if resume:
        loop.resume()
    return loop.run()
