"""How good a model is on images it did not train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tinysmooth import metrics
from tinysmooth.checks import check_array, check_flag, check_int, describe
from tinysmooth.data import Batches
from tinysmooth.nn import Module
from tinysmooth.primitive import no_grad
from tinysmooth.tensor import Tensor

__all__ = ["Evaluation", "Images", "as_arrays", "evaluate", "predict_probs"]

Array = np.ndarray[Any, Any]


class Images(Protocol):
    """What has images (N, C, H, W) and targets (N,): a ``tinysmooth.data.Dataset``, for example."""

    @property
    def images(self) -> Array:
        """(N, C, H, W), uint8; or floats (N, ...), which are not normalised."""

    @property
    def targets(self) -> Array:
        """(N,), integers."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Logits on a set of images, and what they say.

    Attributes
    ----------
    logits : ndarray of float, (N, K)
    targets : ndarray of int64, (N,)
    """

    logits: Array
    targets: Array

    @cached_property
    def probs(self) -> npt.NDArray[np.float64]:
        """Softmax of the logits, (N, K) float64."""
        return metrics.softmax(self.logits)

    @cached_property
    def gaps(self) -> npt.NDArray[np.float64]:
        """Mean logit gap of every image, (N,)."""
        gaps: npt.NDArray[np.float64] = metrics.logit_gap(
            self.logits, self.targets, reduction="none"
        )
        return gaps

    @property
    def loss(self) -> float:
        """Plain cross-entropy, without smoothing, in nats."""
        return metrics.negative_log_likelihood(self.logits, self.targets)

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return metrics.accuracy(self.logits, self.targets)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over 15 bins."""
        return metrics.expected_calibration_error(self.probs, self.targets)

    @property
    def mean_gap(self) -> float:
        """Mean of ``gaps``: right logit minus the mean of the others."""
        return float(self.gaps.mean())

    @property
    def top_gap(self) -> float:
        """Mean of right logit minus the largest other one."""
        return float(metrics.logit_gap(self.logits, self.targets, against="top"))


def evaluate(
    model: Module,
    data: Images | tuple[Array, Array],
    *,
    batch_size: int = 250,
    flip: bool = False,
    between_batches: Callable[[], None] | None = None,
) -> Evaluation:
    """Run the model in evaluation mode over all images, in order, without augmentation.

    The model's mode is put back afterwards. No randomness is used.

    Parameters
    ----------
    model : Module
        From (N, C, H, W) to logits (N, K).
    data : Dataset or (images, targets)
        Images uint8 (N, C, H, W), which are normalised, or float (N, ...), which are taken as
        they are; targets integers (N,).
    batch_size : int
        Changes the memory needed, and the result by float32 rounding at most.
    flip : bool
        Take the mean of the logits of each image and of its mirror image; needs (N, C, H, W).
    between_batches : callable, optional
        Called before every batch; may raise to stop.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError, ValueError
        If the data do not fit.
    """
    if not isinstance(model, Module):
        raise TypeError(f"evaluate: model is {describe(model)}; expected a Module")
    images, targets = as_arrays("evaluate", "data", data)
    batch_size = check_int("evaluate", "batch_size", batch_size, minimum=1)
    if check_flag("evaluate", "flip", flip) and images.ndim != 4:
        raise ValueError(
            f"evaluate: flip is True for images of shape {images.shape}; expected (N, C, H, W)"
        )
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    logits = []
    try:
        with no_grad():
            for batch, _ in Batches(images, targets, batch_size=batch_size):
                if between_batches is not None:
                    between_batches()
                scores = model(Tensor(batch)).numpy().copy()
                if flip:
                    scores += model(Tensor(batch[..., ::-1])).numpy()
                    scores /= 2
                logits.append(scores)
    finally:
        for module, mode in modes:
            module.training = mode
    return Evaluation(np.concatenate(logits), targets)


def predict_probs(model: Module, images: Array, *, flip: bool = False) -> npt.NDArray[np.float64]:
    """Probabilities of the classes for images without targets.

    Parameters
    ----------
    model : Module
    images : ndarray of uint8, (N, C, H, W)
    flip : bool
        As ``evaluate``.

    Returns
    -------
    ndarray of float64, (N, K)

    Raises
    ------
    TypeError, ValueError
        If the images do not fit.
    """
    unknown = np.zeros(check_array("predict_probs", "images", images).shape[:1], np.int64)
    return evaluate(model, (images, unknown), flip=flip).probs


def as_arrays(where: str, name: str, data: Images | tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the images and targets of a dataset or a pair, with their shapes checked."""
    if isinstance(data, tuple | list):
        if len(data) != 2:
            raise ValueError(
                f"{where}: {name} has {len(data)} parts; expected two, (images, targets)"
            )
        images, targets = data
    elif hasattr(data, "images") and hasattr(data, "targets"):
        images, targets = data.images, data.targets
    else:
        raise TypeError(
            f"{where}: {name} is {describe(data)}; expected a Dataset or (images, targets)"
        )
    images = check_array(where, f"{name}.images", images)
    targets = check_array(where, f"{name}.targets", targets)
    pixels = images.dtype == np.uint8 and images.ndim == 4
    numbers = images.dtype in (np.float32, np.float64) and images.ndim >= 2
    if not (pixels or numbers) or len(images) == 0:
        raise ValueError(
            f"{where}: {name}.images is {describe(images)}; expected uint8 of shape "
            "(N, C, H, W), or float32 or float64 of shape (N, ...), with N >= 1"
        )
    if targets.dtype.kind not in "iu":
        raise TypeError(
            f"{where}: {name}.targets is {describe(targets)}; expected integer class indices"
        )
    if targets.shape != (len(images),):
        raise ValueError(
            f"{where}: {name}.targets has shape {targets.shape}; expected ({len(images)},), "
            "one an image"
        )
    return images, targets.astype(np.int64, copy=False)
