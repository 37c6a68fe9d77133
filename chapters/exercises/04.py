"""Exercises of chapter 04, record the graph.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 4

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def visiting_order(parents, output):
    """Return a list of the values in an order in which gradients may be sent back.

    ``parents`` is a dictionary from the name of each computed value to the list of those it was
    computed from (a name occurs twice in the list if it was used twice); leaves are not among its
    keys. The list begins with ``output``, holds every value that it depends on once, no others,
    and each one after all the values that use it. A chain of 10,000 values must work.
    """
    raise NotImplementedError


def unbroadcast(grad, shape):
    """Return ``grad``, an array, added up to ``shape``, the shape before broadcasting.

    Broadcasting puts axes in front and stretches axes of size 1.
    """
    raise NotImplementedError


def matmul_pullbacks(a, b, grad):
    """Return the gradients of ``a`` and of ``b``, a pair of arrays, given that of ``a @ b``.

    ``a`` and ``b`` are matrices, (M, R) and (R, N), or equally long stacks of them, (S, M, R) and
    (S, R, N).
    """
    raise NotImplementedError
