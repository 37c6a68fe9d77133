"""The moving parts of training: steps, epochs, saving, stopping."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

from tinysmooth import metrics
from tinysmooth.losses import cross_entropy, mixup_targets, resting_gap
from tinysmooth.nn import Module
from tinysmooth.optim import SGD, OneCycle
from tinysmooth.tensor import Tensor
from tinysmooth.training.average import WeightAverage
from tinysmooth.training.checkpoint import (
    Progress,
    generators_of,
    read_checkpoint,
    write_checkpoint,
)
from tinysmooth.training.evaluation import Evaluation, evaluate
from tinysmooth.training.groups import decay_groups
from tinysmooth.training.history import SPREAD, EpochRow, format_header, format_row
from tinysmooth.training.interrupt import (
    PoliteInterrupt,
    StopRequestedError,
    TrainingInterrupted,
)
from tinysmooth.training.mixing import least_loss, mix
from tinysmooth.training.serving import EpochBatches

__all__ = ["Callback", "DivergedError", "Loop"]

Array = np.ndarray[Any, Any]
Callback = Callable[[EpochRow, Module], None]

# Guessing evenly costs log K nats; a loss that stays this many times above it is running away.
_RUNAWAY = 10.0
_TREND = 0.9  # weight of the past in the running mean of the loss


class DivergedError(ArithmeticError):
    """The loss became NaN, infinite or absurdly large; the model holds the last good weights."""


class Loop:
    """The moving parts of one call of ``fit``.

    Attributes
    ----------
    callbacks : list of callable
        Called with the row and the model after every epoch.
    checkpoint : path or None
    save_every : float
        Seconds.
    talk : bool
        Whether to print.
    """

    callbacks: list[Callback]
    checkpoint: str | os.PathLike[str] | None
    save_every: float
    talk: bool

    def __init__(
        self,
        model: Module,
        images: Array,
        targets: Array,
        held_out: tuple[Array, Array] | None,
        settings: dict[str, Any],
        rng: np.random.Generator,
    ) -> None:
        self.model = model
        self.held_out, self.settings, self.rng = held_out, settings, rng
        self.epochs: int = settings["epochs"]
        self.batches = EpochBatches(images, targets, settings, rng)
        self.steps = len(self.batches)
        self.optimiser = SGD(
            decay_groups(model, settings["weight_decay"]),
            lr=settings["lr"],
            momentum=settings["momentum"],
            nesterov=settings["momentum"] > 0,
        )
        self.schedule = OneCycle(
            self.optimiser, settings["lr"], self.epochs * self.steps, warmup=settings["warmup"]
        )
        self.average = WeightAverage(model, settings["ema"]) if settings["ema"] else None
        self.generators = generators_of(model, rng)
        self.progress = Progress()
        self.good = model.state_dict()
        self.interrupt = PoliteInterrupt()
        self.talked = False
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Go back to where the checkpoint was written."""
        assert self.checkpoint is not None
        self.progress = read_checkpoint(
            self.checkpoint,
            self.model,
            self.optimiser,
            self.generators,
            self.settings,
            average=None if self.average is None else self.average.state,
        )
        self.good = self._weights_to_use()
        self.schedule.steps_done = self.progress.epoch * self.steps + self.progress.step

    def run(self) -> list[EpochRow]:
        """Train all epochs that are left."""
        if self.checkpoint is not None and not self.progress.history and not self.progress.step:
            self._save()
        with self.interrupt:
            while self.progress.epoch < self.epochs:
                started = time.perf_counter()
                speed = self._train_epoch()
                self._close_epoch(speed, started)
        self.model.load_state_dict(self._weights_to_use())
        return self.progress.history

    def _weights_to_use(self) -> dict[str, Array]:
        """Return what is evaluated and handed over: the average if there is one."""
        if self.average is None:
            return self.model.state_dict()
        return {name: array.copy() for name, array in self.average.state.items()}

    def _train_epoch(self) -> float:
        """Train to the end of the current epoch; return the images a second."""
        now, seen, started = self.progress, 0, time.perf_counter()
        self.model.train()
        title = f"epoch {now.epoch + 1}/{self.epochs}"
        with _progress_bar(self.steps, now.step, title, self.talk) as bar:
            for images, targets in self._batches():
                loss = self._step(images, targets)
                seen += len(targets)
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                bar.update()
                # Here and nowhere else in the loop: the generator stands before the next batch.
                self._stop_if_asked()
                if self.checkpoint and time.monotonic() - self.saved_at >= self.save_every:
                    self._save()
        return seen / (time.perf_counter() - started) if seen else math.nan

    def _batches(self) -> Iterator[tuple[Array, Array]]:
        """Begin an epoch, or go on in the middle of one.

        All luck of an epoch is drawn when it begins, so it follows from the generator's state at
        that moment. A resumed epoch begins from that state again, leaves out the batches that
        were done, and then every generator takes up its later state.
        """
        now = self.progress
        if not now.epoch_start:
            now.epoch_start = dict(self.rng.bit_generator.state)
            return self.batches.epoch(now.epoch)
        later = [generator.bit_generator.state for generator in self.generators]
        self.rng.bit_generator.state = now.epoch_start
        rest = self.batches.epoch(now.epoch, skip=now.step)
        for generator, state in zip(self.generators, later, strict=True):
            generator.bit_generator.state = state
        return rest

    def _step(self, images: Array, targets: Array) -> float:
        """One step of the optimiser; returns the loss."""
        now, epsilon = self.progress, self.settings["label_smoothing"]
        mixture = mix(images, self.settings["mixup"], self.rng) if self.settings["mixup"] else None
        with np.errstate(over="ignore", invalid="ignore"):  # a run-away loss is told below
            logits = self.model(Tensor(images if mixture is None else mixture.images))
            wanted = targets
            if mixture is not None:
                partners = targets[mixture.partners]
                wanted = mixup_targets(targets, partners, mixture.shares, logits.shape[1])
            loss = cross_entropy(logits, wanted, label_smoothing=epsilon)
            value = float(loss.item())
            scores = logits.numpy()
            now.num_classes = scores.shape[1]
            self._watch(value)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
        self.schedule.step()
        now.step += 1
        if self.average is not None:
            self.average.update(self.model, self.schedule.steps_done)
        now.images += len(targets)
        now.loss_sum += value * len(targets)
        now.floor_sum += least_loss(wanted, now.num_classes, epsilon) * len(targets)
        if now.num_classes > 1:
            now.gap_sum += float(metrics.logit_gap(scores, targets)) * len(targets)
        return value

    def _watch(self, loss: float) -> None:
        """Stop a run whose loss is not finite, or stays absurdly large."""
        now = self.progress
        now.trend = loss if now.trend is None else _TREND * now.trend + (1 - _TREND) * loss
        limit = _RUNAWAY * max(1.0, math.log(now.num_classes))
        if not math.isfinite(loss):
            self._diverge(f"the training loss became {loss}")
        if now.trend > limit and now.step + now.epoch * self.steps >= 10:
            self._diverge(
                f"the training loss stays near {now.trend:.3g}, above {limit:.3g} = "
                f"{_RUNAWAY:g} times that of guessing"
            )

    def _diverge(self, what: str) -> NoReturn:
        now = self.progress
        self.model.load_state_dict(self.good)
        raise DivergedError(
            f"fit: {what} in epoch {now.epoch + 1}, step {now.step + 1}, at learning rate "
            f"{self.optimiser.lr:.3g} (peak {self.settings['lr']:g}); expected a loss that falls. "
            f"Try lr = {self.settings['lr'] / 4:.2g}. The model holds its last good weights again"
        )

    def _close_epoch(self, speed: float, started: float) -> None:
        """Evaluate, note the row, save, tell everybody."""
        latest = self.model.state_dict()
        if not all(np.isfinite(array).all() for array in latest.values()):
            self._diverge("the weights became NaN or infinite")
        judged: Evaluation | None = None
        ended = self.progress.epoch + 1
        due = ended % self.settings["val_every"] == 0 or ended == self.epochs
        if self.held_out is not None and due:
            with self._averaged():
                judged = self._evaluate(self.held_out)
            self._stop_if_asked()
        row = self._row(judged, speed, started)
        self.progress.close_epoch(row)
        self.good = self._weights_to_use()
        self._save()
        if self.talk:
            if not self.talked:
                tqdm.write(format_header(row.train_floor, row.resting_gap))
            tqdm.write(format_row(row, self.epochs))
            self.talked = True
        with self._averaged():
            for callback in self.callbacks:
                callback(row, self.model)

    def _evaluate(self, held_out: tuple[Array, Array]) -> Evaluation | None:
        """Evaluate; None if a Ctrl-C came meanwhile."""
        flip = self.settings["test_flip"]
        try:
            return evaluate(self.model, held_out, flip=flip, between_batches=self._hurry)
        except StopRequestedError:
            return None

    def _hurry(self) -> None:
        if self.interrupt.requested:
            raise StopRequestedError

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the weights to use into the model, and its own back afterwards."""
        if self.average is None:
            yield
            return
        latest = self.model.state_dict()
        self.model.load_state_dict(self.average.state)
        try:
            yield
        finally:
            self.model.load_state_dict(latest)

    def _row(self, judged: Evaluation | None, speed: float, started: float) -> EpochRow:
        now, epsilon = self.progress, self.settings["label_smoothing"]
        several = now.num_classes > 1
        spread = [math.nan] * 5
        if judged and several:
            spread = np.percentile(judged.gaps, (5, 25, 50, 75, 95)).tolist()
        rest = float(resting_gap(now.num_classes, epsilon)) if several and epsilon else math.inf
        return EpochRow(
            epoch=now.epoch + 1,
            learning_rate=self.schedule.lr_at(self.schedule.steps_done - 1),
            train_loss=now.loss_sum / now.images,
            train_floor=now.floor_sum / now.images,
            train_gap=now.gap_sum / now.images if several else math.nan,
            resting_gap=rest,
            val_loss=judged.loss if judged else math.nan,
            val_accuracy=judged.accuracy if judged else math.nan,
            val_ece=judged.calibration_error if judged else math.nan,
            val_gap=judged.mean_gap if judged and several else math.nan,
            val_top_gap=judged.top_gap if judged and several else math.nan,
            images_per_second=speed,
            seconds=time.perf_counter() - started,
            **dict(zip(SPREAD, spread, strict=True)),
        )

    def _stop_if_asked(self) -> None:
        if not self.interrupt.requested:
            return
        now = self.progress
        self._save()
        self.model.load_state_dict(self._weights_to_use())
        kept = f"; saved in {str(self.checkpoint)!r}" if self.checkpoint else ""
        raise TrainingInterrupted(
            f"stopped in epoch {now.epoch + 1}, after step {now.step} of {self.steps}{kept}"
        )

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        try:
            write_checkpoint(
                self.checkpoint,
                self.model,
                self.optimiser,
                self.generators,
                self.progress,
                self.settings,
                average=None if self.average is None else self.average.state,
            )
        except FloatingPointError:
            self._diverge("the weights became NaN or infinite")
        self.saved_at = time.monotonic()


def _progress_bar(total: int, done: int, title: str, show: bool) -> Any:
    patience = 0.2 if sys.stderr.isatty() else 5.0
    return tqdm(
        total=total, initial=done, desc=title, leave=False, disable=not show, mininterval=patience
    )
