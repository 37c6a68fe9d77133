"""Matrix products without BLAS: every order in memory, every packing, and which is taken."""

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import kernels
from tinysmooth.kernels import jit, memory, products, thread_count
from tinysmooth.kernels.convolution.windows import DEPTH_BLOCK
from tinysmooth.kernels.multiplication import (
    BLOCK_COLUMNS,
    BLOCK_FLOATS,
    FEWEST_ROWS,
    RESULT_FLOATS,
    asks_for_results,
    rows_of_block,
)
from tinysmooth.kernels.panels import PANEL
from tinysmooth.kernels.vectors import WIDE

compiled = pytest.mark.skipif(not jit.ENABLED, reason="only NumPy's product is left")

# rows of a, inner length, columns of b
SHAPES = [
    (64, 400, 120),
    (1, 784, 256),
    (784, 256, 1),
    (3, 5000, 20),
    (4, 1003, 70),
    (1, 40, 5000),
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


def multiply(a, b):
    """The product without NumPy, however small it is."""
    return products._product(a, b, None, False)


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
@pytest.mark.parametrize("packing", [products.IN_PLACE, products.COPIED, None])
@pytest.mark.parametrize("of_b", LAYOUTS)
@pytest.mark.parametrize("of_a", LAYOUTS)
@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 1), (6, 16, 16), (13, 7, 5), (70, 65, 33)])
def test_every_packing_and_every_share_lead_there(shape, of_a, of_b, packing, monkeypatch):
    m, p, q = shape
    a, b = matrix(m, p, of_a), matrix(p, q, of_b, seed=1)
    cut = products.cut_product

    def cut_so(down, across):
        def cutting(*args):
            found = cut(*args)
            packed = found.packing if packing is None or not args[3] else packing
            rows, columns = -(-m // down), products.round_up(q, 64)
            return found._replace(
                down=down, across=across, packing=packed, rows=rows, columns=columns
            )

        return cutting

    a, b = (each if each.T.flags.c_contiguous else each.copy() for each in (a, b))
    try:
        for down, across in [(1, 1), (min(2, m), 1), (1, 2 if q > 64 else 1), (min(3, m), 2)]:
            monkeypatch.setattr(products, "cut_product", cut_so(down, across))
            products._prepare_tiles.cache_clear()
            check(products._tiles(a, b), a, b)
    finally:
        products._prepare_tiles.cache_clear()


@compiled
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("way", list(products.Way))
@pytest.mark.parametrize("shape", [(4, 50, 33), (1, 300, 20), (3, 16, 5), (2, 1, 1), (1, 1, 70)])
def test_every_way_leads_there(shape, way, swapped, monkeypatch):
    m, p, q = shape if way is not products.Way.SCALED else (1, *shape[1:])
    a, b = matrix(m, p), matrix(p, q, "rows" if way is products.Way.SCALED else "columns", seed=1)
    if swapped:
        a, b = b.T, a.T
    bias = matrix(1, b.shape[1], seed=2)[0]
    monkeypatch.setattr(products, "choose", lambda *args: products.Choice(way, swapped))
    found = products._product(a, b, bias, True)
    exact = np.maximum(a.astype(np.float64) @ b + bias, 0)
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-6 * max(1, np.abs(exact).max()))


@compiled
@pytest.mark.parametrize("of_b", LAYOUTS)
@pytest.mark.parametrize("of_a", LAYOUTS)
def test_blocks_of_rows_of_columns_and_of_the_depth(of_a, of_b):
    m, p, q = 2 * FEWEST_ROWS + 7, 2 * DEPTH_BLOCK + 5, BLOCK_COLUMNS + 41
    a, b = matrix(m, p, of_a), matrix(p, q, of_b, seed=1)
    for threads in (1, 2):
        with thread_count.use_threads(threads):
            check(multiply(a, b), a, b)


@compiled
@pytest.mark.parametrize("of_b", LAYOUTS)
@pytest.mark.parametrize("of_a", LAYOUTS)
@pytest.mark.parametrize("shape", [(20, 33, 41), (2, 333, 41), (20, 1000, 2), (40, 900, 200)])
def test_what_is_not_a_number_stays_in_its_row_and_column(shape, of_a, of_b):
    a, b = matrix(*shape[:2], of_a), matrix(*shape[1:], of_b, seed=1)
    row, column = shape[0] // 2, shape[2] // 2
    a[row, 2], b[5, column] = np.nan, np.inf
    found = multiply(a, b)
    assert np.isnan(found[row]).all() and not np.isfinite(found[:, column]).any()
    finite = np.isfinite(found)
    finite[row], finite[:, column] = True, True
    assert finite.all()


@compiled
@pytest.mark.parametrize("of_b", LAYOUTS)
@pytest.mark.parametrize("of_a", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_give_the_same_bits_with_any_number_of_threads(shape, of_a, of_b):
    m, p, q = shape
    a, b = matrix(m, p, of_a), matrix(p, q, of_b, seed=1)
    results = []
    for threads in (1, 2, 3):
        with thread_count.use_threads(threads):
            results.append(products._tiles(a, b))
    assert all(np.array_equal(results[0], other) for other in results[1:])


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[1] > 1])
def test_large_products_do_without_blas_and_small_ones_with_it(shape, layout, monkeypatch):
    m, p, q = shape
    large, small = (matrix(m, p, layout), matrix(p, q)), (matrix(64, 16), matrix(16, 10))
    a_row = matrix(1, 9215, layout), matrix(9215, 1)
    seen = []
    for room, name in ((products.reference, "matmul"), (products, "_small_product")):
        monkeypatch.setattr(room, name, lambda a, b: seen.append(a) or a @ b)
    kernels.matmul(*large)
    kernels.matmul(matrix(1, 9216), matrix(9216, 1))
    assert not seen
    for each in (small, a_row, [array.astype(np.float64) for array in large]):
        kernels.matmul(*each)
    assert len(seen) == 3


