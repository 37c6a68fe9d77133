"""Runs kernels on arrays between pages that nobody may touch; `test_fences` starts it.

``python tests/fenced.py KIND NUMBERS...`` checks a shape for each list of numbers and prints the
list; a kernel that touches a fence ends the process with a signal. Without arguments it touches one
itself, to show that the fence holds.
"""

import ctypes
import functools
import itertools
import math
import mmap
import sys
from unittest import mock

import numpy as np
from plans import forget_plans

import tinysmooth as ts
from tinysmooth import graph, kernels
from tinysmooth.kernels import addition, bias, blocks, layout, memory, products, thread_count
from tinysmooth.kernels.convolution import fast, im2col, winograd_bands_route, winograd_shared_route
from tinysmooth.kernels.convolution.geometry import output_size
from tinysmooth.kernels.reference import pooling
from tinysmooth.kernels.threads import run_parallel

NOBODY = 0  # PROT_NONE of mprotect
LIBC = ctypes.CDLL(None, use_errno=True)

COST, COST_OF_BANDS = winograd_shared_route.cost, winograd_bands_route.cost

keep = []  # a mapping must live as long as the arrays in it


def fenced(array, at_end):
    """A copy between two such pages, at the end or at the beginning of its own pages."""
    page = mmap.PAGESIZE
    inside = -(-array.nbytes // page) * page
    pages = mmap.mmap(-1, inside + 2 * page)
    keep.append(pages)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    offset = page + (inside - array.nbytes if at_end else 0)
    copy = np.frombuffer(pages, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    for fence in (start, start + page + inside):
        if LIBC.mprotect(ctypes.c_void_p(fence), page, NOBODY):
            raise OSError(ctypes.get_errno(), "mprotect failed")
    return copy


def check_convolution(batch, channels, filters, side, kernel, stride, padding):
    """All three directions against im2col: without Winograd, with it, and by each special way."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, side, side, channels), np.float32)
    weight = rng.standard_normal((filters, channels, kernel, kernel), np.float32)
    how = (stride, stride), (padding, padding)
    out = im2col.conv2d_forward(x, weight, *how)
    grad = rng.standard_normal(out.shape, np.float32)
    expected = [
        *(out, out),
        im2col.conv2d_backward_data(grad, weight, x.shape, *how),
        im2col.conv2d_backward_weight(x, grad, weight.shape, *how),
    ]
    ways = ("winograd", "windows", "shared tiles", "bands")
    for at_end, way in itertools.product((True, False), ways):
        fast.winograd_enabled = way != "windows"
        winograd_shared_route.cost = cheapest if way == "shared tiles" else COST
        winograd_bands_route.cost = free_bands if way == "bands" else COST_OF_BANDS
        forget_plans()
        fx, fw, fg = (fenced(array, at_end) for array in (x, weight, grad))
        found = [
            fast.conv2d_forward(fx, fw, *how),
            fast.conv2d_with_statistics(fx, fw, *how)[0],
            fast.conv2d_backward_data(fg, fw, x.shape, *how),
            fast.conv2d_backward_weight(fx, fg, weight.shape, *how),
        ]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())


def cheapest(work, gradient):
    """Let `winograd_shared_route` run wherever it can."""
    return 0.0 if work.stride == (1, 1) else math.inf


def free_bands(work):
    """Let `winograd_bands_route` run wherever it may."""
    return 0.0 if work[4:6] == ((3, 3), (1, 1)) else math.inf


def check_block(batch, channels, filters, side, kernel, stride, padding):
    """The gradient of filters through a batch norm, an image at a time, against both steps."""
    blocks.FEWEST_IMAGES = blocks.FEWEST_WINDOWS = 1
    winograd_bands_route.cost = free_bands
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, side, side, channels), np.float32)
    weight = rng.standard_normal((filters, channels, kernel, kernel), np.float32)
    how = (stride, stride), (padding, padding)
    x = im2col.conv2d_forward(images, weight, *how)
    mean, var = x.mean((0, 1, 2), np.float64), x.var((0, 1, 2), np.float64)
    factor = rng.uniform(0.5, 1.5, filters).astype(np.float32)
    scale = (factor / np.sqrt(var)).astype(np.float32)
    numbers = (scale, (-mean * scale).astype(np.float32), mean, 1 / np.sqrt(var), factor)
    for at_end, pool, bands in itertools.product((True, False), repeat=3):
        result = kernels.batch_norm_apply(x, *numbers[:2], True, pool, None)
        grad = rng.standard_normal(result.shape, np.float32)
        arrays = [grad, x, *numbers]
        rest = (True, pool, True, result if pool else None, images, weight.shape, *how)
        with kernels.use_kernels("reference"):
            expected = kernels.conv2d_block_backward_weight(*arrays, *rest)
        fenced_arrays = [fenced(array, at_end) for array in (*arrays, result, images)]
        *arrays, result, inputs = fenced_arrays
        rest = (True, pool, True, result if pool else None, inputs, weight.shape, *how)
        kernels.use_kernels("compiled", winograd=bands)
        found = kernels.conv2d_block_backward_weight(*arrays, *rest)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())
    assert blocks._prepare.cache_info().misses, "no block was taken in one sweep"


def check_bands(batch, channels, filters, height, width, pad_top, pad_left, tiles):
    """The gradient by bands, with a fence around each piece of its workspace, too."""
    route, padding = winograd_bands_route, (pad_top, pad_left)
    route.CHUNK_TILES = tiles
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, height, width, channels), np.float32)
    shape, size = (filters, channels, 3, 3), output_size(height, width, (3, 3), (1, 1), padding)
    grad = rng.standard_normal((batch, *size, filters), np.float32)
    expected = im2col.conv2d_backward_weight(x, grad, shape, (1, 1), padding)
    plan, nan = route.plan_gradient(x.shape, shape, size, padding), np.float32(np.nan)
    for at_end in (True, False):
        pieces = (
            *(x.reshape(-1), grad.reshape(-1)),
            np.full((plan.parts, plan.sums[1] - route.PAGE), nan),
            np.full((plan.parts, plan.workspace - route.PAGE), nan),
            np.full((plan.parts, plan.tables), -(2**40)),
            plan.whole_tiles,
        )
        pieces = [fenced(piece, at_end) for piece in pieces]
        out, back = (fenced(np.full(n, nan), at_end) for n in (math.prod(shape), plan.back))
        run_parallel(
            route.filter_gradient_bands, *pieces, plan.sizes, 0, pieces[1], parts=plan.parts
        )
        run_parallel(route.bands_to_filter_gradient, pieces[2], out, shape[:2], back, parts=1)
        found = out.reshape(shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def check_pool(batch, channels, side, window, stride, padding):
    """Max-pooling and its gradient against the reference."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, side, side, channels), np.float32)
    how = (window, window), (stride, stride), (padding, padding)
    out, argmax = pooling.max_pool2d_forward(x, *how)
    grad = rng.standard_normal(out.shape, np.float32)
    slope = pooling.max_pool2d_backward(grad, argmax, x.shape, *how)
    for at_end in (True, False):
        fx, fg, fa = (fenced(array, at_end) for array in (x, grad, argmax))
        for ours, theirs in zip(kernels.max_pool2d_forward(fx, *how), (out, argmax), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        ours = kernels.max_pool2d_backward(fg, fa, x.shape, *how)
        np.testing.assert_allclose(ours, slope, rtol=0, atol=1e-5)


def fenced_zeros(at_end, shape, dtype=np.float32):
    """What stands for an uninitialised array."""
    return fenced(np.zeros(shape, dtype), at_end)


def check_product(rows, inner, columns):
    """A linear layer with all that it reads and writes fenced, in every order and by every way."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((rows, inner), np.float32)
    b = rng.standard_normal((inner, columns), np.float32)
    shift = rng.standard_normal(columns, np.float32)
    expected = np.maximum(a.astype(np.float64) @ b + shift, 0)
    for at_end, *orders, threads in itertools.product((True, False), repeat=4):
        left, right = (
            fenced(matrix, at_end) if by_rows else fenced(matrix.T.copy(), at_end).T
            for matrix, by_rows in zip((a, b), orders, strict=True)
        )
        added = fenced(shift, at_end)
        with (
            thread_count.use_threads(1 + threads),
            mock.patch.object(memory, "empty", functools.partial(fenced_zeros, at_end)),
            mock.patch.object(memory, "workspace", functools.partial(fenced_zeros, at_end)),
        ):
            for ours in (
                products._product(left, right, added, True),
                products._tiles(left, right, added, True),
            ):
                error = np.abs(ours - expected).max()
                assert error <= 3e-6 * np.abs(expected).max(), (error, at_end, orders, threads)


def check_layout(count, rows, columns):
    """Matrices that are turned, into a fenced array."""
    source = np.random.default_rng(0).standard_normal((count, rows, columns), np.float32)
    for at_end, parts in itertools.product((True, False), (1, 2, 3)):
        fixed = fenced(source, at_end).reshape(-1)
        out = fenced(np.zeros((count, columns, rows), np.float32), at_end)
        run_parallel(layout.turn_parts, fixed, source.shape, out.reshape(-1), parts=parts)
        np.testing.assert_array_equal(out, source.transpose(0, 2, 1))


def check_bias(pixels, channels):
    """A bias added to a fenced array, and its gradient."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((pixels, channels), np.float32)
    added = rng.standard_normal(channels, np.float32)
    period = bias._period(channels)
    for at_end, parts in itertools.product((True, False), (1, 2, 3)):
        out, pattern = fenced(x, at_end), fenced(np.tile(added, period // channels), at_end)
        run_parallel(bias.add_bias_parts, out.reshape(-1), pattern, channels, parts=parts)
        np.testing.assert_array_equal(out, x + added)
        blocks = fenced(np.zeros((parts, period), np.float32), at_end)
        sums = fenced(np.ones((parts, period)), at_end)
        grad = fenced(x, at_end).reshape(-1)
        run_parallel(bias.sum_bias_parts, grad, channels, blocks, sums, parts=parts)
        found = sums.reshape(-1, channels).sum(axis=0)
        np.testing.assert_allclose(found, x.sum(axis=0, dtype=np.float64), atol=1e-4)


def fencing(name, kernel, at_end, called):
    """The kernel on fenced copies of its arrays; what it writes to them is copied back."""

    def call(*args, **kwargs):
        copies = []

        def inside(value):
            if isinstance(value, list | tuple):
                return type(value)(map(inside, value))
            if not isinstance(value, np.ndarray) or not value.size:
                return value
            copies.append((value, fenced(value, at_end)))
            return copies[-1][1]

        result = kernel(*map(inside, args), **{key: inside(value) for key, value in kwargs.items()})
        for array, copy in copies:
            if array.flags.writeable:
                array[...] = copy
        called.add(name)
        return result

    return call


def train(channels, classes):
    """Every number that a few steps make, of a network for which nearly all kernels are needed."""
    rng = np.random.default_rng(0)
    layers = ts.nn

    def conv(inputs, outputs):
        return layers.Conv2d(inputs, outputs, 3, padding=1, bias=False, rng=rng)

    def block(inputs):
        return conv(inputs, channels), layers.BatchNorm2d(channels), layers.ReLU()

    model = layers.Sequential(
        *(*block(3), layers.MaxPool2d(2)),
        layers.Residual(layers.Sequential(*block(channels))),
        *(layers.Conv2d(channels, channels, 1, rng=rng), layers.AvgPool2d(2), layers.ReLU()),
        *(layers.Conv2d(channels, channels, 3, padding=1, rng=rng), layers.ReLU()),
        *(conv(channels, channels), layers.MaxPool2d(2), layers.BatchNorm2d(channels)),
        *(layers.GlobalAvgPool2d(), layers.Flatten(), layers.Linear(channels, classes, rng=rng)),
    )
    table = np.linspace(-2, 2, 3 * 256, dtype=np.float32).reshape(3, 256)
    numbers = []
    for make in (ts.optim.SGD, ts.optim.AdamW):
        optimiser = make(model.parameters(), lr=0.1)
        pixels = rng.integers(0, 256, (5, 16, 16, 3), np.uint8)
        flips, tops = rng.integers(0, 2, 5).astype(bool), rng.integers(0, 3, 5)
        pixels = kernels.crop_and_flip(pixels, tops, tops, flips, 1)
        x = ts.Tensor(kernels.scale_pixels(pixels, table).transpose(0, 3, 1, 2))
        for training in (True, False):
            model.train(training)
            logits, soft = model(x), rng.dirichlet(np.ones(classes), 5).astype(np.float32)
            loss = ts.cross_entropy(logits, rng.integers(0, classes, 5), label_smoothing=0.1)
            loss = loss + ts.cross_entropy(logits, soft)
            loss = loss + 0.01 * (ts.softmax(logits) * ts.log_softmax(logits)).sum()
            loss = loss + 0.01 * ts.sigmoid(logits).sum()
            optimiser.zero_grad()
            loss.backward()
            numbers += [loss.item(), *(parameter.grad.copy() for parameter in model.parameters())]
            optimiser.step()
            numbers += [parameter.data.copy() for parameter in model.parameters()]
    return numbers


# What these steps have no use for, or what is NumPy's here, whose bits depend on addresses.
NOT_TRAINED = {"matmul", "move_towards", "recolour", "zoom_and_flip"}


def check_steps(channels, classes):
    """Training steps with every kernel fenced in, against the same steps without a fence."""
    free, plain = train(channels, classes), dict(kernels._COMPILED)
    for at_end in (True, False):
        called = set()
        for name in plain.keys() - {"matmul"}:
            kernels._COMPILED[name] = fencing(name, plain[name], at_end, called)
        movers = (("add", addition.add), ("copy", addition.copy))
        graph.set_movers(*(fencing(name, mover, at_end, called) for name, mover in movers))
        for ours, theirs in zip(train(channels, classes), free, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        kernels._COMPILED.update(plain)
        graph.set_movers(addition.add, addition.copy)
        expected = {"add", "copy", *plain} - NOT_TRAINED
        assert called == expected, called ^ expected
        keep.clear()


CHECKS = {
    "convolution": check_convolution,
    "block": check_block,
    "bands": check_bands,
    "pool": check_pool,
    "product": check_product,
    "layout": check_layout,
    "bias": check_bias,
    "steps": check_steps,
}


def main(kind="", *shapes):
    """Check every shape with one, two and three threads."""
    thread_count.SMALLEST_PART = 1  # small shapes in several parts, too
    if not kind:
        array = fenced(np.zeros(4, np.float32), at_end=True)
        print("one float further...", flush=True)
        print(np.lib.stride_tricks.as_strided(array, (5,))[4])
    for shape in shapes:
        for num_threads in (1, 2, 3):
            thread_count.set_num_threads(num_threads)
            CHECKS[kind](*map(int, shape.split(",")))
        print(shape, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
