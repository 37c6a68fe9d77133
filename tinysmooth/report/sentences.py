"""The sentences of the report; every number in them is computed from the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from shlex import quote

import numpy as np

from tinysmooth import metrics
from tinysmooth.data import Dataset
from tinysmooth.report.inside import INSIDE, compose_inside
from tinysmooth.training import EpochRow, Evaluation, RunFolder, TrainConfig, TrainedRun
from tinysmooth.training.history import format_measured
from tinysmooth.training.mixing import epoch_size

__all__ = ["PICTURES", "compose", "compose_stopped"]

PICTURES = {
    "curves": "curves.png",
    "reliability": "reliability.png",
    "gaps": "gaps.png",
    "confusion": "confusion.png",
    "mistakes": "mistakes.png",
    **INSIDE,
}
"""Files that ``write_report`` adds to the run folder."""

_STAND_IN = (
    "**The images are drawings made by the program itself, a stand-in for Imagenette; they are not "
    "photographs.** The numbers show that everything works. They say nothing about how well the "
    "network would do on real images."
)


def compose(run: TrainedRun) -> str:
    """Return the report of a finished run, as Markdown."""
    sections = [
        _title(run.config),
        _on_data(run),
        "## Did it learn?",
        _on_accuracy(run.evaluation),
        f"![Loss, accuracy, calibration error and logit gap by epoch]({PICTURES['curves']})",
        _on_loss(run.config, run.history[-1]),
        "## Does it know how sure to be?",
        _on_calibration(run.evaluation),
        f"![Accuracy against confidence]({PICTURES['reliability']})",
        "## How far does the right logit stand out?",
        _on_gaps(run.config, run.history[-1], run.evaluation),
        f"![Histogram of logit gaps]({PICTURES['gaps']})",
        "## What does it confuse?",
        _on_confusions(run.evaluation, run.val.class_names),
        f"![Confusion matrix]({PICTURES['confusion']})",
        _on_mistakes(run.evaluation, run.val),
        f"![Most confident mistakes]({PICTURES['mistakes']})",
        *compose_inside(run),
        "## The run in numbers",
        _table(run.history),
        _on_files(run),
    ]
    return "\n\n".join(sections) + "\n"


def compose_stopped(
    folder: RunFolder, config: TrainConfig, rows: Sequence[EpochRow], stand_in: bool
) -> str:
    """Return the short report of a run that was stopped, as Markdown."""
    sections = [
        _title(config),
        f"This run was stopped after {len(rows)} of {config.epochs} epochs. Go on with",
        f"    tinysmooth train --resume {quote(str(folder.path))}",
    ]
    if stand_in:
        sections.append(_STAND_IN)
    judged = [row for row in rows if not math.isnan(row.val_loss)]
    if judged:
        last = judged[-1]
        sections += [
            f"After epoch {last.epoch} the validation accuracy was {_percent(last.val_accuracy)}, "
            f"the plain cross-entropy {last.val_loss:.3f} nats, the calibration error "
            f"{last.val_ece:.3f}.",
        ]
    if rows:
        sections.append(_table(rows))
    return "\n\n".join(sections) + "\n"


def _title(config: TrainConfig) -> str:
    return f"# {config.model} with label smoothing {config.label_smoothing:g}"


def _on_data(run: TrainedRun) -> str:
    config, seconds = run.config, sum(row.seconds for row in run.history)
    times = "once" if config.epochs == 1 else f"{config.epochs} times"
    text = (
        f"The network saw {run.num_train:,} training images of "
        f"{_sides(config)} pixels {times}, in batches of "
        f"{config.batch_size}, in {seconds / 60:.1f} minutes on {config.threads} "
        f"{'thread' if config.threads == 1 else 'threads'}. The {len(run.val.targets):,} "
        "validation images below took no part in that. Where they come from: "
        f"{run.val.description.rstrip('.')}."
    )
    if config.noise:
        text += f" On purpose, about {config.noise} % of the training labels are wrong."
    if run.val.is_stand_in:
        text += f"\n\n{_STAND_IN}"
    return text


def _on_accuracy(judged: Evaluation) -> str:
    count, share = len(judged.targets), judged.accuracy
    right = round(share * count)
    error = math.sqrt(share * (1.0 - share) / count)
    text = (
        f"It names {right:,} of {count:,} validation images correctly: **{_percent(share)}**, "
        f"where guessing would give {_percent(1 / judged.logits.shape[1])}. With so many images "
        f"the accuracy has a standard error of {100 * error:.1f} points"
    )
    # Two runs differ by chance by up to twice the root of the sum of both squares.
    return text + (
        ", so a difference of a point between two runs may be chance."
        if 2 * math.sqrt(2) * error > 0.01
        else "."
    )


def _on_loss(config: TrainConfig, last: EpochRow) -> str:
    if last.train_floor > 0:
        causes = ["label smoothing"] if config.label_smoothing > 0 else []
        causes += ["mixed images"] if config.mixup > 0 else []
        floor = (
            f"The training loss ended at {last.train_loss:.3f} nats. With {' and '.join(causes)} "
            "it cannot reach 0: the least possible is the mean entropy of the targets, "
            f"**{last.train_floor:.3f}** (dashed). It ended "
            f"{last.train_loss - last.train_floor:.3f} above that. "
        )
    else:
        floor = (
            f"The training loss ended at {last.train_loss:.3f} nats; without smoothing its floor "
            "is 0, which no finite logits reach. "
        )
    return (
        f"{floor}The validation loss is the plain cross-entropy with the hard labels, "
        f"{last.val_loss:.3f} nats, which can be compared across runs with different smoothing: "
        f"on (geometric) average the right class was given a probability of "
        f"{_percent(math.exp(-last.val_loss))}."
    )


def _on_calibration(judged: Evaluation) -> str:
    bins = metrics.reliability_bins(judged.probs, judged.targets)
    confidence = float(judged.probs.max(axis=1).mean())
    bias = bins.overconfidence
    if abs(bias) < 0.01:
        verdict = "On the whole the two agree within a point."
    elif bias > 0:
        verdict = (
            f"On the whole it is over-confident by {100 * bias:.1f} points: surer than it is right."
        )
    else:
        verdict = (
            f"On the whole it is under-confident by {-100 * bias:.1f} points: righter than it is "
            "sure."
        )
    return (
        f"Its mean confidence (the probability of the class it names) is {_percent(confidence)}, "
        f"its accuracy {_percent(judged.accuracy)}. {verdict} Grouped into 15 bins of equal width, "
        f"confidence and accuracy differ by {bins.expected_calibration_error:.3f} on average: the "
        "expected calibration error. Bars above the dashed diagonal are under-confident, bars "
        "below it over-confident."
    )


def _on_gaps(config: TrainConfig, last: EpochRow, judged: Evaluation) -> str:
    text = (
        "The gap of an image is the logit of its right class minus the mean of the others. On the "
        f"validation images it is {judged.mean_gap:.2f} on average; during the last epoch of "
        f"training it was {last.train_gap:.2f}. "
    )
    if config.label_smoothing == 0:
        text += (
            "Without label smoothing the loss has no resting gap: a larger one is always a little "
            "better, and only weight decay and the end of training stop it. "
        )
    else:
        text += (
            f"With label smoothing {config.label_smoothing:g} the gap of a perfectly fitted "
            f"training image{' that is mixed with no other' if config.mixup else ''} comes to "
            f"rest at **{last.resting_gap:.3f}** (dashed): beyond it the loss rises again. "
        )
        beyond = float(np.mean(judged.gaps > last.resting_gap))
        text += f"{_percent(beyond)} of the validation images lie beyond that. "
    return text + (
        "Against the *largest* other logit alone, the mean gap on the validation images is "
        f"{judged.top_gap:.2f}; an image's own is negative exactly when it is mistaken."
    )


def _on_confusions(judged: Evaluation, names: Sequence[str]) -> str:
    counts = metrics.confusion_matrix(judged.logits, judged.targets, num_classes=len(names))
    totals = counts.sum(axis=1)
    present = totals > 0
    share = np.where(present, np.diag(counts) / np.maximum(totals, 1), np.nan)
    best, worst = int(np.nanargmax(share)), int(np.nanargmin(share))
    off = counts.copy()
    np.fill_diagonal(off, 0)
    text = (
        f"Easiest is *{names[best]}* ({_percent(float(share[best]))} right), hardest "
        f"*{names[worst]}* ({_percent(float(share[worst]))})."
        if share[best] > share[worst]
        else f"All classes are equally easy ({_percent(float(share[best]))} right)."
    )
    if off.any():
        true, guess = np.unravel_index(int(off.argmax()), off.shape)
        text += (
            f" The most frequent confusion: {off[true, guess]} of {totals[true]} images of "
            f"*{names[int(true)]}* are taken for *{names[int(guess)]}*."
        )
    return text


def _on_mistakes(judged: Evaluation, val: Dataset) -> str:
    predicted = judged.probs.argmax(axis=1)
    wrong = predicted != judged.targets
    if not wrong.any():
        return "There is no mistake to show."
    sure = int(np.sum(wrong & (judged.probs.max(axis=1) > 0.9)))
    text = (
        f"Mistakes: {int(wrong.sum()):,}, and {sure} of them with a confidence above 90 %. "
        "The most confident ones are worth a look."
    )
    if not val.is_stand_in:
        text += " (These photographs are for your eyes only: do not publish the picture.)"
    return text


def _table(rows: Sequence[EpochRow]) -> str:
    lines = [
        "| epoch | train loss | floor | val loss (plain) | accuracy | calibration error "
        "| train gap | val gap | images/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.epoch} | {row.train_loss:.4f} | {row.train_floor:.4f} "
        f"| {format_measured(row.val_loss, '{:.4f}')} "
        f"| {format_measured(100 * row.val_accuracy, '{:.1f} %')} "
        f"| {format_measured(row.val_ece, '{:.3f}')} | {row.train_gap:.2f} "
        f"| {format_measured(row.val_gap, '{:.2f}')} "
        f"| {format_measured(row.images_per_second, '{:.0f}')} |"
        for row in rows
    ]
    return "\n".join(lines)


def _on_files(run: TrainedRun) -> str:
    return (
        "`config.json` holds the options, `history.csv` the table above in full precision, "
        "`weights.npz` the trained weights. To see what the network makes of your own images:\n\n"
        f"    tinysmooth predict PICTURE.jpg --weights {quote(str(run.folder.path))}"
    )


def _sides(config: TrainConfig) -> str:
    """Say how large the training images were."""
    end = config.judged_size
    start = epoch_size(0, config.epochs, config.start_size, end, config.size_step)
    final = f"{end} x {end}"
    return final if start == end else f"{start} x {start} to {final}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
