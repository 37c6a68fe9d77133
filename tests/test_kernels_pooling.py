"""Pooling kernels: the reference against loops and PyTorch, the compiled set against both."""

import numpy as np
import pytest

from tinysmooth import kernels
from tinysmooth.kernels import thread_count
from tinysmooth.kernels.reference.pooling import argmax_dtype, pooled_size

SETS = ["reference", "compiled"]
DTYPES = [np.float32, np.float64]

# shape, kernel size, stride, padding
CASES = [
    ((2, 6, 8, 16), (2, 2), (2, 2), (0, 0)),
    ((1, 7, 9, 5), (2, 2), (2, 2), (0, 0)),
    ((2, 4, 6, 43), (2, 2), (2, 2), (0, 0)),
    ((5, 6, 6, 20), (3, 2), (3, 2), (0, 0)),
    ((3, 11, 10, 6), (3, 4), (3, 4), (0, 0)),
    ((2, 5, 12, 35), (2, 1), (2, 1), (0, 0)),
    ((1, 4, 4, 6), (2, 2), (4, 4), (1, 1)),
    ((2, 3, 3, 20), (3, 3), (3, 3), (1, 1)),
    ((3, 8, 5, 1), (3, 2), (1, 2), (1, 1)),
    ((2, 7, 7, 33), (3, 3), (2, 2), (1, 1)),
    ((1, 5, 6, 3), (4, 4), (1, 1), (2, 2)),
    ((2, 9, 9, 4), (2, 2), (3, 4), (0, 0)),
    ((1, 4, 4, 2), (4, 4), (4, 4), (0, 0)),
    ((1, 1, 1, 7), (1, 1), (1, 1), (0, 0)),
    ((1, 13, 12, 2), (12, 11), (1, 1), (0, 0)),
]


@pytest.fixture(params=SETS)
def kernel_set(request):
    with kernels.use_kernels(request.param):
        yield request.param


def images(shape, dtype, seed=0):
    """Return values on a coarse grid, so that many windows have several equal maxima."""
    rng = np.random.default_rng(seed)
    return (np.round(rng.standard_normal(shape) * 2) / 2).astype(dtype)


def windows(x, kernel_size, stride, padding, value):
    """Yield every window as (index of its output, its pixels of the padded image)."""
    (top, left), (height, width) = padding, kernel_size
    padded = np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), constant_values=value)
    rows, columns = pooled_size(x.shape, kernel_size, stride, padding)
    for n in range(x.shape[0]):
        for i in range(rows):
            for j in range(columns):
                for c in range(x.shape[3]):
                    a, b = i * stride[0], j * stride[1]
                    yield (n, i, j, c), padded[n, a : a + height, b : b + width, c]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), CASES)
def test_forward_equals_the_definition(kernel_set, shape, kernel_size, stride, padding, dtype):
    x = images(shape, dtype)
    largest, argmax = kernels.max_pool2d_forward(x, kernel_size, stride, padding)
    mean = kernels.avg_pool2d_forward(x, kernel_size, stride, padding)
    assert largest.dtype == mean.dtype == dtype
    assert argmax.dtype == argmax_dtype(kernel_size)
    for index, window in windows(x, kernel_size, stride, padding, -np.inf):
        assert largest[index] == window.max()
        assert argmax[index] == window.argmax()  # NumPy's argmax is the first one, too
    for index, window in windows(x, kernel_size, stride, padding, 0):
        assert mean[index] == pytest.approx(window.mean(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), CASES)
def test_backward_is_the_transpose_of_forward(
    kernel_set, shape, kernel_size, stride, padding, dtype
):
    x = images(shape, dtype)
    where = (kernel_size, stride, padding)
    out, argmax = kernels.max_pool2d_forward(x, *where)
    grad = images(out.shape, dtype, seed=1)
    dx = kernels.max_pool2d_backward(grad, argmax, x.shape, *where)
    assert dx.dtype == dtype
    # Both are linear for fixed taps: <grad, forward(v)> = <backward(grad), v> for every v.
    v = images(shape, dtype, seed=2)
    picked = np.zeros(out.shape)
    for index, window in windows(v, *where, 0):
        picked[index] = window.flat[argmax[index]]
    assert np.vdot(dx, v) == pytest.approx(np.vdot(grad, picked), abs=1e-4)

    dx = kernels.avg_pool2d_backward(grad, x.shape, *where)
    mean = kernels.avg_pool2d_forward(v, *where)
    assert dx.dtype == dtype
    assert np.vdot(dx, v) == pytest.approx(np.vdot(grad, mean), abs=1e-4)


