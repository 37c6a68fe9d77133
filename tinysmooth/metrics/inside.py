"""What goes on inside a network: sizes of weights, features before the last layer, sensitivities.

Images are float arrays as the network takes them (``tinysmooth.data.normalise``), (N, C, H, W).
Models are run in evaluation mode and left as they were.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinysmooth.checks import check_array, check_int, describe
from tinysmooth.metrics.gaps import logit_gap
from tinysmooth.metrics.scores import check_indices, check_range, check_targets
from tinysmooth.nn import Linear, Module, Sequential
from tinysmooth.ops import sum as total
from tinysmooth.primitive import no_grad
from tinysmooth.tensor import Tensor

__all__ = [
    "TemplatePlane",
    "WeightNorm",
    "one_pixel_changes",
    "penultimate_features",
    "saliency",
    "template_plane",
    "weight_norms",
]

Array = np.ndarray[Any, Any]
FloatArray = npt.NDArray[np.float64]


class WeightNorm(NamedTuple):
    """Size of one weight.

    Attributes
    ----------
    name : str
        As in ``model.state_dict()``.
    frobenius : float
        Root of the sum of squares.
    spectral : float
        Largest singular value of the weight as a matrix (out, everything else). For a Linear it is
        the most that the layer can lengthen a vector; for a convolution it is that for one patch.
    """

    name: str
    frobenius: float
    spectral: float


class TemplatePlane(NamedTuple):
    """Features seen in the plane through the templates of three classes.

    Attributes
    ----------
    points : ndarray of float64, (N, 2)
    templates : ndarray of float64, (3, 2)
        Rows of the last layer's weight in the same plane.
    """

    points: FloatArray
    templates: FloatArray


def weight_norms(model: Module) -> list[WeightNorm]:
    """Measure every weight with two axes or more, in the order of the model.

    Parameters
    ----------
    model : Module

    Returns
    -------
    list of WeightNorm

    Examples
    --------
    >>> from tinysmooth import nn
    >>> layer = nn.Linear(2, 2, bias=False)
    >>> layer.load_state_dict({"weight": [[3.0, 0.0], [0.0, 4.0]]})
    >>> [(norm.name, round(norm.frobenius, 6), round(norm.spectral, 6))
    ...  for norm in weight_norms(layer)]
    [('weight', 5.0, 4.0)]
    """
    norms = []
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            matrix = parameter.data.reshape(parameter.shape[0], -1).astype(np.float64)
            singular = np.linalg.svd(matrix, compute_uv=False)
            norms.append(WeightNorm(name, float(np.linalg.norm(singular)), float(singular[0])))
    return norms


def penultimate_features(model: Sequential, images: Array, *, batch_size: int = 250) -> Array:
    """Return what the last layer, a ``Linear``, is given.

    Parameters
    ----------
    model : Sequential
        Ending in ``Linear``, as the models of ``tinysmooth.models`` do.
    images : ndarray of float, (N, C, H, W)
    batch_size : int

    Returns
    -------
    ndarray of float, (N, features)

    Raises
    ------
    TypeError
        If the model is built otherwise.
    """
    where = "penultimate_features"
    if not isinstance(model, Sequential) or len(model) < 2 or not isinstance(model[-1], Linear):
        raise TypeError(f"{where}: model is {describe(model)}; expected a Sequential with a Linear "
                        "at its end")  # fmt: skip
    batch_size = check_int(where, "batch_size", batch_size, minimum=1)
    body = Sequential(*list(model)[:-1])
    with _evaluating(model), no_grad():
        parts = [
            body(Tensor(images[first : first + batch_size])).numpy().copy()
            for first in range(0, len(images), batch_size)
        ]
    return np.concatenate(parts)


def template_plane(
    features: npt.ArrayLike, weight: npt.ArrayLike, classes: Sequence[int]
) -> TemplatePlane:
    """Project features onto the plane through the templates of three classes.

    The template of a class is its row of the last layer's weight. With label smoothing the
    features of a class gather close to their template and equally far from the two others
    (Müller, Kornblith and Hinton 2019, section 3).

    Parameters
    ----------
    features : array of float, (N, D)
    weight : array of float, (K, D)
        Of the last layer.
    classes : sequence of three ints

    Returns
    -------
    TemplatePlane

    Raises
    ------
    ValueError, IndexError
        If the shapes do not fit, the classes are not three different ones, or their templates lie
        on one line.
    """
    where = "template_plane"
    rows = check_array(where, "features", features).astype(np.float64)
    matrix = check_array(where, "weight", weight).astype(np.float64)
    if rows.ndim != 2 or matrix.ndim != 2 or rows.shape[1] != matrix.shape[1]:
        raise ValueError(
            f"{where}: features has shape {rows.shape} and weight {matrix.shape}; expected (N, D) "
            "and (K, D)"
        )
    chosen = check_indices(where, "classes", classes, None)
    check_range(where, "classes", chosen, len(matrix))
    if len(set(chosen.tolist())) != 3 or len(chosen) != 3:
        raise ValueError(f"{where}: classes is {list(classes)}; expected three different ones")
    templates = matrix[chosen]
    sides = (templates[1:] - templates[0]).T
    basis, triangle = np.linalg.qr(sides)
    if np.abs(np.diag(triangle)).min() < 1e-9 * max(1e-30, float(np.abs(triangle).max())):
        raise ValueError(f"{where}: the templates of {list(classes)} lie on one line")
    return TemplatePlane((rows - templates[0]) @ basis, (templates - templates[0]) @ basis)


def saliency(model: Module, images: Array, targets: npt.ArrayLike) -> FloatArray:
    """How much the mean logit gap of each image changes with each of its pixels.

    Length of the gradient over the channels (Simonyan, Vedaldi and Zisserman 2014, with the gap
    in place of one logit).

    Parameters
    ----------
    model : Module
        From (N, C, H, W) to logits (N, K), K >= 2.
    images : ndarray of float, (N, C, H, W)
    targets : array of integers, (N,)

    Returns
    -------
    ndarray of float64, (N, H, W)

    Raises
    ------
    TypeError, ValueError, IndexError
        If the arguments do not fit.
    """
    x = Tensor(np.array(images), requires_grad=True)
    learnt = list(model.parameters())
    with _evaluating(model), _frozen(learnt):
        logits = model(x)
    rows, classes = logits.shape
    if classes < 2:
        raise ValueError(f"saliency: model gives {classes} logit an image; expected at least 2")
    wanted = check_targets("saliency", targets, rows, classes)
    # The mean gap as weights on the logits: 1 for the right one, -1/(K-1) for the others.
    weights = np.full((rows, classes), -1.0 / (classes - 1), logits.dtype)
    weights[np.arange(rows), wanted] = 1.0
    total(logits * weights).backward()
    assert x.grad is not None
    lengths: FloatArray = np.sqrt(np.sum(x.grad.astype(np.float64) ** 2, axis=1))
    return lengths


def one_pixel_changes(
    model: Module, image: Array, target: int, colour: npt.ArrayLike, *, every: int = 1
) -> FloatArray:
    """How much the mean logit gap changes when one pixel is painted, for each pixel.

    Parameters
    ----------
    model : Module
    image : ndarray of float, (C, H, W)
    target : int
    colour : array of float, (C,)
        What the pixel becomes, in the network's units.
    every : int
        Paint only each so-many-th pixel of each row and column: the cost is one evaluation each.

    Returns
    -------
    ndarray of float64, (ceil(H / every), ceil(W / every))
        Negative where painting makes the network less sure of the target.

    Raises
    ------
    TypeError, ValueError, IndexError
        If the arguments do not fit.
    """
    where = "one_pixel_changes"
    picture = check_array(where, "image", image)
    paint = check_array(where, "colour", colour).astype(picture.dtype)
    every = check_int(where, "every", every, minimum=1)
    if picture.ndim != 3 or paint.shape != picture.shape[:1]:
        raise ValueError(
            f"{where}: image has shape {picture.shape} and colour {paint.shape}; expected "
            "(C, H, W) and (C,)"
        )
    rows, columns = (range(0, length, every) for length in picture.shape[1:])
    gaps = []
    with _evaluating(model), no_grad():
        plain = model(Tensor(picture[None])).numpy()
        check_range(where, "target", check_indices(where, "target", [target], 1), plain.shape[1])
        for row in rows:  # a batch a row bounds the memory
            painted = np.repeat(picture[None], len(columns), axis=0)
            painted[np.arange(len(columns)), :, row, list(columns)] = paint
            logits = model(Tensor(painted)).numpy()
            gaps.append(logit_gap(logits, np.full(len(columns), target), reduction="none"))
    changes: FloatArray = np.stack(gaps) - float(logit_gap(plain, [target]))
    return changes


@contextlib.contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Switch to evaluation mode, and every module back to its own afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def _frozen(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Ask for no gradients of the parameters: they cost time and would add to what is there."""
    asked = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in asked:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad = True