@compiled
@pytest.mark.parametrize(
    "p, q, asks", [(64, 256, WIDE), (96, 1000, WIDE), (97, 256, 0), (64, 255, 0)]
)
def test_results_are_asked_for_where_writing_them_takes_as_long_as_the_products(p, q, asks):
    few, many = max(FEWEST_ROWS, RESULT_FLOATS // q), BLOCK_FLOATS // p
    assert asks_for_results(p, q) == asks
    assert rows_of_block(2**16, p, q) == -(-(few if asks else many) // 48) * 48
    a, b = matrix(2 * few + 5, p), matrix(p, q, seed=1)
    np.testing.assert_allclose(kernels.matmul(a, b), a.astype(np.float64) @ b, atol=2e-4)


@compiled
def test_a_large_result_of_few_multiplications_lies_in_the_pool(monkeypatch):
    x, weight = matrix(2**16, 2), matrix(2, 2, seed=1)
    lend, lent = memory.empty, []
    monkeypatch.setattr(memory, "empty", lambda *a: lent.append(lend(*a)) or lent[-1])
    for make in (kernels.matmul, lambda a, b: products.linear(a, b.T, None, relu=False)):
        out = make(x, weight)
        np.testing.assert_allclose(out, x @ weight, rtol=1e-5)
        assert np.shares_memory(out, lent.pop())


@pytest.mark.parametrize("rows, columns", [(300, 200), (1, 3000), (3000, 1), (2, 2)])
def test_an_outer_product_is_a_product_of_numbers(rows, columns):
    a, b = matrix(rows, 1), matrix(1, columns, seed=1)
    assert np.array_equal(kernels.matmul(a, b), np.outer(a, b))


def test_the_weights_of_a_few_rows_are_not_turned():
    def choose(m, p, q, a_by_rows=True, b_by_rows=False):
        way, swapped = products.choose(m, p, q, a_by_rows, b_by_rows, 2)
        return way.name, swapped

    assert choose(512, 4096, 512) == ("TILES", False)
    assert choose(8, 4096, 512) == ("TILES", True)
    assert choose(512, 4096, 8) == ("TILES", False)
    assert choose(4, 4096, 512) == ("DOTS", False)
    assert choose(512, 4096, 4) == ("DOTS", True)  # each row of a with few rows of weights
    assert choose(1, 4096, 512, True, True) == ("SCALED", False)
    assert choose(512, 4096, 1, False, False) == ("SCALED", True)
    assert choose(262144, 16, 2) == ("TILES", False)  # the lanes of short dots would be many


@compiled
def test_a_vector_lies_as_is_quickest(monkeypatch):
    seen, choose = [], products.choose
    monkeypatch.setattr(products, "choose", lambda *args: seen.append(choose(*args)) or seen[-1])
    column = matrix(4096, 1)
    for a, b in ((matrix(64, 4096), column), (column.T, matrix(4096, 64, "columns"))):
        check(multiply(a, b), a, b)
    assert [way.name for way, _ in seen] == ["DOTS", "DOTS"]


@compiled
@pytest.mark.parametrize("columns, packing", [(1024, products.COPIED), (1000, products.IN_PLACE)])
def test_rows_that_share_places_in_the_cache_are_copied_sooner(columns, packing):
    with thread_count.use_threads(1):
        assert products.cut_product(20, 512, columns, True).packing == packing
        assert products.cut_product(12, 512, columns, True).packing == products.IN_PLACE
        assert products.cut_product(40, 512, columns, True).packing == products.COPIED


@compiled
def test_threads_share_rows_or_panels_or_both():
    for threads, shape, expected in [
        (2, (512, 3000, PANEL), (2, 1)),
        (2, (8, 3000, 10 * PANEL), (1, 2)),
        (6, (300, 3000, 3 * PANEL), (2, 3)),
        (2, (64, 3000, 3 * PANEL), (2, 1)),  # three panels are no two equal shares
        (2, (4, 30, PANEL), (1, 1)),  # too little for two
    ]:
        with thread_count.use_threads(threads):
            cut = products.cut_product(*shape, True)
        assert (cut.down, cut.across) == expected


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(
    "shape", [*SHAPES, (50, 2000, 75), (5, 5, 5), (4, 20, 4000), (2, 20, 50000)]
)
def test_a_bias_and_a_relu_follow_a_product(shape, relu, biased, layout, threads):
    m, p, q = shape
    x, weight = matrix(m, p, layout), matrix(q, p, layout, seed=1)
    bias = matrix(1, q, seed=2)[0] if biased else None
    kept = x.copy(), weight.copy()
    with thread_count.use_threads(threads):
        found = kernels.linear(x, weight, bias, relu)
    exact = x.astype(np.float64) @ weight.T + (bias if biased else 0)
    scale = np.abs(exact).max()
    exact = np.maximum(exact, 0) if relu else exact
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-6 * scale)
    assert not (relu and np.signbit(found).any())
    assert np.array_equal(x, kept[0]) and np.array_equal(weight, kept[1])


def test_nothing_is_minus_zero_behind_a_relu():
    x, weight = np.zeros((4096, 16), np.float32), -np.ones((8, 16), np.float32)
    assert not np.signbit(kernels.linear(x, weight, None, relu=True)).any()


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
