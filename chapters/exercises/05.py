"""Exercises of chapter 05, convolve images.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 5

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def convolve(x, weight, stride, padding):
    """Return the convolution of images ``x`` (N, C, H, W) with filters ``weight`` (K, C, R, S).

    ``stride`` and ``padding`` are integers for both directions; the padding is zeros. The result
    has shape (N, K, (H + 2 padding - R) // stride + 1, ...).
    """
    raise NotImplementedError


def convolve_pullback(grad, weight, input_shape, stride, padding):
    """Return the gradient of the images, shape ``input_shape``, given that of the result.

    It is the adjoint of ``convolve`` for fixed filters.
    """
    raise NotImplementedError


def max_pool_pullback(x, grad):
    """Return the gradient of ``x`` (N, C, H, W), given that of its 2 x 2 max-pooling with stride 2.

    H and W are even. At a tie the first of the largest numbers gets the gradient, in reading
    order: left to right, then top to bottom.
    """
    raise NotImplementedError


def batch_norm_pullback(x, gamma, grad, eps):
    """Return the gradient of ``x``, shape (N, C), given that of its batch normalisation.

    The forward was ``gamma * (x - mean) / sqrt(variance + eps) + beta``, mean and variance taken
    over the N rows of each column (the variance as the mean of squares, divided by N).
    """
    raise NotImplementedError
