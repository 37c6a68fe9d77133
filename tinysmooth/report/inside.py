"""The part of the report that looks inside the trained network: pictures and their sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinysmooth import metrics, plots
from tinysmooth.data import normalise
from tinysmooth.nn import Linear, Sequential
from tinysmooth.training import TrainedRun
from tinysmooth.training.history import columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["INSIDE", "compose_inside", "draw_inside", "pick_classes", "pick_images"]

Array = np.ndarray[Any, Any]

INSIDE = {
    "gap_bands": "gap-history.png",
    "weights": "weights.png",
    "filters": "filters.png",
    "clusters": "clusters.png",
    "maps": "sensitivity.png",
}
"""Files that ``write_report`` adds to the run folder."""

_MAP_SIDE = 16  # painted pixels in each direction: their square is the number of evaluations


def compose_inside(run: TrainedRun) -> list[str]:
    """Return the sections of the report, as Markdown."""
    norms = metrics.weight_norms(run.model)
    strongest = max(norms, key=lambda norm: norm.spectral)
    names = [run.val.class_names[label] for label in pick_classes(run)]
    last = run.history[-1]
    predicted = run.evaluation.logits.argmax(axis=1)
    alike = " (the two that are confused most often)" if any(predicted != run.val.targets) else ""
    return [
        "## What happened inside?",
        f"At the end, half of the validation images had a gap between {last.val_gap_p25:.2f} and "
        f"{last.val_gap_p75:.2f}. The bands show how they got there.",
        f"![Percentiles of the logit gaps by epoch]({INSIDE['gap_bands']})",
        f"Of the {len(norms)} weights with two axes or more, `{strongest.name}` can lengthen its "
        f"input the most, {strongest.spectral:.2f} times (its spectral norm; for a convolution, "
        "of one patch).",
        f"![Norms of all weights]({INSIDE['weights']})",
        f"![Filters of the first layer]({INSIDE['filters']})",
        f"Before the last layer, images of *{names[0]}*, *{names[1]}*{alike} and *{names[2]}* "
        "lie as below in the plane through their three templates, the rows of the last weight. "
        "Label smoothing draws the images of a class together, at equal distances from the other "
        "templates (Müller, Kornblith and Hinton 2019).",
        f"![Features of three classes]({INSIDE['clusters']})",
        "Below, the validation image with the most probable right answer, one near 50 %, and the "
        "one with the least probable right answer; where its gap hangs on the pixels (length of "
        "the gradient), and how the gap changes if one single pixel becomes white: blue where it "
        "grows, amber where it shrinks.",
        f"![Saliency and one-pixel changes]({INSIDE['maps']})",
    ]


def draw_inside(run: TrainedRun) -> dict[str, Figure]:
    """Draw the pictures of these sections, by their names in ``INSIDE``."""
    epsilon, last = run.config.label_smoothing, run.history[-1]
    norms = metrics.weight_norms(run.model)
    first = next(p.numpy() for p in run.model.parameters() if p.ndim == 4)
    return {
        "gap_bands": plots.gap_bands(
            columns(run.history),
            run.evaluation.gaps,
            label_smoothing=epsilon,
            resting_gap=last.resting_gap,
        ),
        "weights": plots.weight_norms(
            [norm.name for norm in norms],
            [norm.frobenius for norm in norms],
            [norm.spectral for norm in norms],
        ),
        "filters": plots.first_layer_filters(first),
        "clusters": _draw_clusters(run),
        "maps": _draw_maps(run),
    }


def pick_classes(run: TrainedRun) -> tuple[int, int, int]:
    """Choose the two classes that are confused most often, and the one that is named best."""
    judged, classes = run.evaluation, run.val.num_classes
    counts = metrics.confusion_matrix(judged.logits, judged.targets, num_classes=classes)
    mixed = counts + counts.T
    np.fill_diagonal(mixed, -1)
    first, second = (int(k) for k in np.unravel_index(int(mixed.argmax()), mixed.shape))
    right = np.diag(counts) / np.maximum(counts.sum(axis=1), 1)
    right[[first, second]] = -1
    return first, second, int(right.argmax())


def pick_images(run: TrainedRun) -> list[int]:
    """Choose the image of the surest right answer, one near 50 %, and that of the least sure.

    They are three, if there are as many.
    """
    judged = run.evaluation
    places = np.arange(len(judged.targets))
    share = judged.probs[places, judged.targets]
    surest = int(share.argmax())
    others = np.where(places == surest, np.inf, share)
    least = int(others.argmin())
    unsure = int(np.where(places == least, np.inf, np.abs(others - 0.5)).argmin())
    return [surest, unsure, least]


def _draw_clusters(run: TrainedRun) -> Figure:
    classes = pick_classes(run)
    assert isinstance(run.model, Sequential)
    last = run.model[-1]
    assert isinstance(last, Linear)
    chosen = np.flatnonzero(np.isin(run.val.targets, classes))
    images = normalise(run.val.select(chosen).images)
    features = metrics.penultimate_features(run.model, images)
    points, templates = metrics.template_plane(features, last.weight.numpy(), classes)
    order = {label: place for place, label in enumerate(classes)}
    return plots.template_clusters(
        points,
        [order[int(label)] for label in run.val.targets[chosen]],
        templates,
        [run.val.class_names[label] for label in classes],
        label_smoothing=run.config.label_smoothing,
    )


def _draw_maps(run: TrainedRun) -> Figure:
    chosen = pick_images(run)
    pictures, targets = run.val.images[chosen], run.val.targets[chosen]
    images = normalise(pictures)
    white = normalise(np.full((1, 3, 1, 1), 255, np.uint8)).reshape(3)
    every = max(1, images.shape[2] // _MAP_SIDE)
    changes = [
        metrics.one_pixel_changes(run.model, image, int(target), white, every=every)
        for image, target in zip(images, targets, strict=True)
    ]
    probs = run.evaluation.probs[chosen, targets]
    return plots.sensitivity_maps(
        pictures,
        {
            "saliency": metrics.saliency(run.model, images, targets),
            "one white pixel": np.stack(changes),
        },
        [
            f"{run.val.class_names[label]}, {100 * share:.0f} %"
            for label, share in zip(targets, probs, strict=True)
        ],
    )
