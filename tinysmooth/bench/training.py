"""Whole trainings side by side: the time that each side takes to the same accuracy.

Both sides begin with the same weights and are served the same batches by our pipeline, with the
same recipe: one-cycle Nesterov SGD, weight decay on weights alone, label smoothing, growing images.
They take turns, epoch by epoch, so that whatever else the machine does meets both alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinysmooth import losses, models, nn, optim
from tinysmooth.bench.steps import torch_twin
from tinysmooth.data import Dataset, choose_source, load
from tinysmooth.graph import Array
from tinysmooth.kernels.threads import get_num_threads
from tinysmooth.tensor import Tensor
from tinysmooth.training import decay_groups, evaluate
from tinysmooth.training.mixing import shrink
from tinysmooth.training.serving import EpochBatches

__all__ = ["training_rows"]

RECIPE: dict[str, Any] = {
    "epochs": 16,
    "batch_size": 32,
    "augment": True,
    "zoom": 0.35,
    "colour": 0.0,
    "start_size": 32,
    "end_size": 48,
}
_LR, _MOMENTUM, _WEIGHT_DECAY, _SMOOTHING = 0.03, 0.9, 2e-3, 0.1

Batch = tuple[Array, Array]


def training_rows(
    torch: Any = None,
    *,
    source: str = "auto",
    per_class: int = 100,
    val_per_class: int = 100,
    size: int = 64,
    epochs: int | None = None,
    seeds: Iterable[int] = (0,),
) -> list[dict[str, Any]]:
    """Train ``resnet9`` on both sides, once a seed.

    The accuracy that both must reach is the lower one of their best accuracies; the time to it is
    that of all steps up to the end of the first epoch which reached it, batches included and
    evaluation not.

    Parameters
    ----------
    torch : module, optional
        PyTorch, if it is installed.
    source : {"auto", "imagenette", "drawn"}
        Where the images come from.
    per_class, val_per_class, size : int
        Images a class to train on and to judge by, and the side they are loaded with.
    epochs : int, optional
        In place of the recipe's.
    seeds : iterable of int

    Returns
    -------
    list of dict
        name, shape, threads, value (the accuracy, in per cent), ours_s, torch_s, ratio, and
        ours_accuracy and torch_accuracy after the last epoch.
    """
    settings = RECIPE | ({} if epochs is None else {"epochs": epochs})
    place, rows = choose_source(source), []
    for seed in seeds:
        train = load(place, size=size, per_class=per_class, split="train", seed=seed)
        val = load(place, size=size, per_class=val_per_class, split="val", seed=seed)
        judged = (shrink(val.images, settings["end_size"]), val.targets)
        model = models.resnet9(10, rng=np.random.default_rng(seed))
        sides: dict[str, Any] = {}
        if torch is not None:  # first: the twin takes over the weights that ours begins with
            sides["torch"] = _TorchSide(torch, model)
        sides = {"ours": _OurSide(model), **sides}
        curves = _race(sides, train, judged, settings, seed)
        target = min(max(accuracy for _, accuracy in curve) for curve in curves.values())
        spent = {
            name: next(seconds for seconds, accuracy in curve if accuracy >= target)
            for name, curve in curves.items()
        }
        row = {
            "name": f"resnet9, {train.source}, seed {seed}",
            "shape": f"{train.num_images} images, {settings['epochs']} epochs",
            "threads": get_num_threads(),
            "value": 100 * target,
            "unit": "% right",
        }
        for name, seconds in spent.items():
            row[f"{name}_s"] = seconds
            row[f"{name}_accuracy"] = curves[name][-1][1]
        row["ratio"] = spent["ours"] / spent["torch"] if "torch" in spent else None
        rows.append(row)
    return rows


def _race(
    sides: dict[str, Any], train: Dataset, val: Batch, settings: dict[str, Any], seed: int
) -> dict[str, list[tuple[float, float]]]:
    """Train all sides in turn; return for each its seconds so far and accuracy, by epoch."""
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    served = {
        name: EpochBatches(train.images, train.targets, settings, np.random.default_rng(seed))
        for name in sides
    }
    count = len(served["ours"])
    schedule = optim.OneCycle(sides["ours"].optimiser, _LR, settings["epochs"] * count)
    for epoch in range(settings["epochs"]):
        for name, side in sides.items():
            started = time.perf_counter()
            for number, batch in enumerate(served[name].epoch(epoch)):
                side.step(batch, schedule.lr_at(epoch * count + number))
            seconds = time.perf_counter() - started + (curves[name][-1][0] if epoch else 0.0)
            curves[name].append((seconds, evaluate(side.as_ours(), val).accuracy))
    return curves


class _OurSide:
    def __init__(self, model: nn.Module) -> None:
        self.model = model
        groups = decay_groups(model, _WEIGHT_DECAY)
        self.optimiser = optim.SGD(groups, lr=_LR, momentum=_MOMENTUM, nesterov=True)

    def step(self, batch: Batch, rate: float) -> None:
        self.optimiser.lr = rate
        loss = losses.cross_entropy(
            self.model(Tensor(batch[0])), batch[1], label_smoothing=_SMOOTHING
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def as_ours(self) -> nn.Module:
        return self.model


class _TorchSide:
    """The twin with channels-last memory and the fused optimiser, the fastest way it has."""

    def __init__(self, torch: Any, model: nn.Module) -> None:
        self.torch = torch
        self.model = torch_twin(torch, model).to(memory_format=torch.channels_last)
        self.model.train()
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": _WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.SGD(
            groups, lr=_LR, momentum=_MOMENTUM, nesterov=True, fused=True
        )
        self.judge = models.resnet9(10, rng=np.random.default_rng(0))

    def step(self, batch: Batch, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # A tensor over the same memory, which is channels-last already.
        images = self.torch.from_numpy(batch[0])
        loss = self.torch.nn.functional.cross_entropy(
            self.model(images), self.torch.from_numpy(batch[1]), label_smoothing=_SMOOTHING
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def as_ours(self) -> nn.Module:
        """Put the weights into a network of ours: both sides are judged by the same code."""
        self.judge.load_state_dict(
            {name: value.detach().numpy() for name, value in self.model.state_dict().items()}
        )
        return self.judge
