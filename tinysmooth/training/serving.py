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
        ``epochs``, ``batch_size``, ``augment``, ``zoom``, ``colour``, ``start_size``,
        ``end_size`` and ``size_step`` as ``fit`` has them.
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
        self._full_size = images.shape[-1]
        self._size = 0
        self._prepare(0)

    def __len__(self) -> int:
        """Return the number of batches in an epoch, the same for all."""
        return len(self._batches)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[Array, Array]]:
        """Begin epoch ``epoch``, counted from 0, leaving out its first ``skip`` batches."""
        self._prepare(epoch)
        return self._batches.epoch(skip)

    def _prepare(self, epoch: int) -> None:
        """Make the batches of the size that epoch ``epoch`` has."""
        now = self.settings
        end = now["end_size"] or self._full_size
        size = epoch_size(epoch, now["epochs"], now["start_size"], end, now["size_step"])
        if size == self._size:
            return
        self._size, full = size, size == self._full_size
        # Boxes are cut out of the whole images; what is only moved has to be made smaller before
        # (one size at a time: that bounds the memory).
        boxes = now["augment"] and now["zoom"] < 1
        self._batches = Batches(
            self.images if full or boxes else shrink(self.images, size),
            self.targets,
            batch_size=now["batch_size"],
            shuffle=True,
            augment=now["augment"],
            zoom=now["zoom"],
            colour=now["colour"],
            out_size=size if boxes and not full else None,
            rng=self.rng,
        )
