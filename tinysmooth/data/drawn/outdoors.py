"""The things under the open sky: church, golf ball and parachute."""

from __future__ import annotations

import math

from tinysmooth.data.drawn.canvas import Canvas, Dice, blend, shade

__all__ = ["draw_church", "draw_golf_ball", "draw_parachute"]

_STONES = ((205, 190, 165), (235, 232, 225), (150, 145, 140), (165, 95, 70), (190, 165, 120))
_ROOFS = ((120, 60, 50), (75, 80, 90), (95, 70, 55), (60, 95, 80))
_CLOTHS = ((210, 50, 45), (240, 240, 238), (50, 90, 175), (240, 190, 50), (60, 140, 80),
           (225, 120, 40), (110, 60, 130), (40, 45, 60))  # fmt: skip
_BALLS = ((244, 244, 242), (250, 248, 240), (235, 232, 220), (240, 230, 130), (240, 170, 120))


def draw_church(canvas: Canvas, dice: Dice) -> None:
    """Draw a nave with arched windows and a tower with a pointed steeple and a cross."""
    wall, roof = dice.pick(_STONES), dice.pick(_ROOFS)
    tall, slim = dice.between(0.75, 0.98), dice.between(0.17, 0.25)
    tower = -0.45
    dark = shade(blend(wall, (50, 60, 90), 0.6), 0.6)
    canvas.polygon([(-0.3, 0.05), (0.72, 0.05), (0.95, 0.42), (-0.3, 0.42)], roof)
    canvas.polygon([(-0.3, 0.05), (0.72, 0.05), (0.76, 0.11), (-0.3, 0.11)], shade(roof, 1.2))
    canvas.box(-0.3, 0.4, 0.9, 0.9, wall)
    canvas.box(-0.3, 0.4, 0.9, 0.45, shade(wall, 0.7))
    for k in range(dice.count(2, 4)):
        x = -0.05 + 0.26 * k
        canvas.box(x, 0.6, x + 0.11, 0.8, dark)
        canvas.disc(x + 0.055, 0.6, 0.055, 0.07, dark)
    canvas.box(tower - slim, -0.2, tower + slim, 0.9, shade(wall, 1.08))
    canvas.box(tower + slim * 0.55, -0.2, tower + slim, 0.9, shade(wall, 0.8))
    eaves = slim + 0.05
    peak = -tall
    canvas.polygon([(tower - eaves, -0.18), (tower, peak), (tower + eaves, -0.18)], roof)
    canvas.polygon([(tower + eaves * 0.2, -0.18), (tower, peak), (tower + eaves, -0.18)],
                   shade(roof, 0.72))  # fmt: skip
    metal = (70, 60, 40)
    canvas.line([(tower, peak - 0.2), (tower, peak + 0.03)], 0.035, metal)
    canvas.line([(tower - 0.065, peak - 0.12), (tower + 0.065, peak - 0.12)], 0.035, metal)
    canvas.disc(tower, 0.06, 0.085, 0.085, (240, 238, 225))
    canvas.line([(tower, 0.06), (tower, 0.0)], 0.025, (30, 30, 30))
    canvas.line([(tower, 0.06), (tower + 0.045, 0.08)], 0.025, (30, 30, 30))
    canvas.box(tower - 0.06, 0.26, tower + 0.06, 0.44, dark)
    canvas.disc(tower, 0.26, 0.06, 0.07, dark)
    door = dice.pick(_ROOFS)
    canvas.box(tower - 0.09, 0.68, tower + 0.09, 0.9, door)
    canvas.disc(tower, 0.68, 0.09, 0.1, door)


