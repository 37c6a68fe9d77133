"""What surrounds a drawn object: ground and sky, clutter before and behind it, light and noise."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from tinysmooth.data.drawn.canvas import Canvas, Colour, Dice, blend, shade

__all__ = ["SCENES", "finish", "occlude", "paint_scene"]

#: The places an object can stand in.
SCENES: tuple[str, ...] = ("water", "grass", "sky", "street", "room", "plain")

_SKIES = ((120, 170, 225), (165, 200, 235), (205, 215, 225), (90, 130, 195), (235, 190, 160))
_WATERS = ((50, 95, 115), (70, 120, 130), (40, 75, 90), (95, 125, 110))
_LAWNS = ((75, 125, 55), (100, 145, 65), (60, 100, 45), (135, 150, 80))
_ROADS = ((115, 115, 118), (90, 90, 95), (140, 135, 128))
_WALLS = ((190, 175, 150), (160, 165, 170), (130, 105, 85), (205, 205, 195), (95, 110, 125))
_FLOORS = ((125, 90, 60), (95, 80, 70), (165, 140, 110), (105, 105, 105))
_ANYTHING = ((180, 60, 50), (60, 90, 160), (210, 180, 70), (70, 120, 70), (230, 230, 225),
             (40, 40, 45), (150, 100, 60), (200, 120, 50), (120, 80, 130))  # fmt: skip


def paint_scene(dice: Dice, name: str, side: int, clutter: float) -> Canvas:
    """Return a canvas of ``side`` pixels painted with the scene ``name``.

    ``clutter`` in [0, 1] scales how much else stands about behind the object.
    """
    if name == "water":
        canvas = _cloudy(dice, side, dice.pick(_WATERS), 0.75, 16)
        _ripples(dice, canvas)
    elif name == "sky":
        canvas = _cloudy(dice, side, dice.pick(_SKIES), 1.25, 12)
        if dice.chance(0.4):
            _clouds(dice, canvas)
        if dice.chance(0.25):
            _hills(dice, canvas, dice.between(0.55, 0.95), dice.pick(_LAWNS))
    elif name == "grass":
        sky = dice.pick(_SKIES if dice.chance(0.6) else _LAWNS)
        canvas = _cloudy(dice, side, sky, 1.15, 12)
        if dice.chance(0.5):
            _hills(dice, canvas, dice.between(-0.4, 0.1), shade(dice.pick(_LAWNS), 0.7))
        _lawn(dice, canvas, dice.between(-1.0, 0.35))
    elif name == "street":
        canvas = _cloudy(dice, side, dice.pick(_SKIES), 1.1, 10)
        _houses(dice, canvas, clutter)
        canvas.box(-1.0, dice.between(0.25, 0.6), 1.0, 1.0, dice.pick(_ROADS))
    elif name == "room":
        canvas = _cloudy(dice, side, dice.pick(_WALLS), 0.9, 10)
        if dice.chance(0.7):
            top = dice.between(0.1, 0.7)
            canvas.box(-1.0, top, 1.0, 1.0, dice.pick(_FLOORS))
            canvas.box(-1.0, top, 1.0, top + 0.03, (40, 35, 30, 90))
    else:
        canvas = _cloudy(dice, side, dice.pick(_ANYTHING, 35), dice.between(0.7, 1.2), 14)
    for _ in range(dice.count(0, int(3 * clutter))):
        _thing(dice, canvas)
    return canvas


def occlude(dice: Dice, canvas: Canvas, clutter: float) -> None:
    """Put something before the object now and then: a post, leaves, a neighbour's edge."""
    canvas.pose()
    if not dice.chance(0.3 * clutter):
        return
    colour = dice.pick(_ANYTHING + _LAWNS, 25)
    kind = dice.count(0, 3)
    if kind == 0:
        x, lean = dice.between(-0.7, 0.7), dice.between(-0.3, 0.3)
        canvas.line([(x - lean, -1.1), (x + lean, 1.1)], dice.between(0.05, 0.16), colour)
    elif kind == 1:
        for _ in range(dice.count(3, 7)):
            x, y = dice.between(-1.0, 1.0), dice.between(-1.0, 1.0)
            canvas.disc(x, y, 0.14, 0.06, colour, dice.between(0.0, math.pi))
    elif kind == 2:
        edge, tilt = dice.between(0.35, 0.8), dice.between(-0.2, 0.2)
        sign = 1.0 if dice.chance(0.5) else -1.0
        canvas.polygon(
            [(sign * (edge + tilt), -1.1), (sign * 1.1, -1.1), (sign * 1.1, 1.1),
             (sign * (edge - tilt), 1.1)],
            colour,
        )  # fmt: skip
    else:
        edge = dice.between(0.45, 0.8)
        canvas.disc(dice.between(-0.6, 0.6), 1.35, 1.0, 1.35 - edge, colour)


