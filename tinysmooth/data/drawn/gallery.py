"""The drawn data set: which class is drawn how, where it stands, and many of them at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinysmooth.checks import check_flag, check_int, check_real, check_rng
from tinysmooth.data.classes import CLASS_NAMES, NUM_CLASSES
from tinysmooth.data.dataset import Dataset
from tinysmooth.data.drawn.canvas import Canvas, Dice
from tinysmooth.data.drawn.living import draw_springer, draw_tench
from tinysmooth.data.drawn.machines import (
    draw_cassette_player,
    draw_chain_saw,
    draw_french_horn,
    draw_garbage_truck,
    draw_gas_pump,
)
from tinysmooth.data.drawn.outdoors import draw_church, draw_golf_ball, draw_parachute
from tinysmooth.data.drawn.scenes import SCENES, finish, occlude, paint_scene
from tinysmooth.data.options import check_noise, check_split

__all__ = ["DESCRIPTION", "draw_image", "load_drawn"]

#: The sentence that every report on these images carries.
DESCRIPTION = (
    "drawn stand-in: pictures drawn by code that bear Imagenette's class names; not photographs"
)

# One row a class: its drawing, the scenes it is at home in, how far it is turned (radians).
_GALLERY: tuple[tuple[Callable[[Canvas, Dice], None], tuple[str, ...], float], ...] = (
    (draw_tench, ("water", "water", "grass", "plain"), 0.5),
    (draw_springer, ("grass", "grass", "room", "plain"), 0.1),
    (draw_cassette_player, ("room", "room", "plain"), 0.3),
    (draw_chain_saw, ("grass", "room", "plain"), 0.4),
    (draw_church, ("sky", "grass", "grass", "street"), 0.04),
    (draw_french_horn, ("room", "plain", "plain"), 0.5),
    (draw_garbage_truck, ("street", "street", "grass"), 0.06),
    (draw_gas_pump, ("street", "street", "grass", "plain"), 0.06),
    (draw_golf_ball, ("grass", "grass", "plain"), 0.15),
    (draw_parachute, ("sky", "sky", "plain"), 0.25),
)

# Pixels across that a canvas has at least: what is drawn must be wider than a pixel of it.
_SMALLEST_CANVAS = 96
_SPLIT_NUMBERS = {"train": 0, "val": 1}


def draw_image(
    target: int,
    size: int,
    rng: np.random.Generator,
    *,
    grey: bool = False,
    variation: float = 1.0,
) -> np.ndarray[Any, Any]:
    """Draw one picture.

    Parameters
    ----------
    target : int
        The class, an index into ``CLASS_NAMES``.
    size : int
        Pixels along each side, at least 8.
    rng : numpy.random.Generator
        Decides everything that varies.
    grey : bool, optional
        One channel instead of three.
    variation : float, optional
        From 0 (object in the middle, upright, at home, clean) to 1 (moved, turned, cluttered,
        badly lit, noisy).

    Returns
    -------
    ndarray of uint8, shape (size, size, 3), or (size, size, 1) if ``grey``

    Raises
    ------
    TypeError, ValueError, IndexError
        If an argument does not fit.
    """
    label = check_int("draw_image", "target", target)
    if not 0 <= label < NUM_CLASSES:
        raise IndexError(
            f"draw_image: target is {label}; expected a class index in [0, {NUM_CLASSES})"
        )
    return _draw(
        label,
        check_int("draw_image", "size", size, minimum=8),
        check_rng("draw_image", "rng", rng),
        check_flag("draw_image", "grey", grey),
        check_real("draw_image", "variation", variation, low=0, high=1),
    )


def _draw(
    target: int, size: int, rng: np.random.Generator, grey: bool, variation: float
) -> np.ndarray[Any, Any]:
    dice = Dice(rng)
    draw, home, reach = _GALLERY[target]
    # Most pictures are easy and a few are hard, as among photographs.
    variation *= 0.6 + 1.7 * dice.roll() ** 3
    # Sometimes the place says nothing about the class, or the wrong thing.
    places = SCENES if dice.chance(0.25 * variation) else home
    scene = places[dice.count(0, len(places) - 1)]
    side = size * max(2, math.ceil(_SMALLEST_CANVAS / size))
    canvas = paint_scene(dice, scene, side, variation)
    if dice.chance(0.35 * variation):
        _add_bystander(canvas, dice, target)
    canvas.pose(
        x=variation * dice.between(-0.24, 0.24),
        y=variation * dice.between(-0.2, 0.2),
        scale=0.85 + variation * dice.between(-0.3, 0.13),
        angle=variation * dice.between(-reach, reach),
        mirror=dice.chance(0.5),
        squeeze=1.0 + variation * dice.between(-0.13, 0.08),
    )
    draw(canvas, dice)
    occlude(dice, canvas, variation)
    return finish(dice, canvas.image, size, grey, variation)


def _add_bystander(canvas: Canvas, dice: Dice, target: int) -> None:
    """Put a smaller object of another class behind: a truck beside the pump is still a truck."""
    other = (target + dice.count(1, NUM_CLASSES - 1)) % NUM_CLASSES
    side = 1.0 if dice.chance(0.5) else -1.0
    canvas.pose(
        x=side * dice.between(0.35, 0.75),
        y=dice.between(-0.6, 0.6),
        scale=dice.between(0.3, 0.6),
        mirror=dice.chance(0.5),
    )
    _GALLERY[other][0](canvas, dice)


def load_drawn(
    per_class: int = 100,
    size: int = 64,
    split: str = "train",
    *,
    seed: int = 0,
    rng: np.random.Generator | None = None,
    grey: bool = False,
    noise: int = 0,
    variation: float = 1.0,
) -> Dataset:
    """Draw a data set of ten classes that bear Imagenette's names. No download, no files.

    Image i shows class ``i % 10``, and is the same picture however many are asked for: a larger
    set begins with the smaller one. The two splits never share a picture. About 0.7 milliseconds
    a picture at 64 pixels.

    Parameters
    ----------
    per_class : int, optional
        Pictures of each class, at least 1.
    size : int, optional
        Pixels along each side, at least 8.
    split : {"train", "val"}, optional
        Which of the two streams of pictures.
    seed : int, optional
        Another seed gives other pictures; not negative.
    rng : numpy.random.Generator, optional
        Draws the seed, in place of ``seed``.
    grey : bool, optional
        One channel instead of three.
    noise : {0, 1, 5, 25, 50}, optional
        Percent chance that a training label is wrong (any other class, equally often). An image
        that is mislabelled at 5 is mislabelled at 25 too. Validation labels are always clean.
    variation : float, optional
        From 0 (object in the middle, upright, clean) to 1 (moved, turned, cluttered, noisy).

    Returns
    -------
    Dataset
        Unpacks as ``images, targets``: uint8 (10 * per_class, 3 or 1, size, size) and int64.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Examples
    --------
    >>> images, targets = load_drawn(per_class=2, size=12, grey=True)
    >>> images.shape, targets[:12].tolist()
    ((20, 1, 12, 12), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    where = "load_drawn"
    count = check_int(where, "per_class", per_class, minimum=1)
    side = check_int(where, "size", size, minimum=8)
    part = check_split(where, split)
    number = check_int(where, "seed", seed, minimum=0)
    is_grey = check_flag(where, "grey", grey)
    percent = check_noise(where, noise)
    amount = check_real(where, "variation", variation, low=0, high=1)
    if rng is not None:
        number = int(check_rng(where, "rng", rng).integers(2**62))

    total = count * NUM_CLASSES
    images = np.empty((total, side, side, 1 if is_grey else 3), np.uint8)
    clean = np.arange(total, dtype=np.int64) % NUM_CLASSES
    targets = clean.copy()
    for i in range(total):
        dice = np.random.default_rng((number, _SPLIT_NUMBERS[part], i))
        label_luck, wrong_by = dice.random(), int(dice.integers(1, NUM_CLASSES))
        if part == "train" and 100.0 * label_luck < percent:
            targets[i] = (clean[i] + wrong_by) % NUM_CLASSES
        images[i] = _draw(int(clean[i]), side, dice, is_grey, amount)
    return Dataset(
        images=images.transpose(0, 3, 1, 2),
        targets=targets,
        clean_targets=clean,
        source="drawn",
        split=part,
        noise=percent if part == "train" else 0,
        description=DESCRIPTION,
        class_names=CLASS_NAMES,
    )
