"""Which batches an epoch of training sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinysmooth.data import Batches
from tinysmooth.training.mixing import epoch_size, shrink

__all__ = ["EpochBatches"]

Array = np.ndarray[Any, Any]


class EpochBatches:
    """Shuffled and augmented batches, whose images may be smaller in the first epochs.

    Parameters
    ----------
    images, targets : ndarray
    settings : mapping
        ``epochs``, ``batch_size``, ``augment``, ``zoom`` and ``start_size`` as ``fit`` has them.
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        images: Array,
        targets: Array,
        settings: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> None:
        self.images, self.targets, self.settings, self.rng = images, targets, settings, rng
        self._size = self._full_size = images.shape[-1]
        self._batches = self._batch(images)

    def __len__(self) -> int:
        """Return the number of batches in an epoch, the same for all."""
        return len(self._batches)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[Array, Array]]:
        """Begin epoch ``epoch``, counted from 0, leaving out its first ``skip`` batches."""
        start = self.settings["start_size"]
        size = epoch_size(epoch, self.settings["epochs"], start, self._full_size)
        if size != self._size:  # one size is kept at a time: that bounds the memory
            full = size == self._full_size
            self._batches = self._batch(self.images if full else shrink(self.images, size))
            self._size = size
        return self._batches.epoch(skip)

    def _batch(self, images: Array) -> Batches:
        return Batches(
            images,
            self.targets,
            batch_size=self.settings["batch_size"],
            shuffle=True,
            augment=self.settings["augment"],
            zoom=self.settings["zoom"],
            rng=self.rng,
        )
