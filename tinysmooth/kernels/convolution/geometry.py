"""Sizes and shared names of the convolution rooms.

Everywhere below::

    x       (N, H, W, C)      images, channels last: the C numbers of a pixel lie side by side
    weight  (K, C, R, S)      PyTorch's order: K filters of R rows and S columns over C channels
    out     (N, Ho, Wo, K)    Ho = (H + 2 padding - R) // stride + 1, likewise Wo

    out[n, i, j, k] = sum over c, r, s of  x[n, i stride + r - padding, j stride + s - padding, c]
                                           * weight[k, c, r, s]

where x is 0 outside the image. ``stride`` and ``padding`` are pairs (vertical, horizontal). This is
the cross-correlation that deep learning calls convolution (Goodfellow, Bengio and Courville, *Deep
Learning*, 2016, section 9.1, equation 9.6).
"""

from __future__ import annotations

from typing import NamedTuple

Pair = tuple[int, int]
Shape = tuple[int, ...]


class Work(NamedTuple):
    """The shapes that decide what a convolution costs; `size` is that of its result.

    The gradient of images is a convolution as well, from the filters to the channels. `kept` is
    the share of the time of all windows that is left where some are cut along the border.
    """

    batch: int
    size: Pair
    channels: int
    filters: int
    kernel: Pair
    stride: Pair
    kept: float = 1.0

    @property
    def windows(self) -> int:
        """Number of windows: the pixels of the result."""
        return self.batch * self.size[0] * self.size[1]


def output_size(height: int, width: int, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Return (Ho, Wo).

    Examples
    --------
    >>> output_size(5, 8, (3, 3), (2, 2), (1, 1))
    (3, 4)
    """
    return (
        (height + 2 * padding[0] - kernel[0]) // stride[0] + 1,
        (width + 2 * padding[1] - kernel[1]) // stride[1] + 1,
    )


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple that is not less than `value`.

    Examples
    --------
    >>> round_up(17, 16)
    32
    """
    return -(-value // multiple) * multiple


PRODUCTS_PER_NANOSECOND = 50
"""Multiply-adds that one core does in a nanosecond, roughly: the unit of `plan_parts`."""
