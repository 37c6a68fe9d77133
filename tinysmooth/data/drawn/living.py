"""The two animals: a tench and an English springer."""

from __future__ import annotations

import math

from tinysmooth.data.drawn.canvas import Canvas, Dice, blend, shade

__all__ = ["draw_springer", "draw_tench"]

_SCALES = ((110, 110, 50), (85, 95, 50), (140, 115, 55), (75, 80, 60), (160, 125, 60))
_LIVER = ((95, 50, 30), (70, 40, 28), (40, 35, 35), (120, 70, 40))
_COAT = ((238, 234, 226), (225, 215, 200), (245, 245, 242))


def draw_tench(canvas: Canvas, dice: Dice) -> None:
    """Draw a stout fish from the side: rounded fins, a dark back, a golden belly."""
    colour = dice.pick(_SCALES)
    fin = shade(colour, dice.between(0.5, 0.75))
    plump = dice.between(0.3, 0.42)
    wag = dice.between(-0.12, 0.12)
    canvas.polygon(
        [(-0.5, wag / 2), (-0.78, -0.3 + wag), (-0.97, -0.34 + wag), (-0.9, wag),
         (-0.97, 0.34 + wag), (-0.78, 0.3 + wag)],
        fin,
    )  # fmt: skip
    canvas.polygon(
        [(-0.3, -plump * 0.6), (-0.12, -plump - 0.24), (0.14, -plump - 0.2), (0.24, -plump * 0.7)],
        fin,
    )
    canvas.polygon([(-0.35, plump * 0.5), (-0.42, plump + 0.2), (-0.18, plump * 0.8)], fin)
    canvas.polygon([(0.12, plump * 0.7), (0.02, plump + 0.24), (0.3, plump * 0.7)], fin)
    back = _profile(plump, plump, wag)
    canvas.polygon(back, colour)
    belly = blend(colour, (225, 190, 110), dice.between(0.35, 0.7))
    canvas.polygon(_profile(-0.02, plump * 0.93, wag), belly)
    canvas.polygon(_profile(plump * 0.96, -plump * 0.45, wag), shade(colour, 0.72))
    light = (*shade(colour, 1.5), 150)
    for row in range(3):
        for k in range(6):
            x = -0.42 + 0.13 * k + 0.06 * (row % 2)
            canvas.disc(x, -0.1 + 0.11 * row, 0.022, 0.022, light)
    canvas.arc(0.62, 0.0, 0.2, plump * 0.8, 0.36, 0.64, 0.035, shade(colour, 0.55))
    canvas.polygon([(0.34, 0.06), (0.1, 0.22), (0.3, 0.2)], fin)
    canvas.disc(0.68, -0.07, 0.075, 0.075, (225, 140, 60))
    canvas.disc(0.69, -0.07, 0.042, 0.042, (15, 15, 15))
    canvas.line([(0.93, 0.04), (0.8, 0.09)], 0.03, shade(colour, 0.4))


def _profile(above: float, below: float, wag: float) -> list[tuple[float, float]]:
    """Outline of the body from the tail's root to the snout, along the back and home below."""
    steps = [k / 10.0 for k in range(11)]
    curve = [(-0.62 + 1.56 * t, math.sin(math.pi * t**0.8) ** 0.75, wag * (1 - t)) for t in steps]
    root = 0.09
    upper = [(x, -max(h * above, root if above > 0 else -9) + w / 2) for x, h, w in curve]
    lower = [(x, max(h * below, root if below > 0 else -9) + w / 2) for x, h, w in reversed(curve)]
    return upper + lower


def draw_springer(canvas: Canvas, dice: Dice) -> None:
    """Draw a white dog with dark patches and long ears: standing, or its head alone."""
    coat, patch = dice.pick(_COAT, 10), dice.pick(_LIVER, 12)
    if dice.chance(0.45):
        _portrait(canvas, dice, coat, patch)
    else:
        _standing(canvas, dice, coat, patch)


