"""What every loader returns: images and targets, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np

from tinysmooth.checks import check_real, check_rng
from tinysmooth.data.classes import CLASS_NAMES

__all__ = ["SPLITS", "DataWarning", "Dataset", "holdout_split"]

#: The two parts every source has; tune on a `holdout_split` of the first.
SPLITS: tuple[str, ...] = ("train", "val")

Array = np.ndarray[Any, Any]


class DataWarning(UserWarning):
    """Something about the data on disk that the user should know; work goes on without it."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and their targets, read-only; unpacks as the pair ``images, targets``.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, C, H, W)
        C is 3 (red, green, blue) or 1 (grey). Logically NCHW and channels-last in memory:
        ``images.transpose(0, 2, 3, 1)`` is contiguous.
    targets : ndarray of int64, shape (N,)
        What to learn, noise included.
    clean_targets : ndarray of int64, shape (N,)
        The true classes; the same array as `targets` where the labels are not noisy.
    source : str
        ``"imagenette"`` or ``"drawn"``.
    split : str
        ``"train"`` or ``"val"``.
    noise : int
        Percentage of labels meant to be wrong.
    description : str
        One plain sentence for reports: what these images are.
    class_names : tuple of str
        The readable name of each class.

    Examples
    --------
    >>> from tinysmooth.data import load_drawn
    >>> images, targets = load_drawn(per_class=2, size=16)
    >>> images.shape, images.dtype.name, targets.shape, targets.dtype.name
    ((20, 3, 16, 16), 'uint8', (20,), 'int64')
    """

    images: Array
    targets: Array
    clean_targets: Array
    source: str
    split: str
    noise: int
    description: str
    class_names: tuple[str, ...] = field(default=CLASS_NAMES)

    def __post_init__(self) -> None:
        for array in (self.images, self.targets, self.clean_targets):
            array.flags.writeable = False

    @property
    def is_stand_in(self) -> bool:
        """Whether these are drawings standing in for photographs."""
        return self.source == "drawn"

    @property
    def num_images(self) -> int:
        """Number of images, N."""
        return len(self.targets)

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return len(self.class_names)

    def __iter__(self) -> Iterator[Array]:
        """Yield `images`, then `targets`: ``images, targets = dataset``."""
        yield self.images
        yield self.targets

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Array, ...]: ...
    def __getitem__(self, index: int | slice) -> Array | tuple[Array, ...]:
        """Index the pair ``(images, targets)``; see `select` for a part of the images."""
        return (self.images, self.targets)[index]

    def select(self, indices: Array) -> Dataset:
        """Return a copy of the images at ``indices``, in that order, as a data set."""
        nhwc = self.images.transpose(0, 2, 3, 1)[indices]
        return replace(
            self,
            images=np.ascontiguousarray(nhwc).transpose(0, 3, 1, 2),
            targets=self.targets[indices],
            clean_targets=self.clean_targets[indices],
        )

    def __repr__(self) -> str:
        """Name the source, the split and the shape."""
        return f"Dataset({self.source} {self.split}, images {self.images.shape})"


def holdout_split(
    dataset: Dataset, fraction: float, rng: np.random.Generator
) -> tuple[Dataset, Dataset]:
    """Split a data set in two, class by class: one part to train on, one to tune on.

    Whatever is tuned on the validation images is no longer measured by them; tune on the second
    part of a split of the training images instead.

    Parameters
    ----------
    dataset : Dataset
        Usually the training images.
    fraction : float
        Share of each true class that goes into the second part, rounded, at least one image.
    rng : numpy.random.Generator
        Decides which images; the same generator state gives the same split.

    Returns
    -------
    training, holdout : Dataset
        Every image is in exactly one of them, in its original order.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If ``fraction`` is not inside (0, 1), or a class has too few images to be in both parts.

    Examples
    --------
    >>> from tinysmooth.data import load_drawn
    >>> training, holdout = holdout_split(load_drawn(per_class=10, size=8), 0.2,
    ...                                   np.random.default_rng(0))
    >>> training.num_images, holdout.num_images
    (80, 20)
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"holdout_split: dataset is a {type(dataset).__name__}; expected a Dataset, as "
            "load_imagenette and load_drawn return it"
        )
    share = check_real(
        "holdout_split", "fraction", fraction, low=0, high=1, open_low=True, open_high=True
    )
    check_rng("holdout_split", "rng", rng)
    held = np.zeros(dataset.num_images, dtype=bool)
    for label in np.unique(dataset.clean_targets):
        members = np.flatnonzero(dataset.clean_targets == label)
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise ValueError(
                f"holdout_split: fraction is {share:g}, which takes all {len(members)} images of "
                f"class {dataset.class_names[label]!r}; expected some left on both sides"
            )
        held[rng.permutation(members)[:count]] = True
    return dataset.select(np.flatnonzero(~held)), dataset.select(np.flatnonzero(held))
