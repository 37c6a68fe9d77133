"""The main job: data, model and training put together from a configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numba
import numpy as np

from tinysmooth import __version__, kernels
from tinysmooth.data import Dataset, Source, choose_source, find_imagenette
from tinysmooth.data import load as load_data
from tinysmooth.kernels.ahead import compile_ahead
from tinysmooth.kernels.thread_count import get_num_threads, use_threads
from tinysmooth.models import MODELS
from tinysmooth.nn import Module
from tinysmooth.training.checkpoint import read_rows
from tinysmooth.training.config import TrainConfig
from tinysmooth.training.evaluation import Evaluation, evaluate
from tinysmooth.training.fit import fit
from tinysmooth.training.history import EpochRow, read_history, write_history
from tinysmooth.training.interrupt import TrainingInterrupted
from tinysmooth.training.loop import DivergedError
from tinysmooth.training.mixing import shrink
from tinysmooth.training.notes import check_counts
from tinysmooth.training.run_folder import RunFolder
from tinysmooth.training.storage import load, save

__all__ = ["TrainedRun", "environment", "load_model", "resume", "train"]


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A finished run, with what a report needs.

    Attributes
    ----------
    folder : RunFolder
    config : TrainConfig
    history : list of EpochRow
    model : Module
    val : Dataset
        The validation images, of the side that they are judged at.
    num_train : int
        How many images it trained on.
    evaluation : Evaluation
        Of the final weights on ``val``.
    """

    folder: RunFolder
    config: TrainConfig
    history: list[EpochRow]
    model: Module
    val: Dataset
    num_train: int
    evaluation: Evaluation


def train(config: TrainConfig, out: str | os.PathLike[str], *, progress: bool = True) -> TrainedRun:
    """Train from a configuration into a new run folder.

    Parameters
    ----------
    config : TrainConfig
    out : path
        A folder that does not exist or is empty.
    progress : bool
        Print a progress bar and a row an epoch.

    Returns
    -------
    TrainedRun

    Raises
    ------
    OptionError
        If ``out`` is not usable, before any work.
    DivergedError, TrainingInterrupted, OSError
        As ``fit``; the folder then holds the last good state, and ``resume`` goes on from it.
    """
    folder = RunFolder.check_new(out)
    if config.threads is None:
        config = dataclasses.replace(config, threads=get_num_threads())
    source = choose_source(config.data, config.root, progress=None if progress else False)
    training, validation = _load_data(config, source, talk=progress)
    notes = {
        "data": {
            "source": source.kind,
            "root": None if source.root is None else str(source.root.absolute()),
            "reason": source.reason,
            "description": training.description,
            "stand_in": training.is_stand_in,
            "class_names": list(training.class_names),
            "num_train": len(training.targets),
            "num_val": len(validation.targets),
        },
        "environment": environment(),
    }
    folder.make()
    with folder.alone():
        RunFolder.check_new(out)  # another process may have begun since
        folder.create(config, notes)
        with _threads(config):
            return _run(folder, config, training, validation, again=False, progress=progress)