@pytest.mark.parametrize("seed", range(25))
def test_both_sets_agree_on_random_shapes(seed):
    rng = np.random.default_rng(seed)
    kernel_size = tuple(int(k) for k in rng.integers(1, 5, 2))
    stride = tuple(int(s) for s in rng.integers(1, 4, 2))
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel_size)
    size = [int(k + rng.integers(0, 8)) for k in kernel_size]
    x = images((int(rng.integers(1, 4)), *size, int(rng.integers(1, 40))), DTYPES[seed % 2], seed)

    def everything():
        out, argmax = kernels.max_pool2d_forward(x, kernel_size, stride, padding)
        grad = images(out.shape, x.dtype, seed + 1)
        means = kernels.global_avg_pool_forward(x)
        return (
            out,
            argmax,
            kernels.max_pool2d_backward(grad, argmax, x.shape, kernel_size, stride, padding),
            kernels.avg_pool2d_forward(x, kernel_size, stride, padding),
            kernels.avg_pool2d_backward(grad, x.shape, kernel_size, stride, padding),
            means,
            kernels.global_avg_pool_backward(means, x.shape),
        )

    with kernels.use_kernels("reference"):
        expected = everything()
    for ours, theirs in zip(everything(), expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), CASES)
def test_max_pooling_equals_pytorch(kernel_set, shape, kernel_size, stride, padding, dtype):
    torch = pytest.importorskip("torch")
    x = images(shape, dtype)
    x.flat[:: max(2, x.size // 6)] = np.nan
    theirs = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    expected = torch.nn.functional.max_pool2d(theirs, kernel_size, stride, padding)
    out, argmax = kernels.max_pool2d_forward(x, kernel_size, stride, padding)
    np.testing.assert_array_equal(out, expected.detach().permute(0, 2, 3, 1).numpy())
    grad = images(out.shape, dtype, seed=1)
    expected.backward(torch.from_numpy(grad.transpose(0, 3, 1, 2).copy()))
    dx = kernels.max_pool2d_backward(grad, argmax, shape, kernel_size, stride, padding)
    np.testing.assert_allclose(dx, theirs.grad.permute(0, 2, 3, 1).numpy(), rtol=1e-6, atol=1e-6)


def test_infinite_pixels_at_the_border_keep_their_gradient(kernel_set):
    x = np.full((1, 3, 3, 2), -np.inf, np.float32)
    where = ((3, 3), (1, 1), (1, 1))
    out, argmax = kernels.max_pool2d_forward(x, *where)
    assert np.all(out == -np.inf)
    dx = kernels.max_pool2d_backward(np.ones_like(out), argmax, x.shape, *where)
    assert dx.sum() == out.size  # nothing was sent to the padding


@pytest.mark.parametrize("dtype", DTYPES)
def test_global_average(kernel_set, dtype):
    x = np.random.default_rng(0).standard_normal((3, 9, 7, 21)).astype(dtype)
    out = kernels.global_avg_pool_forward(x)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, x.mean(axis=(1, 2), dtype=np.float64), rtol=1e-5, atol=1e-7)
    dx = kernels.global_avg_pool_backward(out, x.shape)
    assert dx.shape == x.shape
    assert dx.flags.c_contiguous
    np.testing.assert_allclose(dx.sum(axis=(1, 2)), out, rtol=1e-4, atol=1e-6)
    assert np.all(dx == dx[:, :1, :1])


def test_global_average_of_many_pixels_keeps_its_digits(kernel_set):
    x = np.full((1, 300, 300, 1), 0.1, np.float32)
    assert kernels.global_avg_pool_forward(x)[0, 0] == np.float32(0.1)


def test_read_only_images_are_accepted(kernel_set):
    x = np.broadcast_to(np.float32(1), (1, 4, 4, 3)).copy()
    x.flags.writeable = False
    out, _ = kernels.max_pool2d_forward(x, (2, 2), (2, 2), (0, 0))
    assert np.all(out == 1)


@pytest.mark.parametrize(
    ("kernel_size", "dtype"),
    [((2, 2), np.int8), ((8, 16), np.int8), ((3, 43), np.int16), ((200, 200), np.int32)],
)
def test_argmax_is_stored_in_the_smallest_type_that_holds_it(kernel_size, dtype):
    assert argmax_dtype(kernel_size) is dtype
    assert kernel_size[0] * kernel_size[1] - 1 <= np.iinfo(dtype).max


@pytest.mark.parametrize("channels", [1, 3, 16, 43])
@pytest.mark.parametrize(
    "window",
    [
        ((2, 2), (2, 2), (0, 0)),
        ((3, 3), (2, 2), (1, 1)),
        ((3, 3), (1, 1), (1, 1)),
        ((2, 2), (3, 4), (0, 0)),  # pixels that no window covers
    ],
)
def test_parts_do_not_disturb_each_other(monkeypatch, channels, window):
    """Each part sums up, and keeps the last lanes, in a place of its own.

    Three parts of 11 images of 23 rows end inside an image. Max-pooling and its gradient write
    vectors that go beyond the channels of a pixel, but not beyond their part.
    """
    x = images((11, 23, 26, channels), np.float32)

    def results():
        largest, argmax = kernels.max_pool2d_forward(x, *window)
        mean = kernels.global_avg_pool_forward(x)
        yield from (largest, argmax, mean)
        yield kernels.max_pool2d_backward(largest, argmax, x.shape, *window)
        yield kernels.global_avg_pool_backward(mean, x.shape)

    monkeypatch.setattr(thread_count, "SMALLEST_PART", 1)
    with thread_count.use_threads(1):
        alone = list(results())
    with thread_count.use_threads(3):
        for _ in range(10):
            for found, expected in zip(results(), alone, strict=True):
                np.testing.assert_array_equal(found, expected)