def _portrait(canvas: Canvas, dice: Dice, coat: tuple[int, ...], patch: tuple[int, ...]) -> None:
    ear = shade(patch, 0.85)
    canvas.polygon([(-0.5, 1.2), (-0.4, 0.3), (0.4, 0.3), (0.5, 1.2)], shade(coat, 0.9))
    for k in range(5):
        x = -0.3 + 0.15 * k
        canvas.disc(x, 0.8 + 0.1 * (k % 2), 0.05, 0.08, patch)
    canvas.disc(0.0, -0.2, 0.55, 0.58, patch)
    blaze = dice.between(0.1, 0.2)
    canvas.polygon([(-blaze * 0.6, -0.78), (blaze * 0.6, -0.78), (blaze * 1.5, 0.1),
                    (-blaze * 1.5, 0.1)], coat)  # fmt: skip
    droop = dice.between(0.0, 0.12)
    for side in (-1.0, 1.0):
        canvas.polygon(
            [(side * 0.36, -0.6), (side * 0.62, -0.55), (side * 0.86, 0.1 + droop),
             (side * 0.8, 0.48 + droop), (side * 0.58, 0.5 + droop), (side * 0.48, 0.0)],
            ear,
        )  # fmt: skip
        canvas.line([(side * 0.6, -0.4), (side * 0.7, 0.3)], 0.04, shade(patch, 1.25))
        canvas.disc(side * 0.25, -0.2, 0.1, 0.085, shade(patch, 0.6))
        canvas.disc(side * 0.25, -0.2, 0.065, 0.065, (25, 15, 10))
        canvas.disc(side * 0.25 + 0.02, -0.22, 0.022, 0.022, (250, 250, 250))
    canvas.disc(0.0, 0.22, 0.34, 0.3, coat)
    if dice.chance(0.5):
        canvas.disc(0.0, 0.5, 0.11, 0.17, (215, 95, 105))
    canvas.line([(-0.2, 0.36), (0.0, 0.3), (0.2, 0.36)], 0.035, shade(patch, 0.6))
    canvas.disc(0.0, 0.09, 0.14, 0.1, (30, 22, 22))
    for side in (-1.0, 1.0):
        canvas.disc(side * 0.17, 0.22, 0.015, 0.015, patch)


def _standing(canvas: Canvas, dice: Dice, coat: tuple[int, ...], patch: tuple[int, ...]) -> None:
    step = dice.between(-0.12, 0.12)
    far = shade(coat, 0.72)
    canvas.disc(0.0, 0.8, 0.75, 0.08, (0, 0, 0, 70))
    for x, swing in ((-0.42, -step), (0.36, step)):
        canvas.line([(x + 0.1, 0.2), (x + 0.1 + swing, 0.78)], 0.13, far)
    canvas.line([(-0.55, -0.05), (-0.75, -0.2 + step), (-0.82, -0.4 + step)], 0.09, patch)
    canvas.disc(-0.02, 0.1, 0.6, 0.28, coat)
    canvas.disc(-0.5, 0.1, 0.2, 0.24, coat)
    canvas.disc(-0.3 + step, -0.02, 0.3, 0.17, patch)
    canvas.disc(0.22, 0.02, 0.12, 0.1, patch)
    for _ in range(6):
        canvas.disc(dice.between(-0.5, 0.4), dice.between(0.0, 0.3), 0.025, 0.025, patch)
    for x, swing in ((-0.5, step), (0.38, -step)):
        canvas.polygon([(x - 0.1, 0.15), (x + 0.1, 0.15), (x + 0.05 + swing, 0.8),
                        (x - 0.07 + swing, 0.8)], coat)  # fmt: skip
        canvas.disc(x + 0.02 + swing, 0.8, 0.1, 0.05, coat)
    canvas.polygon([(0.3, -0.1), (0.5, 0.2), (0.72, -0.2), (0.5, -0.5)], coat)
    canvas.disc(0.6, -0.42, 0.25, 0.23, patch)
    canvas.polygon([(0.62, -0.5), (0.98, -0.38), (0.98, -0.24), (0.66, -0.2)], coat)
    canvas.disc(0.97, -0.34, 0.055, 0.055, (25, 20, 20))
    canvas.disc(0.7, -0.47, 0.04, 0.04, (15, 10, 10))
    canvas.polygon([(0.4, -0.56), (0.56, -0.52), (0.58, -0.05), (0.42, 0.06), (0.32, -0.1)],
                   shade(patch, 0.8))  # fmt: skip
