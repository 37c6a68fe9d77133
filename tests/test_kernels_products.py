"""Matrix products without BLAS: every way, every order in memory, and which way is taken."""

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import kernels
from tinysmooth.kernels import jit, products, thread_count

compiled = pytest.mark.skipif(not jit.ENABLED, reason="only NumPy's product is left")

# rows of a, inner length, columns of b
SHAPES = [
    (64, 400, 120),
    (1, 784, 256),
    (784, 256, 1),
    (3, 5000, 20),
    (7, 1000, 333),
    (300, 11, 200),
    (65, 129, 257),
    (512, 1, 600),
    (5, 2, 30000),
]
LAYOUTS = ["rows", "columns", "gaps"]


def matrix(rows, columns, layout="rows", seed=0):
    numbers = np.random.default_rng(seed).standard_normal((rows, columns), np.float32)
    if layout == "columns":
        return np.ascontiguousarray(numbers.T).T
    if layout == "gaps":
        return np.repeat(numbers, 2, axis=1)[:, ::2]
    return numbers


def check(found, a, b):
    expected = a.astype(np.float64) @ b.astype(np.float64)
    assert found.dtype == np.float32 and found.flags.c_contiguous and found.flags.writeable
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("of_b", LAYOUTS)
@pytest.mark.parametrize("of_a", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_product_is_numpys(shape, of_a, of_b, threads):
    m, p, q = shape
    a, b = matrix(m, p, of_a), matrix(p, q, of_b, seed=1)
    kept = a.copy(), b.copy()
    with thread_count.use_threads(threads):
        check(kernels.matmul(a, b), a, b)
    assert np.array_equal(a, kept[0]) and np.array_equal(b, kept[1])


@compiled
@pytest.mark.parametrize("way", list(products.Way))
@pytest.mark.parametrize("of_b", LAYOUTS)
@pytest.mark.parametrize("of_a", LAYOUTS)
def test_every_way_leads_there(way, of_a, of_b):
    for m, p, q in [*SHAPES, (1, 1, 1), (6, 16, 16), (13, 7, 5), (70, 65, 33)]:
        a, b = matrix(m, p, of_a), matrix(p, q, of_b, seed=1)
        check(products._multiply(way, a, b), a, b)


@compiled
@pytest.mark.parametrize("way", list(products.Way))
def test_what_is_not_a_number_stays_in_its_row_and_column(way):
    a, b = matrix(20, 33), matrix(33, 41, seed=1)
    a[3, 2], b[5, 17] = np.nan, np.inf
    found = products._multiply(way, a, b)
    assert np.isnan(found[3]).all()
    finite = np.isfinite(found)
    finite[3], finite[:, 17] = True, True
    assert finite.all() and not np.isfinite(found[:, 17]).any()


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if max(shape) < 10000])
def test_large_products_do_without_blas_and_small_ones_with_it(shape, layout, monkeypatch):
    m, p, q = shape
    large, small = (matrix(m, p, layout), matrix(p, q)), (matrix(64, 16), matrix(16, 10))
    a_row = matrix(1, 9215, layout), matrix(9215, 1)
    seen = []
    monkeypatch.setattr(products.reference, "matmul", lambda a, b: seen.append(a) or a @ b)
    kernels.matmul(*large)
    kernels.matmul(matrix(1, 9216), matrix(9216, 1))
    assert not seen
    for each in (small, a_row, [array.astype(np.float64) for array in large]):
        kernels.matmul(*each)
    assert len(seen) == 3


@compiled
def test_very_wide_matrices_and_very_many_sums_are_left_to_blas(monkeypatch):
    seen = []
    monkeypatch.setattr(products.reference, "matmul", lambda a, b: seen.append(a) or a @ b)
    x, weight = matrix(20, 20000), matrix(30, 20000, seed=1)
    check(kernels.matmul(x, weight.T), x, weight.T)
    assert len(seen) == 1
    assert products.choose(64, 128, 20000, True, True, 2) is None  # nor are they copied
    assert products.choose(20000, 64, 64, True, False, 2) is not None  # rows may be many
    assert products.choose(64, 20000, 64, False, True, 2).way is products.Way.FILTERS
    # The sums of two threads are 64 MiB, those of three would be more.
    two, three = (products.choose(4096, 2048, 2048, False, True, n) for n in (2, 3))
    assert two.way is products.Way.FILTERS and three.way is not products.Way.FILTERS


def test_the_weights_of_a_few_rows_are_not_packed():
    few, many = (products.choose(rows, 4096, 512, True, False, 2) for rows in (2, 512))
    assert few == (products.Way.CONVOLUTION, True)
    assert many == (products.Way.CONVOLUTION, False)
    back, flat = (products.choose(rows, 512, 4096, True, True, 2) for rows in (512, 2))
    assert back == (products.Way.DATA, False)
    assert flat == (products.Way.FILTERS, True)


@pytest.mark.parametrize("shape", [(70, 300), (2, 35, 300), (300,)])
def test_a_linear_layer_and_its_gradients_in_either_precision(shape):
    rng = np.random.default_rng(0)
    numbers = [rng.standard_normal(size) for size in (shape, (50, 300), 50, (*shape[:-1], 50))]
    results = []
    for dtype in (np.float64, np.float32):
        x, weight, bias = (ts.Tensor(a.astype(dtype), requires_grad=True) for a in numbers[:3])
        out = ts.linear(x, weight, bias)
        out.backward(numbers[3].astype(dtype))
        results.append([out.numpy(), x.grad, weight.grad, bias.grad])
        assert {array.dtype for array in results[-1]} == {np.dtype(dtype)}
    for exact, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, exact, rtol=0, atol=3e-6 * np.abs(exact).max())


@pytest.mark.parametrize("turned", ["neither", "a", "b", "both"])
def test_a_product_of_tensors_and_its_gradients(turned):
    a, b, grad = matrix(90, 130), matrix(130, 70, seed=1), matrix(90, 70, seed=2)
    first = ts.Tensor(a.T if turned in ("a", "both") else a, requires_grad=True)
    second = ts.Tensor(b.T if turned in ("b", "both") else b, requires_grad=True)
    left = first.T if turned in ("a", "both") else first
    right = second.T if turned in ("b", "both") else second
    out = left @ right
    out.backward(grad)
    check(out.numpy(), a, b)
    for tensor, expected in ((first, (grad, b.T)), (second, (a.T, grad))):
        exact = expected[0].astype(np.float64) @ expected[1]
        exact = exact if tensor.shape == exact.shape else exact.T
        np.testing.assert_allclose(tensor.grad, exact, rtol=0, atol=2e-6 * np.abs(exact).max())


def test_a_bias_of_another_dtype_widens_the_result():
    x, weight = matrix(3, 4), matrix(5, 4)
    out = ts.linear(x, weight, np.full(5, 1e-9))
    assert out.dtype == np.float64
    np.testing.assert_allclose(out.numpy() - x @ weight.T, 1e-9, rtol=1e-6)
