"""What the rules of a batch norm share: one sweep over its images gives all their gradients."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from tinysmooth import kernels
from tinysmooth.graph import Array, Pullback, fresh
from tinysmooth.ops.spatial import Convolution, channels_first, channels_last

__all__ = ["Shared", "Sweep"]

Pair = tuple[int, int]
Numbers = tuple[Array, Array, Array, Array, Array, Array, bool, bool, bool, Array | None]


class Shared:
    """What several rules make of the gradient of the result, made for the first that asks.

    Parameters
    ----------
    make : callable
        From the gradient to what the rules share. A graph that is kept may be walked again with
        another gradient, for which it is called again.
    """

    def __init__(self, make: Callable[[Array], Array]) -> None:
        self._make = make
        self._last: tuple[weakref.ref[Array], Array] | None = None

    def __call__(self, grad: Array) -> Array:
        """Return what was made of this gradient."""
        last = self._last
        if last is None or last[0]() is not grad:
            last = self._last = weakref.ref(grad), self._make(grad)
        return last[1]


class Sweep:
    """The gradients of a batch norm by name; the first rule that asks pays for all.

    They hold for one gradient of the result. A graph that is kept may be walked again with another:
    whatever nobody has asked for by then is forgotten.

    Parameters
    ----------
    numbers : tuple
        The arguments of ``kernels.batch_norm_backward`` behind the gradient.
    users : sequence of str
        Names under which the gradient of the images is asked for, once each.
    """

    def __init__(self, numbers: Numbers, users: Sequence[str]) -> None:
        self._numbers, self._users = numbers, users
        self._found: dict[str, Array] = {}
        self._grad: weakref.ref[Array] | None = None

    def __call__(self, grad: Array, which: str) -> Array:
        """Return ``"weight"``, ``"bias"``, or for a user the gradient of the images, NHWC.

        The ``"constant"`` is once more that of the bias.
        """
        self._begin(grad)
        if which not in self._found:
            dx, dweight, dbias = kernels.batch_norm_backward(_images(grad), *self._numbers)
            self._found = dict.fromkeys(self._users, dx)
            self._keep(dweight, dbias)
        return self._found.pop(which)

    @property
    def scale(self) -> Array:
        """By which the batch norm multiplies each channel."""
        return self._numbers[1]

    def rules(self, convolution: Convolution) -> tuple[Pullback, Pullback]:
        """Return the rules of the convolution that gave the images, for its images and filters.

        They are the users ``"x"`` and ``"filters"``.
        """
        to_images, _ = convolution.gradients()
        images, filters, stride, padding = convolution
        shape = filters.shape
        return (
            fresh(lambda grad: channels_first(to_images(self(grad, "x")))),
            fresh(lambda grad: self.filters(grad, images, shape, stride, padding)),
        )

    def filters(
        self, grad: Array, images: Array, shape: tuple[int, ...], stride: Pair, padding: Pair
    ) -> Array:
        """Return the gradient of the filters that gave the images, as the user ``"filters"``.

        If that of the images was asked for before, it serves. Else, for a first layer, whose
        images need none, it need not be written out.
        """
        self._begin(grad)
        if "filters" in self._found:
            dx = self._found.pop("filters")
            return kernels.conv2d_backward_weight(images, dx, shape, stride, padding)
        gradient, dweight, dbias = kernels.conv2d_block_backward_weight(
            _images(grad), *self._numbers, images, shape, stride, padding
        )
        self._keep(dweight, dbias)
        return gradient

    def _keep(self, dweight: Array, dbias: Array) -> None:
        self._found |= {"weight": dweight, "bias": dbias, "constant": dbias}

    def _begin(self, grad: Array) -> None:
        if self._grad is None or self._grad() is not grad:
            self._found, self._grad = {}, weakref.ref(grad)


def _images(grad: Array) -> Array:
    """Return a gradient of images, or of features, (N, H, W, C)."""
    return channels_last(grad if grad.ndim == 4 else grad[:, :, None, None])
