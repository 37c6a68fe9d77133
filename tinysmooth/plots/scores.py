"""Pictures of scores on their way to probabilities: softmax, temperature, log-sum-exp, rounding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import MARKS, label_end, legend
from tinysmooth.plots.style import INK, LIMIT, MUTED, SERIES, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "sigmoid_curve",
    "smooth_maximum",
    "softmax_errors",
    "softmax_steps",
    "temperature_curves",
]


def softmax_steps(
    logits: npt.ArrayLike, exponentials: npt.ArrayLike, probs: npt.ArrayLike
) -> Figure:
    """Three rows of bars: scores, their exponentials, the exponentials divided by their sum.

    Parameters
    ----------
    logits, exponentials, probs : array of float, (K,)
    """
    steps = {
        "1  scores $z_k$": np.asarray(logits),
        "2  exponentials $e^{z_k}$": np.asarray(exponentials),
        "3  divided by their sum: $p_k$": np.asarray(probs),
    }
    figure, axes = new_figure(1, 3, width=9.0, height=3.0)
    for axis, (title, values) in zip(axes.flat, steps.items(), strict=True):
        classes = np.arange(values.size)
        bars = axis.bar(classes, values, 0.7, color=SERIES[3])
        axis.bar_label(bars, fmt="{:.3g}", fontsize=8.5, color=INK, padding=2)
        axis.axhline(0.0, color=MUTED, linewidth=0.8)
        axis.grid(False, axis="x")
        axis.margins(y=0.15)
        axis.set(title=title, xlabel="class k", xticks=classes)
    return figure


def temperature_curves(
    scales: npt.ArrayLike, probs: npt.ArrayLike, logits: npt.ArrayLike
) -> Figure:
    """Probability of each class as all logits are multiplied by one number.

    Parameters
    ----------
    scales : array of float, (M,)
        Positive factors, drawn on a logarithmic axis.
    probs : array of float, (M, K)
    logits : array of float, (K,)
        At scale 1, named in the legend.
    """
    scales, probs, logits = (np.asarray(each) for each in (scales, probs, logits))
    figure, axes = new_figure()
    axis = axes[0, 0]
    for k, logit in enumerate(logits):
        style = {"color": SERIES[k % len(SERIES)], "linestyle": MARKS[k % len(MARKS)]}
        axis.plot(scales, probs[:, k], linewidth=2.0, label=f"logit {logit:g}", **style)
    axis.axhline(1 / logits.size, color=LIMIT, linestyle="--", linewidth=1.4)
    label_end(axis, scales[-1], 1 / logits.size, "uniform, 1/K", LIMIT, xytext=(0, 8), ha="right")
    axis.axvline(1.0, color=MUTED, linewidth=1.0)
    axis.set(
        title="Multiplying the scores changes the certainty, never the order",
        xlabel="factor c on all logits (its inverse is the temperature)",
        ylabel="probability",
        xscale="log",
        ylim=(-0.02, 1.02),
    )
    legend(axis, loc="upper left")
    return figure


def sigmoid_curve(
    gaps: npt.ArrayLike, sigmoid: npt.ArrayLike, sample: npt.ArrayLike, softmax: npt.ArrayLike
) -> Figure:
    """Draw the sigmoid as a line, and first entries of two-class softmaxes as dots upon it.

    Parameters
    ----------
    gaps, sigmoid : array of float, (M,)
        The line.
    sample, softmax : array of float, (S,)
        Logit gaps of pairs of scores, and the first probability of each.
    """
    figure, axes = new_figure(height=3.6)
    axis = axes[0, 0]
    axis.plot(gaps, sigmoid, color=INK, linewidth=2.0, label=r"sigmoid $\sigma$(gap)")
    axis.plot(
        sample, softmax, "o", color=SERIES[2], markersize=6, label="softmax of two scores, $p_1$"
    )
    axis.set(
        title="Two classes: softmax is the sigmoid of the gap",
        xlabel="logit gap $z_1 - z_2$",
        ylabel="probability of class 1",
    )
    legend(axis)
    return figure


def smooth_maximum(
    x: npt.ArrayLike, hard: npt.ArrayLike, smooth: npt.ArrayLike, ceiling: npt.ArrayLike
) -> Figure:
    """Log-sum-exp of two scores against their maximum and the maximum + log 2.

    Parameters
    ----------
    x, hard, smooth, ceiling : array of float, (M,)
        The score that moves, max(x, 0), log(e^x + 1), and max(x, 0) + log 2.
    """
    x, smooth = np.asarray(x), np.asarray(smooth)
    figure, axes = new_figure(height=3.8)
    axis = axes[0, 0]
    axis.fill_between(x, np.asarray(hard), np.asarray(ceiling), color=LIMIT, alpha=0.12)
    axis.plot(x, ceiling, "--", color=LIMIT, linewidth=1.6, label=r"max + log 2")
    axis.plot(x, smooth, color=INK, linewidth=2.2, label="log-sum-exp")
    axis.plot(x, hard, "-.", color=LIMIT, linewidth=1.6, label="max")
    axis.set(
        title="Log-sum-exp is a maximum with its corner rounded off",
        xlabel="score x; the other score is 0",
        ylabel="nats",
    )
    legend(axis)
    return figure


def softmax_errors(
    shifts: npt.ArrayLike, errors: Mapping[str, npt.ArrayLike], overflow: float, unit: float
) -> Figure:
    """Relative error of several softmax formulas as a common shift of the logits grows.

    Parameters
    ----------
    shifts : array of float, (M,)
        Added to every logit; drawn on a logarithmic axis.
    errors : mapping of str to array of float, (M,)
        Largest relative error; NaN where the formula gave NaN, drawn as a cross at the top.
    overflow : float
        Where the exponential overflows, marked.
    unit : float
        Half the spacing of numbers next to 1, drawn as the limit of what can be had.
    """
    shifts = np.asarray(shifts)
    figure, axes = new_figure(height=4.4)
    axis = axes[0, 0]
    top = 1e-1
    for k, (name, values) in enumerate(errors.items()):
        values = np.asarray(values)
        colour = SERIES[k % len(SERIES)]
        axis.plot(shifts, values, MARKS[k] + "o", color=colour, markersize=4.5, label=name)
        lost = np.isnan(values)
        if lost.any():
            axis.plot(
                shifts[lost], np.full(lost.sum(), top), "x", color=colour, label=f"{name}: NaN"
            )
    axis.axvline(overflow, color=MUTED, linewidth=1.2)
    label_end(axis, overflow, 1e-2, f"exp overflows\nat {overflow:.2f}", INK)
    axis.axhline(unit, color=LIMIT, linestyle="--", linewidth=1.6, label="one rounding")
    axis.set(
        title="One formula on paper, three in float32",
        xlabel="shift added to every logit",
        ylabel="largest relative error",
        xscale="log",
        yscale="log",
    )
    legend(axis)
    return figure