def finish(dice: Dice, image: Image.Image, size: int, grey: bool, roughness: float) -> np.ndarray:
    """Reduce the canvas to ``size`` pixels and add light, a colour cast and sensor noise.

    Returns uint8 of shape (size, size, 1 or 3). ``roughness`` in [0, 1] scales all of it.
    """
    small = image.resize((size, size), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32)
    contrast = 1.0 - roughness * dice.between(-0.1, 0.3)
    cast = [contrast * (1.0 + roughness * dice.between(-0.09, 0.09)) for _ in range(3)]
    level = 128.0 * (1.0 - contrast) + roughness * dice.between(-20.0, 20.0)
    pixels = pixels * np.array(cast, np.float32) + np.float32(level)
    # Light falls off across the picture in a random direction.
    turn, depth = dice.between(0.0, 2.0 * math.pi), roughness * dice.between(0.0, 0.26)
    ramp = np.linspace(-depth, depth, size, dtype=np.float32)
    light = 1.0 + math.cos(turn) * ramp[None, :, None] + math.sin(turn) * ramp[:, None, None]
    pixels *= light.astype(np.float32)
    if grey:
        pixels = pixels @ np.array([[0.299], [0.587], [0.114]], np.float32)
    # Small pictures are cleaner: reducing a photograph averages its noise.
    amplitude = roughness * dice.between(3.0, 22.0) * min(1.0, size / 64.0) ** 0.5
    noise = dice.rng.integers(0, 256, size=(2, *pixels.shape), dtype=np.uint8)
    grain = noise[0].astype(np.float32) - noise[1]  # triangular, deviation 104
    pixels += grain * np.float32(amplitude / 104.0)
    np.clip(pixels, 0.0, 255.0, out=pixels)
    return pixels.astype(np.uint8)


def _cloudy(dice: Dice, side: int, colour: Colour, slope: float, unrest: int) -> Canvas:
    """Paint ``colour`` above, ``slope`` times as bright below, softly mottled."""
    low = np.array(shade(colour, slope), np.float32)
    high = np.array(colour, np.float32)
    ramp = np.linspace(0.0, 1.0, 6, dtype=np.float32)[:, None, None]
    grid = high + (low - high) * ramp
    grid = grid + dice.rng.integers(-unrest, unrest + 1, size=(6, 6, 1))
    tiny = Image.fromarray(np.clip(grid, 0, 255).astype(np.uint8))
    return Canvas(tiny.resize((side, side), Image.Resampling.BILINEAR))


def _ripples(dice: Dice, canvas: Canvas) -> None:
    for _ in range(dice.count(5, 11)):
        x, y, w = dice.between(-1.0, 0.8), dice.between(-1.0, 1.0), dice.between(0.1, 0.4)
        light = (235, 245, 250, 110) if dice.chance(0.7) else (20, 40, 55, 90)
        canvas.line([(x, y), (x + w / 2, y - 0.03), (x + w, y)], 0.025, light)


def _clouds(dice: Dice, canvas: Canvas) -> None:
    for _ in range(dice.count(1, 3)):
        x, y = dice.between(-1.0, 1.0), dice.between(-0.9, 0.6)
        for _ in range(3):
            r = dice.between(0.1, 0.25)
            canvas.disc(x, y, 1.6 * r, r, (250, 250, 252, 130))
            x, y = x + dice.between(0.1, 0.25), y + dice.between(-0.06, 0.06)


def _hills(dice: Dice, canvas: Canvas, horizon: float, colour: Colour) -> None:
    points = [(-1.0, 1.0), (-1.0, horizon)]
    points += [(x / 2.0, horizon + dice.between(-0.18, 0.12)) for x in range(-1, 2)]
    canvas.polygon([*points, (1.0, horizon), (1.0, 1.0)], colour)


def _lawn(dice: Dice, canvas: Canvas, horizon: float) -> None:
    colour = dice.pick(_LAWNS)
    canvas.box(-1.0, horizon, 1.0, 1.0, colour)
    for _ in range(26):
        x, y = dice.between(-1.0, 1.0), dice.between(horizon, 1.0)
        blade = shade(colour, dice.between(0.7, 1.25))
        canvas.line([(x, y), (x + dice.between(-0.06, 0.06), y - 0.14)], 0.025, blade)


def _houses(dice: Dice, canvas: Canvas, clutter: float) -> None:
    x = -1.1
    while x < 1.0 and clutter > 0.0:
        width, top = dice.between(0.3, 0.8), dice.between(-0.8, 0.2)
        wall = blend(dice.pick(_WALLS + _ANYTHING), (150, 155, 165), 0.45)
        canvas.box(x, top, x + width, 1.0, wall)
        for row in range(2):
            y = top + 0.12 + 0.25 * row
            canvas.box(x + 0.1, y, x + width - 0.1, y + 0.1, shade(wall, 0.7))
        x += width + dice.between(0.0, 0.4)


def _thing(dice: Dice, canvas: Canvas) -> None:
    """Something of no class: a ball, a box, a stick, a hoop."""
    x, y, r = dice.between(-1.0, 1.0), dice.between(-1.0, 1.0), dice.between(0.06, 0.26)
    colour, kind = dice.pick(_ANYTHING, 30), dice.count(0, 4)
    if kind == 0:
        canvas.disc(x, y, r, r * dice.between(0.5, 1.0), colour, dice.between(0.0, 3.0))
    elif kind == 1:
        canvas.box(x, y, x + r * dice.between(0.6, 2.0), y + r, colour)
    elif kind == 2:
        canvas.line([(x, y), (x + dice.between(-0.8, 0.8), y + dice.between(-0.8, 0.8))],
                    0.05, colour)  # fmt: skip
    elif kind == 3:
        canvas.arc(x, y, r, r, 0.0, dice.between(0.5, 1.0), 0.05, colour)
    else:
        canvas.polygon([(x, y - r), (x + r, y + r), (x - r, y + 0.6 * r)], colour)
