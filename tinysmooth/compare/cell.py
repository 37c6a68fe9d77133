"""One run of a comparison, from its configuration to its numbers."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinysmooth import metrics
from tinysmooth.checks import check_real, describe
from tinysmooth.training import Evaluation, RunFolder, TrainConfig, resume, save, train
from tinysmooth.training.atomic import remove_leftovers, write_atomically
from tinysmooth.training.job import environment

__all__ = ["CellResult", "check_measured", "measure", "read_result", "run_cell", "write_result"]

_FORMAT = 1
_SHARE = {"low": 0.0, "high": 1.0}
_AT_LEAST_0 = {"low": 0.0}
# Of the fields of CellResult that are not any number.
_LIMITS: dict[str, dict[str, Any]] = {
    "accuracy": _SHARE,
    "ece": _SHARE,
    "scaled_ece": _SHARE,
    "loss": _AT_LEAST_0,
    "scaled_loss": _AT_LEAST_0,
    "temperature": {"low": 0.0, "open_low": True},
    "seconds": _AT_LEAST_0,
}


@dataclass(frozen=True)
class CellResult:
    """What a run came to, on its validation images. Losses and gaps are in nats.

    Attributes
    ----------
    accuracy, loss, ece : float
        Share of right predictions, plain cross-entropy, calibration error (15 bins).
    temperature : float
        Geometric mean of the two temperatures below.
    scaled_loss, scaled_ece : float
        The same after temperature scaling: each half of the validation images is divided by the
        temperature that was fitted on the other half.
    mean_gap, top_gap : float
        Right logit minus the mean, and minus the largest, of the others.
    train_gap : float
        Mean gap in the last epoch of training.
    seconds : float
        Of training, evaluation after each epoch included.
    """

    accuracy: float
    loss: float
    ece: float
    temperature: float
    scaled_loss: float
    scaled_ece: float
    mean_gap: float
    top_gap: float
    train_gap: float
    seconds: float


def run_cell(options: Mapping[str, Any], path: str | os.PathLike[str]) -> dict[str, float]:
    """Train one cell, or go on with it, or only read what it came to.

    Plain arguments and a plain result, so that any executor can send them to another process.
    Beside the run, the folder gets ``evaluation.npz`` (the logits and targets behind all numbers)
    and ``result.json``, which marks it as finished; the checkpoint is then no longer needed.

    Parameters
    ----------
    options : mapping
        ``TrainConfig.to_dict()``.
    path : path
        The run folder.

    Returns
    -------
    dict of str to float
        The fields of ``CellResult``.

    Raises
    ------
    DivergedError, TrainingInterrupted, OSError
        As ``tinysmooth.training.train``; the next call goes on from there.
    """
    finished = read_result(path)
    if finished is None:
        folder = RunFolder(Path(path))
        if folder.config.exists():
            run = resume(path, root=options["root"], progress=False)
        else:
            remove_leftovers(folder.path)  # of a process that was killed in its first moment
            run = train(TrainConfig.from_dict(options), path, progress=False)
        judged = run.evaluation
        save(folder.path / "evaluation.npz", {"logits": judged.logits, "targets": judged.targets})
        finished = dataclasses.replace(
            measure(judged),
            train_gap=run.history[-1].train_gap,
            seconds=sum(row.seconds for row in run.history),
        )
        write_result(path, run.config, finished, environment())
        folder.checkpoint.unlink(missing_ok=True)
    return dataclasses.asdict(finished)


def write_result(
    path: str | os.PathLike[str],
    config: TrainConfig,
    result: CellResult,
    environment: Mapping[str, Any],
) -> None:
    """Write ``result.json`` into a run folder: the cell is finished."""
    content = {
        "format": _FORMAT,
        "options": config.to_dict(),
        "measured": dataclasses.asdict(result),
        "environment": dict(environment),
    }
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(_result_file(path), text.encode("utf-8"))


def read_result(path: str | os.PathLike[str]) -> CellResult | None:
    """Return what a finished cell came to.

    Parameters
    ----------
    path : path
        The run folder.

    Returns
    -------
    CellResult or None
        None if it is not finished.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        content = json.loads(_result_file(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"it holds {describe(content)}; expected an object")
        return check_measured("measured", content.get("measured"))
    except FileNotFoundError:
        return None
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"read_result: {str(_result_file(path))!r} is damaged ({error}); expected the file "
            "that `tinysmooth compare` wrote. Remove it to measure again"
        ) from None


def check_measured(where: str, value: object) -> CellResult:
    """Return what was read from a file as the numbers of a run.

    Parameters
    ----------
    where : str
        Of ``value`` in the file, for the message.
    value : object

    Returns
    -------
    CellResult

    Raises
    ------
    TypeError, ValueError
        Names the number that is missing, unknown, not finite or impossible.
    """
    names = [field.name for field in dataclasses.fields(CellResult)]
    if not isinstance(value, Mapping):
        raise TypeError(f"{where} is {describe(value)}; expected the numbers of a run by name")
    for name in value:
        if name not in names:
            raise ValueError(f"{where}: {name!r} came; expected only {', '.join(names)}")
    for name in names:
        if name not in value:
            raise ValueError(f"{where}: {name} is missing; expected a number")
        if not math.isfinite(check_real(where, name, value[name], **_LIMITS.get(name, {}))):
            raise ValueError(f"{where}: {name} is {value[name]}; expected a finite number")
    return CellResult(**{name: float(value[name]) for name in names})


def measure(judged: Evaluation) -> CellResult:
    """Compute everything that follows from the logits; the rest is NaN.

    The halves for temperature scaling are the images at even and at odd places of an order that
    is shuffled within the classes, always alike.

    Parameters
    ----------
    judged : Evaluation

    Returns
    -------
    CellResult

    Raises
    ------
    ValueError
        If there are not images for two halves.
    """
    logits, targets = judged.logits.astype(np.float64), judged.targets
    odd = _odd_half(targets)
    temperatures, scaled = [], logits.copy()
    for fitted, judged_half in ((odd, ~odd), (~odd, odd)):
        temperature = metrics.fit_temperature(logits[fitted], targets[fitted])
        scaled[judged_half] /= temperature
        temperatures.append(temperature)
    return CellResult(
        accuracy=judged.accuracy,
        loss=judged.loss,
        ece=judged.calibration_error,
        temperature=float(np.sqrt(temperatures[0] * temperatures[1])),
        scaled_loss=metrics.negative_log_likelihood(scaled, targets),
        scaled_ece=metrics.expected_calibration_error(metrics.softmax(scaled), targets),
        mean_gap=judged.mean_gap,
        top_gap=judged.top_gap,
        train_gap=float("nan"),
        seconds=float("nan"),
    )


def _odd_half(targets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mark one half of the images, of each class alike; the same for the same targets."""
    rng = np.random.default_rng(0)
    odd = np.zeros(len(targets), dtype=bool)
    start = 0
    for label in np.unique(targets):
        members = rng.permutation(np.flatnonzero(targets == label))
        # Classes of odd size give their extra image to the two halves in turn.
        odd[members[start::2]] = True
        start = (start + len(members)) % 2
    if odd.all() or not odd.any():
        raise ValueError(
            f"measure: there are {len(targets)} validation images; expected at least two, one for "
            "each half of temperature scaling"
        )
    return odd


def _result_file(path: str | os.PathLike[str]) -> Path:
    return Path(path) / "result.json"
