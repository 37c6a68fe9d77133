"""Batches: shuffled, augmented and normalised images with their targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_flag, check_int, check_real, check_rng, describe
from tinysmooth.data.luck import Luck, draw_luck

__all__ = ["IMAGE_MEAN", "IMAGE_STD", "Batches", "normalise"]

Array = np.ndarray[Any, Any]

#: Mean of ImageNet's pixels, red, green and blue, where white is 1. Source: the values that
#: torchvision's models are published with. Drawings are normalised alike, so that a model can be
#: moved from one to the other.
IMAGE_MEAN: tuple[float, ...] = (0.485, 0.456, 0.406)
#: Their standard deviation.
IMAGE_STD: tuple[float, ...] = (0.229, 0.224, 0.225)

# The same for one grey channel: the mean of the three.
_GREY_MEAN: tuple[float, ...] = (0.449,)
_GREY_STD: tuple[float, ...] = (0.226,)


def _constants(
    where: str, channels: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Array, Array]:
    """Return mean and standard deviation for each channel, checked, float64."""
    usual = {1: (_GREY_MEAN, _GREY_STD), 3: (IMAGE_MEAN, IMAGE_STD)}
    if (mean is None or std is None) and channels not in usual:
        raise ValueError(
            f"{where}: images has {channels} channels; expected 1 or 3, or mean and std given"
        )
    values = []
    for name, given, which in (("mean", mean, 0), ("std", std, 1)):
        if not isinstance(given, Sequence | np.ndarray | None) or isinstance(given, str):
            raise TypeError(f"{where}: {name} is {describe(given)}; expected a sequence of numbers")
        numbers = usual[channels][which] if given is None else tuple(given)
        if len(numbers) != channels:
            raise ValueError(
                f"{where}: {name} has {len(numbers)} numbers; expected one for each of the "
                f"{channels} channels"
            )
        for number in numbers:
            bound = float(np.finfo(np.float32).max)
            low = 0.0 if name == "std" else -bound
            check_real(where, name, number, low=low, high=bound, open_low=name == "std")
        values.append(np.array(numbers, np.float64))
    return values[0], values[1]


def _table(mean: Array, std: Array) -> Array:
    """Return what each of the 256 values of each channel becomes, float32 (C, 256)."""
    levels = np.arange(256) / 255.0
    return ((levels - mean[:, None]) / std[:, None]).astype(np.float32)


def normalise(
    images: Array, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> Array:
    """Turn pixels 0..255 into the numbers that models take: ``(pixel / 255 - mean) / std``.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, C, H, W)
        Pixels.
    mean, std : sequence of C floats, optional
        By default ImageNet's constants, `IMAGE_MEAN` and `IMAGE_STD`, or their mean for C = 1.

    Returns
    -------
    ndarray of float32, shape (N, C, H, W), channels-last in memory

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Examples
    --------
    >>> black = np.zeros((1, 3, 2, 2), np.uint8)
    >>> print(normalise(black)[0, :, 0, 0])
    [-2.117904  -2.0357144 -1.8044444]
    """
    pixels = _channels_last("normalise", images)
    table = _table(*_constants("normalise", pixels.shape[3], mean, std))
    return kernels.scale_pixels(pixels, table).transpose(0, 3, 1, 2)


def _channels_last(where: str, images: object) -> Array:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise TypeError(f"{where}: images is {describe(images)}; expected an array of uint8")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"{where}: images has shape {images.shape}; expected 4 axes (N, C, H, W), none empty"
        )
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


class Batches:
    """Pairs ``(images, targets)`` for an epoch; iterate again for the next one.

    Parameters
    ----------
    images : ndarray, shape (N, C, H, W) of uint8, or (N, ...) of float32 or float64
        Pixels are normalised, see `normalise`; float arrays are served as they are.
    targets : ndarray, shape (N,) of integers, or (N, K) class probabilities
        One for each image.
    batch_size : int, optional
        Images in a batch; the last batch of an epoch has what is left.
    shuffle : bool, optional
        Serve in a new random order every epoch.
    augment : bool, optional
        Move each image by up to ``padding`` pixels in each direction (what enters is the image's
        own reflection) and mirror every other one; needs uint8.
    rng : numpy.random.Generator, optional
        Makes all random choices; needed for ``shuffle`` and ``augment``.
    drop_last : bool, optional
        Leave out a last batch that is not full.
    padding : int, optional
        By default an eighth of the height, at least 1.
    flip : bool, optional
        Whether augmentation may mirror.
    zoom : float, optional
        Below 1, augmentation enlarges a random box of each image in place of moving the image:
        its area is ``zoom`` to 1 of the whole, its sides are as 3:4 to 4:3 (as the crops of
        Szegedy et al. 2015, section 6).
    colour : float, optional
        Above 0, augmentation also multiplies brightness, contrast and saturation of each image by
        factors between ``1 - colour`` and ``1 + colour``.
    out_size : int, optional
        Side of the images that are served, where it is not their own; needs ``zoom`` below 1. The
        boxes are taken from the images as they are, so little is lost that a box could show.
    mean, std : sequence of C floats, optional
        Constants of the normalisation, see `normalise`.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Notes
    -----
    All random numbers of an epoch are drawn when it begins (``iter``), in the caller's thread and
    in a fixed order: the order of the images, then for each image top, left and mirrored (with
    ``zoom``: area, sides, top, left and mirrored), then its gains with ``colour``. The state of
    ``rng`` before an epoch is therefore all there is to remember of the epochs before; see `epoch`
    for going on in the middle of one.

    Examples
    --------
    >>> from tinysmooth.data import load_drawn
    >>> images, targets = load_drawn(per_class=10, size=16)
    >>> batches = Batches(images, targets, 64, shuffle=True, rng=np.random.default_rng(0))
    >>> [(x.shape, x.dtype.name, len(y)) for x, y in batches]
    [((64, 3, 16, 16), 'float32', 64), ((36, 3, 16, 16), 'float32', 36)]
    """

    def __init__(
        self,
        images: Array,
        targets: Array,
        batch_size: int = 64,
        shuffle: bool = False,
        augment: bool = False,
        rng: np.random.Generator | None = None,
        *,
        drop_last: bool = False,
        padding: int | None = None,
        flip: bool = True,
        zoom: float = 1.0,
        colour: float = 0.0,
        out_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        where = "Batches"
        self.batch_size = check_int(where, "batch_size", batch_size, minimum=1)
        self.shuffle = check_flag(where, "shuffle", shuffle)
        self.augment = check_flag(where, "augment", augment)
        self.drop_last = check_flag(where, "drop_last", drop_last)
        self.flip = check_flag(where, "flip", flip)
        self.zoom = check_real(where, "zoom", zoom, low=0, high=1, open_low=True)
        self.colour = check_real(where, "colour", colour, low=0, high=1)
        self.out_size: tuple[int, int] | None = None
        if out_size is not None:
            side = check_int(where, "out_size", out_size, minimum=1)
            if not (self.augment and self.zoom < 1):
                raise ValueError(
                    f"{where}: out_size is {out_size} with augment={self.augment} and "
                    f"zoom={self.zoom:g}; expected augment=True and zoom below 1 beside it"
                )
            self.out_size = (side, side)
        if rng is None and (self.shuffle or self.augment):
            raise ValueError(
                f"{where}: rng is None; expected a numpy.random.Generator for shuffle and "
                "augment. Make one with numpy.random.default_rng(seed)"
            )
        self.rng = None if rng is None else check_rng(where, "rng", rng)
        self._table: Array | None = None
        self.padding = 0
        if isinstance(images, np.ndarray) and images.dtype in (np.float32, np.float64):
            if self.augment or mean is not None or std is not None:
                raise TypeError(
                    f"{where}: images is {describe(images)}; expected uint8 for augment, mean "
                    "and std"
                )
            if images.ndim < 2 or 0 in images.shape:
                raise ValueError(
                    f"{where}: images has shape {images.shape}; expected (N, ...), none empty"
                )
            self._images = images
        else:
            self._images = _channels_last(where, images)
            _, height, width, channels = self._images.shape
            self._table = _table(*_constants(where, channels, mean, std))
            if self.augment:
                usual = max(1, min(height, width) // 8)
                self.padding = check_int(
                    where, "padding", min(usual, height - 1, width - 1) if padding is None
                    else padding, minimum=0, maximum=min(height, width) - 1
                )  # fmt: skip
        self._targets = self._check_targets(targets)
        if self.drop_last and len(self._targets) < self.batch_size:
            raise ValueError(
                f"{where}: batch_size is {self.batch_size} for {len(self._targets)} images, and "
                "drop_last leaves no batch; expected at most as many"
            )

    def _check_targets(self, targets: object) -> Array:
        array = np.asarray(targets)
        wanted = f"expected {len(self._images)} class indices (N,) or probabilities (N, K)"
        if array.dtype.kind in "iu" and array.ndim == 1:
            array = array.astype(np.int64)
        elif not (array.dtype in (np.float32, np.float64) and array.ndim == 2):
            if array.dtype.kind not in "iuf" or array.dtype.kind == "f" and array.ndim == 1:
                raise TypeError(f"Batches: targets is {describe(array)}; {wanted}")
            raise ValueError(f"Batches: targets is {describe(array)}; {wanted}")
        if len(array) != len(self._images):
            raise ValueError(f"Batches: targets has {len(array)} rows; {wanted}")
        return array

    @property
    def num_images(self) -> int:
        """Number of images served in an epoch."""
        total = len(self._targets)
        return total - total % self.batch_size if self.drop_last else total

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-self.num_images // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        """Begin an epoch; the same as ``epoch()``."""
        return self.epoch()

    def epoch(self, skip: int = 0) -> Iterator[tuple[Array, Array]]:
        """Begin an epoch, leaving out its first ``skip`` batches.

        With ``rng`` in the state that it had before an epoch, this goes on in the middle of it:
        the batches that follow are the same, bit for bit.

        Parameters
        ----------
        skip : int, optional
            Batches that were served before.

        Returns
        -------
        iterator of (images, targets)
            Images of float32 (n, C, H, W), channels-last in memory; targets as given, int64 if
            they are class indices.

        Raises
        ------
        TypeError, ValueError
            If ``skip`` is not a number of batches.
        """
        first = check_int("epoch", "skip", skip, minimum=0, maximum=len(self))
        # Not inside the generator: its code would run, and draw, only at the first `next`.
        return self._serve(self._draw(), first)

    def _draw(self) -> Luck:
        return draw_luck(
            self.rng,
            self._images.shape,
            shuffle=self.shuffle,
            padding=self.padding if self.augment else None,
            flip=self.flip,
            zoom=self.zoom,
            colour=self.colour,
        )

    def _serve(self, luck: Luck, first: int) -> Iterator[tuple[Array, Array]]:
        for number in range(first, len(self)):
            part = slice(number * self.batch_size, (number + 1) * self.batch_size)
            rows = luck.order[part]
            images = self._images[rows]
            if self._table is not None:
                if self.augment and self.zoom < 1:
                    images = kernels.zoom_and_flip(
                        images, luck.boxes[part], luck.flips[part], self.out_size
                    )
                elif self.augment:
                    images = kernels.crop_and_flip(
                        images, luck.tops[part], luck.lefts[part], luck.flips[part], self.padding
                    )
                if self.augment and self.colour > 0:
                    images = kernels.recolour(images, luck.gains[part])
                images = kernels.scale_pixels(images, self._table).transpose(0, 3, 1, 2)
            yield images, self._targets[rows]
