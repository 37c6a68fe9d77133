"""Everything that training needs to go on as if it had never stopped.

A checkpoint holds the model (parameters and running statistics), the running mean of its weights
if there is one, the optimiser's memory, the state of every random generator, the position within
the epoch, the sums of the unfinished epoch and the rows of the finished ones. It is one ``.npz``
file: arrays under ``model/``, ``average/`` and ``optimiser/``, the rest as JSON text under
``progress`` (Python writes floats so that they read back exactly).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tinysmooth.nn import Module
from tinysmooth.optim import Optimiser
from tinysmooth.training.history import EpochRow
from tinysmooth.training.storage import CorruptFileError, load, save

__all__ = ["Progress", "generators_of", "read_checkpoint", "read_rows", "write_checkpoint"]

_FORMAT = 2
_LATER_SETTINGS = ("val_data",)  # what checkpoints of this format did not always note

State = dict[str, Any]
Array = np.ndarray[Any, Any]


@dataclass
class Progress:
    """Where training stands.

    Attributes
    ----------
    epoch, step : int
        Epochs finished, and steps finished in the current one.
    loss_sum, floor_sum, gap_sum : float
        Over the images of the current epoch so far.
    images : int
        How many those are.
    num_classes : int
        Length of the logits; 0 until the first step.
    trend : float or None
        Running mean of the training loss, which tells divergence.
    history : list of EpochRow
        The finished epochs.
    epoch_start : dict
        State of the generator when the current epoch began; its order of the images follows.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    floor_sum: float = 0.0
    gap_sum: float = 0.0
    images: int = 0
    num_classes: int = 0
    trend: float | None = None
    history: list[EpochRow] = field(default_factory=list)
    epoch_start: State = field(default_factory=dict)

    def close_epoch(self, row: EpochRow) -> None:
        """Note a finished epoch and stand at the beginning of the next."""
        self.history.append(row)
        self.epoch += 1
        self.step = self.images = 0
        self.loss_sum = self.floor_sum = self.gap_sum = 0.0
        self.epoch_start = {}


def generators_of(model: Module, rng: np.random.Generator) -> list[np.random.Generator]:
    """Return ``rng`` and every other generator that a module draws from (dropout), each once."""
    found = [rng]
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, np.random.Generator) and not any(value is rng for rng in found):
                found.append(value)
    return found


def write_checkpoint(
    path: str | os.PathLike[str],
    model: Module,
    optimiser: Optimiser,
    generators: Sequence[np.random.Generator],
    progress: Progress,
    settings: Mapping[str, Any],
    average: Mapping[str, Array] | None = None,
) -> None:
    """Write a checkpoint, atomically; ``settings`` must be the same when it is read.

    ``average`` is the state of a ``WeightAverage``, if training keeps one.

    Raises
    ------
    FloatingPointError
        If the model holds NaN or infinity: a good checkpoint is never replaced by a bad one.
    OSError
        If writing fails; the previous checkpoint is whole.
    """
    state = {f"model/{name}": array for name, array in model.state_dict().items()}
    for name, array in state.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FloatingPointError(
                f"write_checkpoint: {name.removeprefix('model/')} holds NaN or infinity; "
                "expected finite weights"
            )
    state |= {f"optimiser/{name}": array for name, array in optimiser.state_dict().items()}
    state |= {f"average/{name}": array for name, array in (average or {}).items()}
    notes = {
        "format": _FORMAT,
        "settings": dict(settings),
        "progress": asdict(progress),
        "generators": [generator.bit_generator.state for generator in generators],
    }
    state["progress"] = np.array(json.dumps(notes, default=_plain))
    save(path, state)


def read_checkpoint(
    path: str | os.PathLike[str],
    model: Module,
    optimiser: Optimiser,
    generators: Sequence[np.random.Generator],
    settings: Mapping[str, Any],
    average: Mapping[str, Array] | None = None,
) -> Progress:
    """Put everything back as it was when the checkpoint was written; ``average`` in place.

    Raises
    ------
    FileNotFoundError, CorruptFileError
        If there is no whole checkpoint at ``path``.
    ValueError
        If it belongs to another model, or to training with other settings.
    """
    state, progress, states, saved_settings = _read(path)
    _compare_settings(saved_settings, json.loads(json.dumps(settings, default=_plain)))
    if len(states) != len(generators):
        raise ValueError(
            f"read_checkpoint: {str(path)!r} has {len(states)} random generators; expected "
            f"{len(generators)}, as this model has"
        )
    try:
        model.load_state_dict(_part(state, "model/"))
        optimiser.load_state_dict(_part(state, "optimiser/"))
        for name, array in (average or {}).items():
            array[...] = state[f"average/{name}"]
    except KeyError as error:
        raise ValueError(
            f"read_checkpoint: {str(path)!r} belongs to another model: {error.args[0]}"
        ) from None
    for generator, saved in zip(generators, states, strict=True):
        generator.bit_generator.state = saved
    return progress


def read_rows(path: str | os.PathLike[str]) -> list[EpochRow]:
    """Return the rows of the finished epochs in a checkpoint.

    Raises
    ------
    FileNotFoundError, CorruptFileError
        If there is no whole checkpoint at ``path``.
    """
    return _read(path)[1].history


def _read(path: str | os.PathLike[str]) -> tuple[State, Progress, list[State], State]:
    """Return the arrays, the progress, the states of the generators and the settings."""
    state = load(path)
    try:
        notes = json.loads(str(state.pop("progress")[()]))
        if notes["format"] != _FORMAT:
            raise CorruptFileError(
                f"read_checkpoint: {str(path)!r} has format {notes['format']}; expected {_FORMAT}. "
                "Use the version of tinysmooth that wrote it"
            )
        progress = Progress(**notes["progress"])
        progress.history = [EpochRow(**row) for row in notes["progress"]["history"]]
        return state, progress, notes["generators"], notes["settings"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CorruptFileError(
            f"read_checkpoint: {str(path)!r} is not a checkpoint ({error!r}); expected a file "
            "that training wrote"
        ) from None


def _part(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }


def _compare_settings(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in {**saved, **now}:
        if name in _LATER_SETTINGS and name not in saved:
            continue
        if saved.get(name) != now.get(name):
            raise ValueError(
                f"read_checkpoint: {name} is {now.get(name)!r}; expected {saved.get(name)!r}, as "
                "in the checkpoint. Resume with the same settings and data, or start anew"
            )


def _plain(value: Any) -> Any:
    """Give JSON something to write for what NumPy puts into states and settings."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
