"""The made things: cassette player, chain saw, French horn, garbage truck and gas pump."""

from __future__ import annotations

import math

from tinysmooth.data.drawn.canvas import Canvas, Colour, Dice, blend, shade

__all__ = [
    "draw_cassette_player",
    "draw_chain_saw",
    "draw_french_horn",
    "draw_garbage_truck",
    "draw_gas_pump",
]

_CASES = ((45, 45, 50), (165, 168, 172), (190, 60, 50), (60, 90, 150), (215, 205, 185))
_SAWS = ((225, 95, 30), (205, 50, 40), (230, 170, 40), (70, 110, 70), (225, 120, 50))
_BRASS = ((205, 160, 60), (220, 180, 90), (180, 130, 50), (195, 185, 160))
_TRUCKS = ((70, 130, 80), (225, 225, 220), (220, 130, 50), (60, 100, 165), (190, 185, 90))
_PUMPS = ((200, 50, 45), (230, 230, 225), (60, 120, 80), (50, 90, 160), (225, 175, 60))
_LABELS = ((230, 220, 190), (220, 110, 70), (110, 160, 200), (235, 235, 235))
_CHROME = (200, 203, 208)
_DARK = (32, 32, 35)


def draw_cassette_player(canvas: Canvas, dice: Dice) -> None:
    """Draw a player, a cassette with two reels in its window, sometimes loudspeakers."""
    case = dice.pick(_CASES)
    wide = dice.chance(0.45)
    right, top = (0.95, -0.5) if wide else (0.75, -0.62)
    if wide and dice.chance(0.6):
        canvas.arc(0.0, top, 0.6, 0.3, 0.5, 1.0, 0.07, shade(case, 0.7))
    canvas.round_box(-right, top, right, 0.62, 0.1, case)
    canvas.round_box(-right + 0.05, top + 0.05, right - 0.05, 0.57, 0.07, shade(case, 1.12))
    if wide:
        for side in (-1.0, 1.0):
            x, ring = side * 0.67, shade(case, 0.55)
            canvas.disc(x, 0.12, 0.25, 0.25, ring)
            canvas.disc(x, 0.12, 0.2, 0.2, _DARK)
            canvas.disc(x, 0.12, 0.08, 0.08, shade(ring, 1.35))
    half = 0.38 if wide else 0.58
    canvas.round_box(-half - 0.02, -0.28, half + 0.02, 0.34, 0.05, _DARK)
    canvas.round_box(-half + 0.04, -0.23, half - 0.04, 0.29, 0.04, dice.pick(_LABELS))
    canvas.box(-half + 0.04, 0.16, half - 0.04, 0.22, shade(case, 0.6))
    canvas.round_box(-half * 0.8, -0.13, half * 0.8, 0.13, 0.06, shade(_DARK, 1.1))
    turn = dice.between(0.0, 1.0)
    wound = dice.between(0.4, 1.0)
    for side, tape in ((-1.0, wound), (1.0, 1.4 - wound)):
        x = side * half * 0.48
        canvas.disc(x, 0.0, 0.11 + 0.06 * tape, 0.11 + 0.06 * tape, (75, 45, 30))
        canvas.disc(x, 0.0, 0.105, 0.105, (240, 240, 236))
        for k in range(3):
            angle = turn + k * math.pi / 3.0
            dx, dy = 0.085 * math.cos(angle), 0.085 * math.sin(angle)
            canvas.line([(x - dx, -dy), (x + dx, dy)], 0.025, _DARK)
    count = dice.count(4, 6)
    for k in range(count):
        x = (k - count / 2) * 0.17
        key = (200, 50, 40) if k == 0 and dice.chance(0.6) else _CHROME
        canvas.box(x + 0.02, 0.42, x + 0.14, 0.52, key)
    canvas.box(-right + 0.14, top + 0.1, right * 0.3, top + 0.16, shade(case, 0.5))


