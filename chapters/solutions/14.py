"""Solutions of chapter 14, train it for real: look only after trying."""

import numpy as np


def mean_gap(logits, targets):
    right = logits[np.arange(len(targets)), targets]
    others = (logits.sum(axis=1) - right) / (logits.shape[1] - 1)
    return (right - others).mean()


def calibration_error(probs, targets, num_bins=15):
    confidence = probs.max(axis=1)
    right = probs.argmax(axis=1) == targets
    # searchsorted counts the inner edges strictly below: an edge belongs to the bin below it.
    bins = np.searchsorted(np.arange(1, num_bins) / num_bins, confidence, side="left")
    error = 0.0
    for number in range(num_bins):
        inside = bins == number
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def paired_difference(first, second):
    difference = np.asarray(second) - np.asarray(first)
    return difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))
