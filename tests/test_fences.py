"""Kernels touch nothing before or behind the arrays they are given: fences all around.

A vector that begins inside an array may reach beyond its end. That goes well nearly always,
because something else is there. Here are pages that may not be touched, and the process would end
with a signal; so the kernels run in a process of their own, `fenced`.
"""

import pathlib
import subprocess
import sys

import pytest

from tinysmooth.kernels import jit

SHAPES = {
    # batch, channels, filters, side, kernel, stride, padding
    "convolution": [
        (3, 1, 8, 12, 5, 1, 0),
        (2, 3, 16, 15, 5, 2, 2),
        (3, 3, 5, 9, 3, 1, 1),
        (2, 4, 20, 12, 3, 1, 1),
        (2, 2, 40, 11, 2, 1, 0),
        (2, 24, 4, 10, 1, 1, 0),
        (3, 24, 40, 11, 1, 1, 0),
        (2, 24, 4, 10, 1, 1, 1),
        (1, 17, 33, 9, 3, 1, 0),
        (2, 16, 24, 12, 3, 3, 1),
        (1, 20, 12, 9, 7, 1, 3),
        (1, 70, 10, 7, 3, 1, 1),
        (2, 33, 70, 6, 4, 2, 2),
        (1, 12, 130, 5, 3, 1, 1),
        (9, 64, 80, 8, 3, 1, 1),
        (1, 300, 3, 5, 3, 1, 1),
        (9, 20, 33, 9, 5, 1, 2),
        (5, 16, 18, 13, 7, 1, 3),
        (1, 40, 70, 20, 7, 1, 1),
        (2, 3, 32, 8, 3, 1, 1),
        (2, 5, 16, 11, 3, 1, 1),
        (3, 1, 16, 12, 3, 1, 1),
        (1, 2, 1, 8, 3, 1, 1),
        (1, 1, 2, 4, 3, 1, 1),
        (2, 1, 16, 24, 3, 1, 1),
    ],
    # the same
    "block": [
        (3, 3, 32, 9, 3, 1, 1),
        (4, 1, 17, 8, 5, 1, 2),
        (5, 3, 20, 11, 3, 2, 1),
        (3, 4, 70, 7, 3, 1, 0),
    ],
    # batch, channels, filters, height, width, padding down and across, tiles of a product
    "bands": [
        (2, 3, 16, 9, 14, 1, 1, 16),
        (1, 3, 20, 33, 10, 0, 2, 1),
        (3, 1, 9, 10, 41, 1, 0, 16),
        (2, 7, 32, 5, 12, 2, 1, 64),
        (1, 8, 3, 4, 6, 3, 4, 3),
        (2, 2, 1, 11, 8, 0, 0, 16),
        (1, 4, 48, 12, 16, 1, 1, 8),
    ],
    # batch, channels, side, window, stride, padding
    "pool": [
        (2, 8, 8, 2, 2, 0),
        (1, 24, 9, 3, 2, 1),
        (3, 3, 7, 3, 1, 1),
        (2, 17, 6, 2, 2, 0),
        (1, 1, 5, 2, 2, 0),
        (2, 10, 9, 2, 4, 0),
        (5, 3, 9, 3, 3, 0),
    ],
    # rows, inner length, columns
    "product": [
        *((1, 1, 1), (13, 7, 5), (1, 100, 33), (40, 3, 17), (65, 129, 70), (3, 300, 200)),
        *((99, 800, 5), (9, 30, 1100), (4, 2, 4), (900, 64, 270)),
    ],
    # matrices, rows, columns
    "layout": [(1, 1, 20), (3, 3, 50), (2, 16, 32), (2, 20, 33), (4, 35, 7), (1, 129, 18)],
    # pixels, channels
    "bias": [(5, 3), (700, 6), (130, 64), (41, 33), (3, 128)],
    # channels, classes
    "steps": [(5, 3), (16, 10), (24, 17), (67, 40)],
}

fenceable = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not jit.ENABLED,
    reason="pages are locked by a call of Linux, and only compiled kernels could reach beyond",
)


def run(*arguments):
    command = [sys.executable, str(pathlib.Path(__file__).with_name("fenced.py")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@fenceable
def test_the_fence_holds():
    done = run()
    assert done.stdout == "one float further...\n" and done.returncode < 0, done.stderr


@fenceable
@pytest.mark.parametrize("kind", SHAPES)
def test_kernels_touch_their_arrays_and_nothing_else(kind):
    shapes = [",".join(map(str, shape)) for shape in SHAPES[kind]]
    done = run(kind, *shapes)
    assert done.returncode == 0 and done.stdout.split() == shapes, (done.stdout, done.stderr)
