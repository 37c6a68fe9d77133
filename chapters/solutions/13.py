"""Solutions of chapter 13, a drop-in loss: look only after trying."""

import numpy as np


def weighted_mean_loss(log_probs, targets, weight, epsilon, ignore_index=-100):
    counts = targets != ignore_index
    if not counts.any():
        return np.nan
    log_probs, targets = log_probs[counts], targets[counts]
    rows = np.arange(len(targets))
    right = (1.0 - epsilon) * weight[targets] * -log_probs[rows, targets]
    spread = epsilon / len(weight) * -(log_probs @ weight)
    return float((right + spread).sum() / weight[targets].sum())


def weighted_optimum(target, weight, epsilon):
    smoothed = np.full(len(weight), epsilon / len(weight))
    smoothed[target] += 1.0 - epsilon
    pull = weight * smoothed
    return pull / pull.sum()


def to_all_classes(epsilon, num_classes):
    return epsilon * num_classes / (num_classes - 1)
