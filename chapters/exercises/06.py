"""Exercises of chapter 06, compile the loops.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 6

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def multiply_adds(x_shape, weight_shape, stride, padding):
    """Return how many multiply-adds the definition of a convolution needs, one integer.

    ``x_shape`` is (N, H, W, C), ``weight_shape`` (K, C, R, S); ``stride`` and ``padding`` are
    integers. Products with the zeros of the padding count.
    """
    raise NotImplementedError


def winograd_pair(d, g):
    """Return two neighbouring results of a filter of three weights, with four multiplications.

    ``d`` holds four numbers and ``g`` three; the results are d0 g0 + d1 g1 + d2 g2 and
    d1 g0 + d2 g1 + d3 g2, as a list. Multiply two numbers with ``*`` four times; adding,
    subtracting and dividing by a plain number are free.
    """
    raise NotImplementedError


def blocked_matmul(a, b, block):
    """Return ``a @ b`` for matrices (M, R) and (R, N), computed block by block.

    Use ``@`` on pieces of at most ``block`` x ``block`` only. Sizes need not be multiples of
    ``block``; the last pieces are smaller.
    """
    raise NotImplementedError


def whole_speedup(shares, factors):
    """Return how much faster the whole gets if each part gets faster by its factor.

    ``shares`` are the parts' shares of the time; what is missing to 1 stays as it was. A factor
    may be infinite.
    """
    raise NotImplementedError
