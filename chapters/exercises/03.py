"""Exercises of chapter 03, output minus target.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 3

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def logit_gradient(logits, targets):
    """Return the gradient of the *mean* one-hot loss of a batch, shape (N, K).

    ``logits`` has shape (N, K) and ``targets`` holds N class numbers. Logits of a thousand must
    not overflow.
    """
    raise NotImplementedError


def softmax_pullback(probs, grad):
    """Send a gradient back through softmax: return ``J.T @ grad`` for each row, shape (N, K).

    ``probs`` is what softmax gave, shape (N, K); ``grad`` is the gradient of some loss with respect
    to it. J = diag(p) - p p^T is never built: K numbers a row are enough.
    """
    raise NotImplementedError


def hessian_times(probs, v):
    """Return the Hessian of the loss times ``v``, shape (K,), without building the Hessian.

    ``probs`` and ``v`` have shape (K,).
    """
    raise NotImplementedError


def numerical_gradient(function, point):
    """Return the slopes of ``function``, which takes an array and returns one number, at ``point``.

    ``point`` is an array of float64 of any shape and is not changed; the result has its shape. The
    numbers are of moderate size, and eight digits of the answer should be right.
    """
    raise NotImplementedError