def draw_chain_saw(canvas: Canvas, dice: Dice) -> None:
    """Draw a motor with two handles and the long bar with its toothed chain."""
    body = dice.pick(_SAWS)
    length, tilt = dice.between(0.92, 1.05), dice.between(-0.03, 0.05)
    canvas.arc(-0.72, 0.1, 0.2, 0.24, 0.2, 0.85, 0.1, _DARK)
    for k in range(9):
        x = 0.06 + (length - 0.1) * k / 9
        for edge in (-0.16, 0.2):
            y = edge + tilt * k
            canvas.polygon([(x, y), (x + 0.045, y - 0.05 * (1 if edge < 0 else -1)),
                            (x + 0.09, y)], (55, 55, 58))  # fmt: skip
    reach = tilt * 9
    canvas.polygon([(0.0, -0.17), (length - 0.1, -0.17 + reach), (length, 0.02 + reach),
                    (length - 0.1, 0.21 + reach), (0.0, 0.21)], (70, 70, 74))  # fmt: skip
    canvas.polygon([(0.0, -0.11), (length - 0.13, -0.11 + reach), (length - 0.06, 0.02 + reach),
                    (length - 0.13, 0.15 + reach), (0.0, 0.15)], _CHROME)  # fmt: skip
    canvas.line([(0.2, 0.02 + tilt), (0.7, 0.02 + reach * 0.8)], 0.03, shade(_CHROME, 0.75))
    canvas.polygon([(-0.72, -0.1), (-0.55, -0.36), (-0.05, -0.36), (0.1, -0.2), (0.1, 0.3),
                    (-0.02, 0.38), (-0.62, 0.38), (-0.75, 0.25)], body)  # fmt: skip
    canvas.polygon([(-0.55, -0.36), (-0.05, -0.36), (0.03, -0.26), (-0.6, -0.26)],
                   shade(body, 1.3))  # fmt: skip
    canvas.box(-0.72, 0.2, 0.1, 0.3, shade(body, 0.6))
    canvas.disc(-0.32, 0.02, 0.17, 0.17, shade(body, 0.5))
    for k in range(4):
        angle = k * math.pi / 4.0
        dx, dy = 0.14 * math.cos(angle), 0.14 * math.sin(angle)
        canvas.line([(-0.32 - dx, 0.02 - dy), (-0.32 + dx, 0.02 + dy)], 0.025, shade(body, 0.9))
    canvas.line([(-0.5, -0.3), (-0.42, -0.62), (-0.05, -0.6), (0.02, -0.25)], 0.085, _DARK)
    if dice.chance(0.6):
        canvas.line([(0.06, -0.2), (0.16, -0.5)], 0.07, _DARK)


def draw_french_horn(canvas: Canvas, dice: Dice) -> None:
    """Draw a coil of brass tube with a wide bell, three valves and a mouthpiece."""
    brass = dice.pick(_BRASS)
    dark, light = shade(brass, 0.55), shade(brass, 1.45)
    tube = dice.between(0.085, 0.12)
    x, y = -0.12, -0.12
    canvas.line([(x - 0.45, y - 0.1), (-0.75, -0.62), (-0.9, -0.78)], tube * 0.6, brass)
    canvas.disc(-0.92, -0.8, 0.08, 0.06, light, 0.8)
    for radius in (0.56, 0.36):
        canvas.arc(x, y, radius, radius, 0.0, 1.0, tube * 1.5, dark)
        canvas.arc(x, y, radius, radius, 0.0, 1.0, tube, brass)
        canvas.arc(x, y, radius, radius, 0.55, 0.85, tube * 0.35, light)
    canvas.line([(x - 0.3, y + 0.1), (x + 0.3, y - 0.05)], tube, brass)
    canvas.line([(x - 0.28, y + 0.25), (x + 0.3, y + 0.12)], tube * 0.8, dark)
    for k in range(3):
        vx = x - 0.2 + 0.17 * k
        canvas.round_box(vx, y - 0.2, vx + 0.12, y + 0.1, 0.03, light)
        canvas.box(vx + 0.01, y + 0.02, vx + 0.11, y + 0.1, dark)
    # The throat widens from the coil to the bell.
    canvas.polygon([(0.36, -0.3), (0.5, -0.15), (0.95, 0.42), (0.28, 0.95), (-0.1, 0.52),
                    (-0.12, 0.38), (0.25, 0.2)], dark)  # fmt: skip
    canvas.polygon([(0.38, -0.25), (0.47, -0.12), (0.9, 0.4), (0.32, 0.88), (0.0, 0.5),
                    (0.28, 0.25)], brass)  # fmt: skip
    lean = dice.between(0.16, 0.34)
    canvas.disc(0.6, 0.64, 0.46, lean + 0.04, light, -0.72)
    canvas.disc(0.61, 0.65, 0.41, lean, shade(brass, 0.8), -0.72)
    canvas.disc(0.58, 0.61, 0.27, lean * 0.62, dark, -0.72)
    canvas.disc(0.55, 0.58, 0.13, lean * 0.32, shade(brass, 0.25), -0.72)