def resume(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> TrainedRun:
    """Go on with a run that was stopped; a finished one is only evaluated again.

    The result equals that of an uninterrupted run bit for bit, on the same machine with the same
    number of threads (which the folder remembers).

    Parameters
    ----------
    path : path
        The run folder.
    root : path, optional
        Where Imagenette is now, if it was moved; its images must be the same.
    progress : bool
        Print a progress bar and a row an epoch.

    Returns
    -------
    TrainedRun

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no run, a damaged one, an unfinished one without its checkpoint, or
        the data changed since.
    RuntimeError
        If another process is training in the folder.
    DivergedError, TrainingInterrupted, OSError
        As ``fit``.
    """
    folder = RunFolder.open(path)
    config, content = folder.read_config()
    if config.threads is None:
        raise ValueError(
            f"resume: {str(folder.config)!r} has threads = null; expected their number, which the "
            "run began with and which its last digits depend on"
        )
    # What was chosen then, not what "auto" would find now.
    found = content["data"]
    place = None if found["root"] is None else Path(found["root"])
    if place is not None and root is not None:
        place = find_imagenette(Path(root))
    source = Source(found["source"], place, found["reason"])
    training, validation = _load_data(config, source, talk=progress)
    with folder.alone():
        folder.tidy()
        again = folder.checkpoint.exists()
        if not again and folder.written_later():
            counts = {"num_train": len(training.targets), "num_val": len(validation.targets)}
            check_counts(counts, found, str(folder.config))
            with _threads(config):
                return _judge_again(folder, config, training, validation)
        with _threads(config):
            return _run(folder, config, training, validation, again=again, progress=progress)


def load_model(path: str | os.PathLike[str]) -> tuple[Module, TrainConfig, tuple[str, ...]]:
    """Return the trained model of a run folder, its configuration and the names of its classes.

    The model is in evaluation mode. It is at its best on images of ``config.size`` pixels that
    `shrink` brought to ``config.judged_size``.

    Parameters
    ----------
    path : path
        The run folder.

    Returns
    -------
    model : Module
    config : TrainConfig
    names : tuple of str

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no run or no whole weights.
    """
    folder = RunFolder.open(path)
    config, content = folder.read_config()
    names = tuple(content["data"]["class_names"])
    model: Module = MODELS[config.model](len(names), rng=np.random.default_rng(config.seed))
    if not folder.weights.exists():
        raise FileNotFoundError(
            f"run folder: {str(path)!r} has no weights.npz yet; expected at least one finished "
            f"epoch. Go on with `tinysmooth train --resume {quote(str(path))}`"
        )
    model.load_state_dict(load(folder.weights))
    model.eval()
    return model, config, names


def environment() -> dict[str, Any]:
    """Versions and machine, for the record in ``config.json``."""
    return {
        "tinysmooth": __version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "kernels": kernels.kernels_in_use(),
    }


def _threads(config: TrainConfig) -> contextlib.AbstractContextManager[None]:
    """Compute with as many threads as a run has, whatever other runs of the process have."""
    assert config.threads is not None  # `train` chose it, `resume` checked it
    return use_threads(config.threads)


def _run(
    folder: RunFolder,
    config: TrainConfig,
    training: Dataset,
    validation: Dataset,
    *,
    again: bool,
    progress: bool,
) -> TrainedRun:
    rng = np.random.default_rng(config.seed)
    model: Module = MODELS[config.model](training.num_classes, rng=rng)
    rows = read_rows(folder.checkpoint) if again else []

    def keep(row: EpochRow, model: Module) -> None:
        rows.append(row)
        save(folder.weights, model.state_dict())
        write_history(folder.history, rows)

    try:
        history = fit(
            model,
            training,
            validation,
            epochs=config.epochs,
            batch_size=config.batch_size,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            label_smoothing=config.label_smoothing,
            augment=config.augment,
            zoom=config.zoom,
            colour=config.colour,
            mixup=config.mixup,
            warmup=config.warmup,
            ema=config.ema,
            start_size=config.start_size,
            end_size=config.end_size,
            size_step=config.size_step,
            test_flip=config.test_flip,
            val_every=config.val_every,
            rng=rng,
            callbacks=[keep],
            checkpoint=folder.checkpoint,
            resume=again,
            progress=progress,
        )
    except (DivergedError, TrainingInterrupted):
        # Readable at once: `predict` and `info` find the newest weights.
        save(folder.weights, model.state_dict())
        write_history(folder.history, rows)
        raise
    # After a kill between the last checkpoint and these files, they are one epoch behind.
    save(folder.weights, model.state_dict())
    write_history(folder.history, history)
    evaluation = evaluate(model, validation, flip=config.test_flip)
    return TrainedRun(folder, config, history, model, validation, len(training.targets), evaluation)


def _judge_again(
    folder: RunFolder, config: TrainConfig, training: Dataset, validation: Dataset
) -> TrainedRun:
    """Evaluate a finished run whose checkpoint is gone; what it wrote is left as it is."""
    rows = read_history(folder.history) if folder.history.exists() else []
    if len(rows) != config.epochs or not folder.weights.exists():
        raise ValueError(
            f"resume: {str(folder.path)!r} holds {', '.join(folder.written_later())} and "
            f"{len(rows)} of {config.epochs} epochs, but no checkpoint.npz; expected it to go on "
            "from. Train anew in another folder"
        )
    model, _, _ = load_model(folder.path)
    evaluation = evaluate(model, validation, flip=config.test_flip)
    return TrainedRun(folder, config, rows, model, validation, len(training.targets), evaluation)


def _load_data(config: TrainConfig, source: Source, *, talk: bool) -> tuple[Dataset, Dataset]:
    """Load both splits from one place and say what they are; kernels are compiled meanwhile."""
    if kernels.kernels_in_use() == "compiled":
        compile_ahead()
    common: dict[str, Any] = {"size": config.size, "seed": config.seed}
    common["progress"] = None if talk else False
    training = load_data(
        source, per_class=config.per_class, split="train", noise=config.noise, **common
    )
    validation = load_data(source, per_class=config.val_per_class, split="val", **common)
    judged = shrink(validation.images, config.judged_size)
    judged.setflags(write=False)
    validation = dataclasses.replace(validation, images=judged)
    if talk:
        print(
            f"Images: {training.description.rstrip('.')}. {training.num_images:,} to train on, "
            f"{validation.num_images:,} to validate on.",
            flush=True,
        )
    return training, validation