def draw_golf_ball(canvas: Canvas, dice: Dice) -> None:
    """Draw a dimpled ball, lit from one side, on a tee, in the grass or before a hole."""
    ball = dice.pick(_BALLS, 8)
    r, turn = dice.between(0.5, 0.68), dice.between(0.0, math.pi)
    ground = dice.count(0, 2)
    canvas.disc(0.12, r + 0.02, r * 0.95, 0.15, (0, 0, 0, 85))
    if ground == 0:
        tee = dice.pick(_CLOTHS)
        canvas.polygon([(-0.18, r - 0.08), (0.18, r - 0.08), (0.06, r + 0.1), (0.04, r + 0.45),
                        (-0.04, r + 0.45), (-0.06, r + 0.1)], tee)  # fmt: skip
    canvas.disc(0.0, 0.0, r, r, shade(ball, 0.62))
    canvas.disc(-0.05 * r, -0.06 * r, 0.93 * r, 0.92 * r, shade(ball, 0.84))
    canvas.disc(-0.12 * r, -0.14 * r, 0.8 * r, 0.79 * r, ball)
    _dimples(canvas, r, turn, shade(ball, 0.7))
    canvas.disc(-0.36 * r, -0.42 * r, 0.18 * r, 0.12 * r, (255, 255, 255), -0.7)
    if dice.chance(0.4):
        mark = dice.pick(_CLOTHS)
        canvas.line([(-0.25 * r, 0.12 * r), (0.3 * r, 0.02 * r)], 0.06, mark)
    if ground == 1:
        green = (95, 140, 60)
        for _ in range(14):
            x = dice.between(-0.9, 0.9)
            blade = shade(green, dice.between(0.6, 1.25))
            canvas.polygon([(x - 0.05, r + 0.2), (x + dice.between(-0.1, 0.1), r - 0.25),
                            (x + 0.05, r + 0.2)], blade)  # fmt: skip


def _dimples(canvas: Canvas, r: float, turn: float, colour: tuple[int, ...]) -> None:
    """Dimples at equal steps over the sphere, seen from the front, foreshortened at the rim."""
    for ring, count in ((0.0, 1), (0.3, 6), (0.57, 11), (0.8, 15)):
        for k in range(count):
            angle = turn * (1.0 + ring) + 2.0 * math.pi * k / count
            depth = math.sqrt(1.0 - ring * ring)
            x, y = ring * r * math.cos(angle), ring * r * math.sin(angle)
            canvas.disc(x, y, 0.085 * r * depth, 0.085 * r, colour, angle)


def draw_parachute(canvas: Canvas, dice: Dice) -> None:
    """Draw a striped canopy with a scalloped edge, its lines and the one who hangs below."""
    first, second = dice.pick(_CLOTHS), dice.pick(_CLOTHS)
    plain = dice.chance(0.3)
    height, gores = dice.between(0.5, 0.72), 6
    half, rim = 0.8, -0.12
    sway = dice.between(-0.15, 0.15)
    feet = (sway, 0.72)
    for k in range(gores + 1):
        x = -half + 2.0 * half * k / gores
        canvas.line([(x, rim), (feet[0], feet[1] - 0.14)], 0.018, (70, 65, 60))
    for k in range(gores):
        left, right = -1.0 + 2.0 * k / gores, -1.0 + 2.0 * (k + 1) / gores
        colour = first if plain or k % 2 == 0 else second
        colour = shade(colour, 1.0 - 0.28 * (k / (gores - 1)))
        arch = [t / 6.0 for t in range(7)]
        outer = [(half * left * math.sin(math.pi / 2 * t),
                  rim - height * math.cos(math.pi / 2 * t)) for t in arch]  # fmt: skip
        inner = [(half * right * math.sin(math.pi / 2 * t),
                  rim - height * math.cos(math.pi / 2 * t)) for t in reversed(arch)]  # fmt: skip
        scallop = (half * (left + right) / 2.0, rim - 0.09)
        canvas.polygon([*outer, scallop, *inner], colour)
        canvas.line(outer, 0.015, shade(colour, 0.75))
    canvas.disc(-0.3, rim - height * 0.72, 0.16, 0.06, (255, 255, 255, 90), -0.5)
    suit = dice.pick(_CLOTHS)
    x, y = feet
    canvas.line([(x, y - 0.02), (x - 0.07, y + 0.22)], 0.07, shade(suit, 0.6))
    canvas.line([(x, y - 0.02), (x + 0.06, y + 0.22)], 0.07, shade(suit, 0.6))
    canvas.line([(x - 0.1, y - 0.2), (x, y - 0.08), (x + 0.1, y - 0.2)], 0.05, suit)
    canvas.disc(x, y - 0.02, 0.075, 0.12, suit)
    canvas.disc(x, y - 0.18, 0.065, 0.07, (225, 180, 150))
