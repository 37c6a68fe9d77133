"""Solutions of chapter 08, the slow march to infinity: look only after trying."""

import numpy as np


def descend(logits, target, lr, steps):
    logits = np.array(logits, dtype=np.float64)
    for _ in range(steps):
        shifted = np.exp(logits - logits.max())
        grad = shifted / shifted.sum()
        grad[target] -= 1.0
        logits -= lr * grad
    return logits


def time_to_probability(prob, num_classes):
    others = num_classes - 1
    gap = np.log(others * prob / (1.0 - prob))
    return (np.exp(gap) - 1.0 + others * gap) / num_classes


def gap_at_time(time, num_classes):
    # The gap is at most log(1 + K t), because (K - 1) gap is not negative.
    low, high = 0.0, np.log1p(num_classes * time)
    for _ in range(100):
        middle = (low + high) / 2
        passed = np.expm1(middle) + (num_classes - 1) * middle > num_classes * time
        low, high = (low, middle) if passed else (middle, high)
    return (low + high) / 2
