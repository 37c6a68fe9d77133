"""The moving parts of training: steps, epochs, saving, stopping."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

from tinysmooth import metrics
from tinysmooth.losses import cross_entropy, mixup_targets
from tinysmooth.nn import Module
from tinysmooth.optim import SGD, OneCycle
from tinysmooth.tensor import Tensor
from tinysmooth.training.arguments import Callback, check_classes
from tinysmooth.training.average import WeightAverage
from tinysmooth.training.checkpoint import (
    Progress,
    generators_of,
    read_checkpoint,
    write_checkpoint,
)
from tinysmooth.training.divergence import (
    EARLY,
    TREND,
    DivergedError,
    advice,
    runaway_limit,
    too_large,
)
from tinysmooth.training.evaluation import Evaluation, evaluate
from tinysmooth.training.groups import decay_groups
from tinysmooth.training.history import EpochRow, format_header, format_row
from tinysmooth.training.interrupt import (
    PoliteInterrupt,
    StopRequestedError,
    TrainingInterrupted,
)
from tinysmooth.training.mixing import least_loss, mix
from tinysmooth.training.serving import EpochBatches
from tinysmooth.training.summary import epoch_row, progress_bar

__all__ = ["DivergedError", "Loop"]

Array = np.ndarray[Any, Any]


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
        self.targets, self.labels_known = targets, False
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
        if self._is_good():
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
        with progress_bar(self.steps, now.step, title, self.talk) as bar:
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
            if not self.labels_known and logits.ndim == 2:
                self._check_labels(logits.shape[1])
            wanted = targets
            if mixture is not None:
                partners = targets[mixture.partners]
                wanted = mixup_targets(targets, partners, mixture.shares, logits.shape[1])
            loss = cross_entropy(logits, wanted, label_smoothing=epsilon)
            value = float(loss.item())
            scores = logits.numpy()
            now.num_classes = scores.shape[1]
            self._watch(value, scores)
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

    def _check_labels(self, num_classes: int) -> None:
        try:
            check_classes(num_classes, self.targets, self.held_out)
        except ValueError:
            self.model.load_state_dict(self.good)  # BatchNorm has seen a batch
            raise
        self.labels_known = True

    def _watch(self, loss: float, scores: Array) -> None:
        """Stop a run whose loss is not finite, or stays absurdly large."""
        now = self.progress
        now.trend = loss if now.trend is None else TREND * now.trend + (1 - TREND) * loss
        if not math.isfinite(loss):
            self._diverge(f"the training loss became {loss}")
        if not np.isfinite(scores).all():
            self._diverge("the logits became NaN or infinite")
        if now.trend > self._limit() and now.step + now.epoch * self.steps >= EARLY:
            self._diverge(f"the training loss stays near {too_large(now.trend, now.num_classes)}")

    def _limit(self) -> float:
        return runaway_limit(self.progress.num_classes)

    def _is_good(self) -> bool:
        """Tell whether no loss is absurdly large where training stands, be it early."""
        now = self.progress
        losses = [now.trend or 0.0]
        if now.history:
            losses += [now.history[-1].train_loss, now.history[-1].val_loss]
        return not any(loss > self._limit() for loss in losses)  # NaN was not measured

    def _diverge(self, what: str) -> NoReturn:
        self.model.load_state_dict(self.good)
        where = (self.progress.epoch + 1, min(self.progress.step + 1, self.steps))
        raise DivergedError(advice(what, where, self.optimiser.lr, self.settings["lr"]))

    def _close_epoch(self, speed: float, started: float) -> None:
        """Evaluate, note the row, save, tell everybody."""
        latest = self.model.state_dict()
        if not all(np.isfinite(array).all() for array in latest.values()):
            self._diverge("the weights became NaN or infinite")
        now, judged = self.progress, None
        ended, mean = now.epoch + 1, now.loss_sum / now.images
        late = ended * self.steps >= EARLY or ended == self.epochs
        if mean > self._limit() and late:
            self._diverge(f"the mean training loss was {too_large(mean, now.num_classes)}")
        due = ended % self.settings["val_every"] == 0 or ended == self.epochs
        if self.held_out is not None and due:
            with self._averaged():
                judged = self._evaluate(self.held_out)
            if judged is not None and not np.isfinite(judged.logits).all():
                self._diverge("the logits of the validation images became NaN or infinite")
            self._stop_if_asked()
        row = epoch_row(
            now,
            judged,
            learning_rate=self.schedule.lr_at(self.schedule.steps_done - 1),
            label_smoothing=self.settings["label_smoothing"],
            images_per_second=speed,
            seconds=time.perf_counter() - started,
        )
        now.close_epoch(row)
        if self._is_good():
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
            with np.errstate(over="ignore", invalid="ignore"):  # told of by the logits
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
