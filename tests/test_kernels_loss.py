"""The compiled loss kernels: equal to the reference, and an exp with a proven error."""

import numpy as np
import pytest

from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.reference import loss as reference
from tinysmooth.kernels.thread_count import use_threads

if not ENABLED:
    pytest.skip("kernels are compiled", allow_module_level=True)

from tinysmooth.kernels import loss as compiled
from tinysmooth.kernels.exponential import exp_of_difference
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, splat, store

SIZES = [1, 2, 10, 15, 16, 17, 31, 32, 33, 48, 100, 2047, 2048, 2049, 4100]
TOLERANCE = {np.float32: 4e-7, np.float64: 1e-13}


@jit
def many_exps(values, top, out):
    for i in range(0, values.size, LANES):
        store(out, i, exp_of_difference(load(values, i), splat(top)))


def exps(values, top=0.0):
    padded = np.resize(np.asarray(values, np.float32), -(-len(values) // LANES) * LANES)
    out = np.empty_like(padded)
    many_exps(padded, np.float32(top), out)
    return out[: len(values)]


def ulps(values, top=0.0):
    """Error of the vector exp in units of the last place of the true value."""
    values = np.asarray(values, np.float32)
    true = np.exp(values.astype(np.float64) - np.float64(np.float32(top)))
    unit = np.spacing(true.astype(np.float32)).astype(np.float64)
    return np.abs(exps(values, top) - true) / unit


def test_exp_is_within_two_ulp_over_the_whole_range():
    assert ulps(np.linspace(-104, 0, 1_000_003)).max() <= 2
    assert ulps(-np.logspace(-12, 2, 200_003)).max() <= 2


def test_exp_is_within_two_ulp_where_results_are_denormal():
    assert ulps(np.linspace(-103.9, -87.3, 100_003)).max() <= 2


def test_exp_of_a_difference_does_not_lose_what_the_subtraction_rounds_off():
    values = np.random.default_rng(0).uniform(-60, 40, 100_000)
    assert ulps(values, 40.1).max() <= 2


def test_exp_at_the_edges():
    edges = [0.0, -np.inf, -104.0, -1e30, -3.4e38, np.nan]
    np.testing.assert_array_equal(exps(edges), [1, 0, 0, 0, 0, np.nan])


def test_exp_of_every_kind_of_nan_is_nan():
    bits = np.array([0x7FC00000, 0xFFC00000, 0x7FC00001, 0xFFFFFFFF, 0x7FD55555], np.uint32)
    assert np.isnan(exps(bits.view(np.float32))).all()


def problem(rows, size, dtype, spread=5.0):
    rng = np.random.default_rng(size)
    logits = (spread * rng.standard_normal((rows, size))).astype(dtype)
    targets = rng.integers(0, size, rows)
    targets[rows // 2] = -100
    weight = rng.uniform(0.1, 2, size).astype(dtype)
    weight[0] = 0.0
    probs = rng.dirichlet(np.ones(size), rows).astype(dtype)
    return logits, targets, weight, probs


def assert_same(ours, theirs, dtype):
    losses, gradient = ours
    expected_losses, expected_gradient = theirs
    # With negative smoothing the terms of a loss have both signs: relative to the largest loss.
    largest = np.abs(expected_losses).max()
    np.testing.assert_allclose(
        losses, expected_losses, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * largest
    )
    assert gradient.dtype == expected_gradient.dtype == dtype
    difference = np.abs(gradient - expected_gradient).max()
    assert difference <= TOLERANCE[dtype] * np.abs(expected_gradient).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
def test_compiled_rows_equal_the_reference(size, dtype):
    logits, targets, weight, probs = problem(4, size, dtype)
    for eps in (0.0, 0.1, 1.0, -0.4):
        for weights in (None, weight):
            arguments = (logits, targets, weights, eps, -100, 0.25, True)
            assert_same(
                compiled.cross_entropy_rows(*arguments),
                reference.cross_entropy_rows(*arguments),
                dtype,
            )
            arguments = (logits, probs, weights, eps, 0.25, True)
            assert_same(
                compiled.soft_cross_entropy_rows(*arguments),
                reference.soft_cross_entropy_rows(*arguments),
                dtype,
            )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
def test_compiled_softmax_and_its_logarithm_equal_the_reference(size, dtype):
    logits = problem(3, size, dtype, spread=20.0)[0]
    for name in ("softmax_rows", "log_softmax_rows"):
        ours, theirs = getattr(compiled, name)(logits), getattr(reference, name)(logits)
        normal = np.abs(theirs) > 1e-37
        np.testing.assert_allclose(ours[normal], theirs[normal], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [2, 17, 40])
def test_special_values_come_out_as_in_the_reference(size, dtype):
    logits = np.zeros((9, size), dtype)
    for row, value in enumerate([np.nan, np.inf, -np.inf, 3e38, -3e38]):
        logits[row, row % size] = value
    logits[5] = -np.inf
    logits[6] = np.nan
    logits[7, -1] = np.nan
    logits[8, -1] = -np.inf
    targets = np.zeros(9, np.int64)
    for eps in (0.0, 0.1):
        ours = compiled.cross_entropy_rows(logits, targets, None, eps, -100, 1.0, True)
        theirs = reference.cross_entropy_rows(logits, targets, None, eps, -100, 1.0, True)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=1e-7)


def test_ties_at_the_maximum_count_each():
    for size in (2, 16, 33, 5000):
        z = np.full((1, size), 7.5, np.float32)
        losses, gradient = compiled.cross_entropy_rows(z, np.array([1]), None, 0.0, -100, 1.0, True)
        assert losses[0] == pytest.approx(np.log(size), rel=1e-15)
        assert gradient[0, 0] == pytest.approx(1 / size, rel=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_value_alone_has_the_same_bits_and_parts_do_not_change_any(dtype):
    logits, targets, _, _ = problem(600, 300, dtype)
    results = []
    for threads in (1, 2, 3):
        with use_threads(threads):
            results.append(compiled.cross_entropy_rows(logits, targets, None, 0.1, -100, 1.0, True))
            alone, nothing = compiled.cross_entropy_rows(
                logits, targets, None, 0.1, -100, 1.0, False
            )
        assert nothing is None
        np.testing.assert_array_equal(alone, results[0][0])
    for losses, gradient in results[1:]:
        np.testing.assert_array_equal(losses, results[0][0])
        np.testing.assert_array_equal(gradient, results[0][1])


def test_scan_finds_the_first_bad_row_and_the_divisor():
    weight = np.array([1.0, 2.0, 4.0])
    for room in (compiled, reference):
        assert room.scan_targets(np.array([0, 2, 2, -100]), 3, -100, None) == (-1, 3.0)
        assert room.scan_targets(np.array([0, 2, 2, -100]), 3, -100, weight) == (-1, 9.0)
        assert room.scan_targets(np.array([0, -1, 3]), 3, -100, None) == (1, 0.0)
        assert room.scan_targets(np.array([0, -1, 3]), 3, -1, weight) == (2, 0.0)
        assert room.scan_targets(np.array([], np.int64), 3, -100, None) == (-1, 0.0)


def test_inputs_stay_as_they_are():
    logits, targets, weight, probs = problem(5, 20, np.float32)
    before = [array.copy() for array in (logits, targets, weight, probs)]
    compiled.cross_entropy_rows(logits, targets, weight, 0.1, -100, 1.0, True)
    compiled.soft_cross_entropy_rows(logits, probs, weight, 0.1, 1.0, True)
    compiled.log_softmax_rows(logits)
    for array, copy in zip((logits, targets, weight, probs), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("batch", [4, 4000], ids=["in one part", "in several"])
def test_read_only_arrays_compile_nothing_anew_and_give_the_same_bits(batch):
    logits, targets, weight, _ = problem(batch, 20, np.float32)
    kernels, results = (compiled._scan, compiled._rows), []
    for _ in range(2):
        options = (weight, 0.1, -100, 1.0, True)
        scan = compiled.scan_targets(targets, 20, -100, weight)
        results.append((scan, *compiled.cross_entropy_rows(logits, targets, *options)))
        if len(results) == 1:
            before = [kernel.specialisations for kernel in kernels]
            for array in (logits, targets, weight):
                array.flags.writeable = False
    assert [kernel.specialisations for kernel in kernels] == before
    assert results[0][0] == results[1][0]
    for first, second in zip(results[0][1:], results[1][1:], strict=True):
        np.testing.assert_array_equal(first, second)
