"""Exercises of chapter 01, from scores to probabilities.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 1

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def softmax(logits, axis=-1):
    """Return the softmax of ``logits`` along ``axis``, an array of the same shape.

    ``logits`` may have any number of axes and is not changed. Logits of plus or minus a thousand
    must not give NaN.
    """
    raise NotImplementedError


def recover_logits(probs):
    """Return the logits whose softmax is ``probs``, shape (K,), with a mean of 0.

    Probabilities fix logits up to a common shift only; the mean of 0 chooses one. All
    probabilities are positive.
    """
    raise NotImplementedError


def tempered_softmax(logits, temperature):
    """Return the softmax of ``logits / temperature``, shape (K,).

    The ends are included: at temperature ``np.inf`` all classes are equally likely, and at 0 all
    probability is on the largest logit, shared evenly if several are largest.
    """
    raise NotImplementedError
