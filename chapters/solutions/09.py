"""Solutions of chapter 09, the price of changing your mind: look only after trying."""

import numpy as np


def steps_to_flip(logits, target, lr, epsilon=0.0):
    logits = np.array(logits, dtype=np.float64)
    num_classes = len(logits)
    steps = 0
    while np.argmax(logits) != target:
        shifted = np.exp(logits - logits.max())
        grad = shifted / shifted.sum() - epsilon / num_classes
        grad[target] -= 1.0 - epsilon
        logits -= lr * grad
        steps += 1
    return steps


def flip_bounds(gap, lr, epsilon=0.0):
    return gap / ((2.0 - epsilon) * lr), int(np.ceil(gap / ((1.0 - epsilon) * lr)))


def unlearning_time(gap):
    # dt = -(1 + exp(-D)) dD / 2, from D = gap down to 0.
    return (gap - np.expm1(-gap)) / 2.0
