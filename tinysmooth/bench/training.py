"""Whole trainings side by side: the time that each side takes, to the same accuracy and in all.

Both sides begin with the same weights and are served the same batches by our pipeline, with the
same recipe: that of a preset, which is one-cycle Nesterov SGD, weight decay on weights alone, label
smoothing, growing images and a running mean of the weights. They take turns, epoch by epoch, so
that whatever else the machine does meets both alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from tqdm import tqdm

from tinysmooth import losses, models, nn, optim
from tinysmooth.bench.steps import torch_twin
from tinysmooth.data import Dataset, choose_source, load
from tinysmooth.graph import Array
from tinysmooth.kernels.ahead import wait_for_helper
from tinysmooth.kernels.thread_count import get_num_threads
from tinysmooth.tensor import Tensor
from tinysmooth.training import PRESETS, TrainConfig, decay_groups, evaluate
from tinysmooth.training.average import WeightAverage, average_share
from tinysmooth.training.mixing import shrink
from tinysmooth.training.serving import EpochBatches

__all__ = ["training_rows"]

_FEW_EPOCHS = 16  # in place of those of the preset quick, if no preset is asked for

Batch = tuple[Array, Array]


def training_rows(
    torch: Any = None,
    *,
    preset: str | None = None,
    root: str | None = None,
    seeds: Iterable[int] = (0,),
    **options: Any,
) -> list[dict[str, Any]]:
    """Train ``resnet9`` on both sides, once a seed.

    The accuracy that both must reach is the lower one of their best accuracies; the time to it is
    that of all steps up to the end of the first epoch which reached it, batches included and
    evaluation not. Which epoch that is, is partly luck, so the time of all epochs has a row too.

    Parameters
    ----------
    torch : module, optional
        PyTorch, if it is installed.
    preset : str, optional
        Whose recipe to follow to its end (``tinysmooth.training.PRESETS``); sixteen epochs of
        "quick" if left out.
    root : str, optional
        Folder of Imagenette.
    seeds : iterable of int
    **options
        Fields of ``TrainConfig`` in place of the preset's.

    Returns
    -------
    list of dict
        Two a seed, each with name, shape, threads, ours_s, torch_s, ratio, and the accuracies
        ours_accuracy and torch_accuracy at the end of that time.
    """
    recipe = {"epochs": _FEW_EPOCHS} if preset is None else {}
    config = TrainConfig(**{**PRESETS[preset or "quick"], **recipe, "root": root, **options})
    place, rows = choose_source(config.data, config.root), []
    for seed in seeds:
        common: dict[str, Any] = {"size": config.size, "seed": seed}
        train = load(place, per_class=config.per_class, split="train", **common)
        val = load(place, per_class=config.val_per_class, split="val", **common)
        judged = (shrink(val.images, config.judged_size), val.targets)
        model = models.resnet9(10, rng=np.random.default_rng(seed))
        sides: dict[str, Any] = {}
        if torch is not None:  # first: the twin takes over the weights that ours begins with
            sides["torch"] = _TorchSide(torch, model, config)
        sides = {"ours": _OurSide(model, config), **sides}
        curves = _race(sides, train, judged, config, seed)
        target = min(max(accuracy for _, accuracy in curve) for curve in curves.values())
        reached = {
            name: next(point for point in curve if point[1] >= target)
            for name, curve in curves.items()
        }
        ended = {name: curve[-1] for name, curve in curves.items()}
        for until, points in ((f"to {target:.1%}", reached), ("to the end", ended)):
            row: dict[str, Any] = {
                "name": f"resnet9, {train.source}, seed {seed}, {until}",
                "shape": f"{train.num_images} images, {config.epochs} epochs",
                "threads": get_num_threads(),
            }
            for name, (seconds, accuracy) in points.items():
                row[f"{name}_s"], row[f"{name}_accuracy"] = seconds, accuracy
            row["ratio"] = row["ours_s"] / row["torch_s"] if "torch" in points else None
            rows.append(row)
    return rows


def _race(
    sides: dict[str, _OurSide | _TorchSide],
    train: Dataset,
    val: Batch,
    config: TrainConfig,
    seed: int,
) -> dict[str, list[tuple[float, float]]]:
    """Train all sides in turn; return for each its seconds so far and accuracy, by epoch."""
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    served = {
        name: EpochBatches(
            train.images, train.targets, config.to_dict(), np.random.default_rng(seed)
        )
        for name in sides
    }
    count = len(served["ours"])
    optimiser = sides["ours"].optimiser
    schedule = optim.OneCycle(optimiser, config.lr, config.epochs * count, warmup=config.warmup)
    judge = models.resnet9(10, rng=np.random.default_rng(0))
    for epoch in tqdm(range(config.epochs), "epochs", leave=False, disable=None):
        for name, side in sides.items():
            wait_for_helper()  # whom ours has started in its first step
            started = time.perf_counter()
            for number, batch in enumerate(served[name].epoch(epoch), start=epoch * count):
                side.step(batch, schedule.lr_at(number), number + 1)
            seconds = time.perf_counter() - started + (curves[name][-1][0] if epoch else 0.0)
            # Both sides are judged by the same code, in batches of the size of a step's: larger
            # ones would take the memory that the next step finds waiting.
            judge.load_state_dict(side.state())
            accuracy = evaluate(
                judge, val, batch_size=config.batch_size, flip=config.test_flip
            ).accuracy
            curves[name].append((seconds, accuracy))
    return curves


class _OurSide:
    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.optimiser = optim.SGD(
            decay_groups(model, config.weight_decay),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
        )
        self.average = WeightAverage(model, config.ema)

    def step(self, batch: Batch, rate: float, steps: int) -> None:
        self.optimiser.lr = rate
        loss = losses.cross_entropy(
            self.model(Tensor(batch[0])), batch[1], label_smoothing=self.config.label_smoothing
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.average.update(self.model, steps)

    def state(self) -> dict[str, Array]:
        return self.average.state


class _TorchSide:
    """The twin with channels-last memory and the fused optimiser, the fastest way it has."""

    def __init__(self, torch: Any, model: nn.Module, config: TrainConfig) -> None:
        self.torch, self.config = torch, config
        self.model = torch_twin(torch, model).to(memory_format=torch.channels_last)
        self.model.train()
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.SGD(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            fused=True,
        )
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}

    def step(self, batch: Batch, rate: float, steps: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # A tensor over the same memory, which is channels-last already.
        images = self.torch.from_numpy(batch[0])
        loss = self.torch.nn.functional.cross_entropy(
            self.model(images),
            self.torch.from_numpy(batch[1]),
            label_smoothing=self.config.label_smoothing,
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        share = average_share(self.config.ema, steps)
        with self.torch.no_grad():
            for name, latest in self.model.state_dict().items():
                if latest.is_floating_point():
                    self.average[name].lerp_(latest, share)

    def state(self) -> dict[str, Array]:
        return {name: value.numpy() for name, value in self.average.items()}
