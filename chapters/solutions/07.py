"""Solutions of chapter 07, the maximum nobody reaches: look only after trying."""

import numpy as np


def gap_for_probability(prob, num_classes):
    return np.log(num_classes - 1) + np.log(prob) - np.log1p(-prob)


def confident_loss(gaps):
    logits = np.append(-np.asarray(gaps, dtype=np.float64), 0.0)  # the right logit is 0
    winner = int(np.argmax(logits))
    # The winner's own 1 stays out of the sum: it would drown the rest.
    rest = np.exp(np.delete(logits, winner) - logits[winner]).sum()
    return logits[winner] + np.log1p(rest)


def first_rounded_gap(dtype):
    one = dtype(1)
    low, high = 0.0, 60.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        if one / (one + np.exp(dtype(-middle))) == one:
            high = middle
        else:
            low = middle
    return high
