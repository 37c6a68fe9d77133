"""Solutions of chapter 15, how to read a paper: look only after trying."""

import numpy as np


def two_losses(logits, target, prior, epsilon):
    shifted = logits - logits.max()
    surprise = np.log(np.exp(shifted).sum()) - shifted
    return (1.0 - epsilon) * surprise[target], epsilon * (prior * surprise).sum()


def standard_error(accuracy, count):
    return np.sqrt(accuracy * (1.0 - accuracy) / count)


def severest(verdicts):
    order = ["not tested here", "holds", "holds under a condition", "fails as stated"]
    return max(verdicts, key=order.index, default="not on record")
