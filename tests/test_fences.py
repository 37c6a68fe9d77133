"""Convolutions and max-pooling read nothing before or behind their inputs: fences all around.

A vector that begins inside an array may reach beyond its end. That goes well nearly always,
because something else is there. Here are pages that may not be read, and the process would end with
a signal; so the kernels run in a process of their own.
"""

import subprocess
import sys

import pytest

from tinysmooth.kernels import jit

FENCED = """
import ctypes, itertools, mmap, sys
import numpy as np
from tinysmooth import kernels
from tinysmooth.kernels import threads
from tinysmooth.kernels.convolution import fast, im2col
from tinysmooth.kernels.reference import pooling

threads.SMALLEST_PART = 1  # small shapes in several parts, too
libc = ctypes.CDLL(None, use_errno=True)
keep = []
NOBODY = 0  # PROT_NONE

def fenced(array, at_end):
    '''A copy between two pages that may not be read, at the end or the beginning of its own.'''
    page = mmap.PAGESIZE
    inside = -(-array.nbytes // page) * page
    pages = mmap.mmap(-1, inside + 2 * page)
    keep.append(pages)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    offset = page + (inside - array.nbytes if at_end else 0)
    copy = np.frombuffer(pages, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    for fence in (start, start + page + inside):
        if libc.mprotect(ctypes.c_void_p(fence), page, NOBODY):
            raise OSError(ctypes.get_errno(), "mprotect failed")
    return copy

def check(shape, num_threads):
    batch, channels, filters, side, kernel, stride, padding = shape
    threads.set_num_threads(num_threads)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, side, side, channels), np.float32)
    weight = rng.standard_normal((filters, channels, kernel, kernel), np.float32)
    how = (stride, stride), (padding, padding)
    size = (side + 2 * padding - kernel) // stride + 1
    grad = rng.standard_normal((batch, size, size, filters), np.float32)
    for at_end, fast.winograd_enabled in itertools.product((True, False), repeat=2):
        fx, fw, fg = (fenced(array, at_end) for array in (x, weight, grad))
        pairs = [
            (fast.conv2d_forward(fx, fw, *how), im2col.conv2d_forward(x, weight, *how)),
            (fast.conv2d_with_statistics(fx, fw, *how)[0], im2col.conv2d_forward(x, weight, *how)),
            (fast.conv2d_backward_data(fg, fw, x.shape, *how),
             im2col.conv2d_backward_data(grad, weight, x.shape, *how)),
            (fast.conv2d_backward_weight(fx, fg, weight.shape, *how),
             im2col.conv2d_backward_weight(x, grad, weight.shape, *how)),
        ]
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())

def check_pool(shape, num_threads):
    batch, channels, side, window, stride, padding = shape
    threads.set_num_threads(num_threads)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, side, side, channels), np.float32)
    how = (window, window), (stride, stride), (padding, padding)
    out, argmax = pooling.max_pool2d_forward(x, *how)
    grad = rng.standard_normal(out.shape, np.float32)
    slope = pooling.max_pool2d_backward(grad, argmax, x.shape, *how)
    for at_end in (True, False):
        fx, fg, fa = (fenced(array, at_end) for array in (x, grad, argmax))
        for ours, theirs in zip(kernels.max_pool2d_forward(fx, *how), (out, argmax)):
            np.testing.assert_array_equal(ours, theirs)
        ours = kernels.max_pool2d_backward(fg, fa, x.shape, *how)
        np.testing.assert_allclose(ours, slope, rtol=0, atol=1e-5)

if len(sys.argv) == 1:  # to see that the fence holds
    array = fenced(np.zeros(4, np.float32), True)
    print("one float further...", flush=True)
    print(np.lib.stride_tricks.as_strided(array, (5,))[4])
for number in sys.argv[1:]:
    shape = tuple(int(part) for part in number.split(","))
    for num_threads in (1, 2, 3):
        (check if len(shape) == 7 else check_pool)(shape, num_threads)
    print(number, flush=True)
"""

# batch, channels, filters, side, kernel, stride, padding
SHAPES = [
    (3, 1, 8, 12, 5, 1, 0),
    (2, 3, 16, 15, 5, 2, 2),
    (3, 3, 5, 9, 3, 1, 1),
    (2, 4, 20, 12, 3, 1, 1),
    (2, 2, 40, 11, 2, 1, 0),
    (2, 24, 4, 10, 1, 1, 0),
    (1, 17, 33, 9, 3, 1, 0),
    (2, 16, 24, 12, 3, 3, 1),
    (1, 20, 12, 9, 7, 1, 3),
    (1, 70, 10, 7, 3, 1, 1),
    (2, 33, 70, 6, 4, 2, 2),
    (1, 12, 130, 5, 3, 1, 1),
    (9, 64, 80, 8, 3, 1, 1),
    (1, 300, 3, 5, 3, 1, 1),
]

# batch, channels, side, window, stride, padding
POOLS = [
    (2, 8, 8, 2, 2, 0),
    (1, 24, 9, 3, 2, 1),
    (3, 3, 7, 3, 1, 1),
    (2, 17, 6, 2, 2, 0),
    (1, 1, 5, 2, 2, 0),
    (2, 10, 9, 2, 4, 0),
]

fenceable = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not jit.ENABLED,
    reason="pages are locked by a call of Linux, and only compiled kernels could read beyond",
)


def run(*arguments):
    command = [sys.executable, "-c", FENCED, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@fenceable
def test_the_fence_holds():
    done = run()
    assert done.stdout == "one float further...\n" and done.returncode < 0, done.stderr


@fenceable
@pytest.mark.parametrize("shapes", [SHAPES, POOLS], ids=["convolutions", "pooling"])
def test_kernels_read_their_inputs_and_nothing_else(shapes):
    numbers = [",".join(map(str, shape)) for shape in shapes]
    done = run(*numbers)
    assert done.returncode == 0 and done.stdout.split() == numbers, (done.stdout, done.stderr)
