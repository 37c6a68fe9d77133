"""Solutions of chapter 12, a resting place: look only after trying."""

import numpy as np


def gap_at_rest(num_classes, epsilon):
    if epsilon == 0:
        return np.inf
    return np.log1p(num_classes * (1.0 - epsilon) / epsilon)


def epsilon_for_gap(gap, num_classes):
    return num_classes / (np.expm1(gap) + num_classes)


def rest_with_prior(prior, target, epsilon):
    smoothed = epsilon * np.asarray(prior, dtype=np.float64)
    smoothed[target] += 1.0 - epsilon
    logits = np.log(smoothed)
    return logits - logits.mean()


def time_to_gap(gap, num_classes, epsilon):
    ceiling = 1.0 + num_classes * (1.0 - epsilon) / epsilon  # exp of the resting gap
    right = 1.0 - epsilon + epsilon / num_classes
    rise = np.log((ceiling - 1.0) / (ceiling - np.exp(gap))) / right
    return ((num_classes - 1) * gap / ceiling + rise) / epsilon