def draw_garbage_truck(canvas: Canvas, dice: Dice) -> None:
    """Draw a cab, a large ribbed hopper with a loading hatch, three wheels."""
    hopper = dice.pick(_TRUCKS)
    cab = hopper if dice.chance(0.5) else dice.pick(_TRUCKS)
    canvas.box(-0.95, 0.68, 0.95, 0.76, (0, 0, 0, 80))
    canvas.box(-0.85, 0.42, 0.9, 0.56, _DARK)
    hump = dice.between(0.03, 0.12)
    canvas.polygon([(-0.78, 0.46), (-0.96, 0.2), (-0.86, -0.45), (-0.7, -0.55),
                    (-0.2, -0.55 - hump), (0.36, -0.55), (0.4, 0.46)], hopper)  # fmt: skip
    canvas.polygon([(-0.78, 0.46), (-0.96, 0.2), (-0.86, -0.45), (-0.7, -0.55), (-0.6, 0.46)],
                   shade(hopper, 0.7))  # fmt: skip
    canvas.box(-0.92, 0.1, -0.72, 0.34, _DARK)
    for k in range(dice.count(3, 5)):
        x = -0.48 + 0.19 * k
        canvas.box(x, -0.5, x + 0.04, 0.44, shade(hopper, 0.78))
        canvas.box(x + 0.04, -0.5, x + 0.06, 0.44, shade(hopper, 1.25))
    if dice.chance(0.5):
        canvas.box(-0.55, -0.12, 0.32, 0.04, shade(dice.pick(_TRUCKS), 1.1))
    canvas.polygon([(0.42, 0.52), (0.42, -0.3), (0.76, -0.3), (0.9, 0.05), (0.94, 0.52)], cab)
    canvas.polygon([(0.58, -0.22), (0.73, -0.22), (0.85, 0.05), (0.58, 0.05)], (165, 205, 225))
    canvas.polygon([(0.58, -0.22), (0.66, -0.22), (0.6, 0.05), (0.58, 0.05)], (225, 240, 248))
    canvas.box(0.44, -0.38, 0.6, -0.3, (245, 150, 40))
    canvas.box(0.88, 0.25, 0.95, 0.34, (250, 240, 190))
    canvas.box(0.5, 0.16, 0.6, 0.19, shade(cab, 0.5))
    for x in (-0.55, -0.2, 0.66):
        canvas.disc(x, 0.56, 0.18, 0.18, (25, 25, 28))
        canvas.disc(x, 0.56, 0.085, 0.085, (150, 150, 152))
        canvas.disc(x, 0.56, 0.03, 0.03, (60, 60, 60))


def draw_gas_pump(canvas: Canvas, dice: Dice) -> None:
    """Draw an upright pump with a display, a hose and its nozzle; some wear a globe."""
    body = dice.pick(_PUMPS)
    trim: Colour = shade(blend(body, (255, 255, 255), 0.65), dice.between(0.7, 1.0))
    canvas.box(-0.6, 0.86, 0.6, 0.95, (105, 105, 108))
    old = dice.chance(0.45)
    if old:
        canvas.box(-0.08, -0.72, 0.08, -0.6, _CHROME)
        canvas.disc(0.0, -0.8, 0.2, 0.18, (248, 246, 236))
        canvas.disc(0.0, -0.8, 0.13, 0.11, dice.pick(_PUMPS))
        canvas.round_box(-0.4, -0.64, 0.4, 0.88, 0.16, body)
        canvas.disc(0.0, -0.32, 0.27, 0.23, (245, 242, 230))
        canvas.arc(0.0, -0.32, 0.27, 0.23, 0.0, 1.0, 0.04, _CHROME)
        canvas.line([(0.0, -0.32), (0.12, -0.42)], 0.04, (180, 40, 35))
    else:
        canvas.box(-0.44, -0.84, 0.44, 0.88, body)
        canvas.box(-0.44, -0.84, 0.44, -0.64, trim)
        canvas.box(-0.34, -0.56, 0.34, -0.14, _DARK)
        for row in range(2):
            canvas.box(-0.28, -0.5 + 0.18 * row, 0.28, -0.38 + 0.18 * row, (165, 190, 165))
            for k in range(dice.count(2, 4)):
                x = 0.2 - 0.12 * k
                canvas.box(x, -0.48 + 0.18 * row, x + 0.06, -0.4 + 0.18 * row, (35, 50, 40))
    canvas.box(-0.32, 0.02, 0.32, 0.14, trim)
    canvas.box(-0.32, 0.22, 0.32, 0.8, shade(body, 0.82))
    if not old:
        for k in range(3):
            tint = ((60, 150, 80), (225, 185, 50), (60, 110, 180))[k]
            canvas.box(-0.28 + 0.2 * k, 0.04, -0.12 + 0.2 * k, 0.12, tint)
    sag = dice.between(0.5, 0.85)
    canvas.line([(0.42, -0.3), (0.62, -0.1), (0.72, sag * 0.6), (0.62, sag), (0.5, sag * 0.85),
                 (0.5, 0.2), (0.52, 0.0)], 0.06, (22, 22, 24))  # fmt: skip
    canvas.polygon([(0.44, 0.06), (0.44, -0.16), (0.56, -0.24), (0.7, -0.3), (0.72, -0.24),
                    (0.58, -0.14), (0.56, 0.06)], (60, 60, 64))  # fmt: skip
    canvas.box(0.4, -0.04, 0.5, 0.02, _CHROME)
