"""A small canvas: shapes in an object's own coordinates, posed, on a Pillow image.

An object is described in a frame of about [-1, 1] in both directions, x to the right and y
downwards. :meth:`Canvas.pose` says where that frame stands in the picture; the picture itself is
the frame before any pose. The canvas is larger than the finished image and is reduced at the end,
which smooths all edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["Canvas", "Colour", "Dice", "Point", "blend", "shade"]

Colour = tuple[int, ...]
Point = tuple[float, float]


def shade(colour: Colour, factor: float) -> Colour:
    """Return ``colour`` darkened (factor < 1) or lightened towards white (factor > 1)."""
    if factor <= 1.0:
        return tuple(int(channel * factor) for channel in colour)
    return blend(colour, (255, 255, 255), factor - 1.0)


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour ``share`` of the way from ``first`` to ``second``."""
    share = min(max(share, 0.0), 1.0)
    return tuple(int(a + (b - a) * share) for a, b in zip(first, second, strict=True))


class Dice:
    """The random choices of one picture, all taken from one generator.

    Uniform numbers are drawn in blocks: one call to NumPy costs as much as a hundred numbers.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._left: list[float] = []

    def roll(self) -> float:
        """Return a number in [0, 1)."""
        if not self._left:
            self._left = self.rng.random(128).tolist()
        return self._left.pop()

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * self.roll()

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.roll() < probability

    def count(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        return low + int(self.roll() * (high - low + 1))

    def pick(self, colours: Sequence[Colour], spread: float = 18.0) -> Colour:
        """Return one of ``colours``, each channel moved by at most ``spread``."""
        colour = colours[int(self.roll() * len(colours))]
        return tuple(
            min(max(int(channel + self.between(-spread, spread)), 0), 255) for channel in colour
        )


def _unit_circle(corners: int) -> list[Point]:
    turn = 2.0 * math.pi / corners
    return [(math.cos(turn * k), math.sin(turn * k)) for k in range(corners)]


_CIRCLES = {corners: _unit_circle(corners) for corners in (8, 12, 20, 32)}


class Canvas:
    """Shapes on a square picture of ``side`` pixels; see the module for the coordinates."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.side = image.width
        # Mode "RGBA" lets a fill with a fourth number be translucent (shadows, glass, smoke).
        self._draw = ImageDraw.Draw(image, "RGBA")
        self.pose()

    def pose(
        self,
        x: float = 0.0,
        y: float = 0.0,
        scale: float = 1.0,
        angle: float = 0.0,
        mirror: bool = False,
        squeeze: float = 1.0,
    ) -> None:
        """Place the object's frame: centre, size, rotation (radians, clockwise), mirrored or not.

        ``squeeze`` multiplies the object's height alone, before the rotation.
        """
        half = self.side / 2.0
        cos, sin = math.cos(angle) * scale * half, math.sin(angle) * scale * half
        flip = -1.0 if mirror else 1.0
        self._matrix = (flip * cos, -sin * squeeze, flip * sin, cos * squeeze)
        self._origin = (half * (1.0 + x), half * (1.0 + y))
        self._unit = scale * half

    def _place(self, points: Sequence[Point]) -> list[Point]:
        xx, xy, yx, yy = self._matrix
        left, top = self._origin
        return [(left + xx * x + xy * y, top + yx * x + yy * y) for x, y in points]

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._place(points), fill=fill)

    def disc(
        self, x: float, y: float, rx: float, ry: float, fill: Colour, angle: float = 0.0
    ) -> None:
        """Fill an ellipse with radii ``rx`` and ``ry``, turned by ``angle`` radians."""
        reach = max(rx, ry) * self._unit
        circle = _CIRCLES[8 if reach < 3 else 12 if reach < 8 else 20 if reach < 24 else 32]
        cos, sin = math.cos(angle), math.sin(angle)
        self.polygon(
            [(x + rx * cos * u - ry * sin * v, y + rx * sin * u + ry * cos * v) for u, v in circle],
            fill,
        )

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def round_box(
        self, left: float, top: float, right: float, bottom: float, radius: float, fill: Colour
    ) -> None:
        """Fill a rectangle with rounded corners."""
        r = radius
        centres = (
            (right - r, bottom - r, 0),
            (left + r, bottom - r, 1),
            (left + r, top + r, 2),
            (right - r, top + r, 3),
        )
        points = []
        for x, y, quarter in centres:
            for step in (0.0, 0.5, 1.0):
                turn = (quarter + step) * math.pi / 2.0
                points.append((x + r * math.cos(turn), y + r * math.sin(turn)))
        self.polygon(points, fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """Draw a polyline ``width`` wide, with round joints where it is thick."""
        pixels = max(1, round(width * self._unit))
        joint = "curve" if pixels > 3 and len(points) > 2 else None
        self._draw.line(self._place(points), fill=fill, width=pixels, joint=joint)

    def arc(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        start: float,
        stop: float,
        width: float,
        fill: Colour,
    ) -> None:
        """Draw part of an ellipse as a line; ``start`` and ``stop`` are in turns, clockwise."""
        steps = max(4, int(abs(stop - start) * 24))
        turns = [2.0 * math.pi * (start + (stop - start) * k / steps) for k in range(steps + 1)]
        self.line([(x + rx * math.cos(t), y + ry * math.sin(t)) for t in turns], width, fill)
