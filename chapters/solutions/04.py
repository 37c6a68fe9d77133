"""Solutions of chapter 04, record the graph: look only after trying."""

import numpy as np


def visiting_order(parents, output):
    awaited = {output: 0}
    unseen = [output]
    while unseen:
        for parent in parents.get(unseen.pop(), []):
            if parent not in awaited:
                awaited[parent] = 0
                unseen.append(parent)
            awaited[parent] += 1
    order, ready = [], [output]
    while ready:
        value = ready.pop()
        order.append(value)
        for parent in parents.get(value, []):
            awaited[parent] -= 1
            if awaited[parent] == 0:
                ready.append(parent)
    return order


def unbroadcast(grad, shape):
    extra = grad.ndim - len(shape)
    grad = grad.sum(axis=tuple(range(extra)))
    stretched = tuple(i for i, size in enumerate(shape) if size == 1)
    return grad.sum(axis=stretched, keepdims=True)


def matmul_pullbacks(a, b, grad):
    # Turn the matrices, and leave the stack alone.
    return grad @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ grad
