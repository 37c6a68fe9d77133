"""What lies between the sweeps of batch norm: sums to statistics, statistics to factors."""

from fractions import Fraction

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import kernels
from tinysmooth.kernels.convolution import statistics
from tinysmooth.kernels.jit import ENABLED

needs_compilation = pytest.mark.skipif(not ENABLED, reason="only compiled sums come in parts")
EPS, MOMENTUM, PIXELS = 1e-3, 0.3, 50


def numbers(channels, dtype=np.float32):
    """Return mean, var; weight, bias; running mean and running variance."""
    rng = np.random.default_rng(channels)
    mean, var = rng.normal(2, 3, channels), rng.uniform(0, 4, channels)
    rest = [rng.normal(1, 2, channels).astype(dtype) for _ in range(3)]
    return mean, var, *rest[:2], (rest[2], rng.uniform(0.1, 2, channels).astype(dtype))


def fold(name, channels, arrays, dtype=np.float32):
    """Fold with one of the sets; return all that comes out, the running statistics at the end."""
    mean, var, weight, bias, running = arrays
    running = running and tuple(array.copy() for array in running)
    with kernels.use_kernels(name):
        factors = kernels.batch_norm_fold(
            mean, var, weight, bias, EPS, np.dtype(dtype), running, MOMENTUM, PIXELS
        )
    return *factors, *(running or ())


@pytest.mark.parametrize("channels", [1, 5, 16, 33, 64])
@pytest.mark.parametrize("moving", [True, False])
def test_both_sets_fold_to_the_same_bits(channels, moving):
    arrays = numbers(channels)
    if not moving:
        arrays = (*arrays[:4], None)
    ours, theirs = (fold(name, channels, arrays) for name in ("compiled", "reference"))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["compiled", "reference"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_factors_and_running_statistics_are_those_of_the_formulas(name, dtype):
    arrays = numbers(21, dtype)
    scale, shift, inv_std, *moved = fold(name, 21, arrays, dtype)
    assert scale.dtype == shift.dtype == moved[0].dtype == dtype and inv_std.dtype == np.float64
    x = np.random.default_rng(1).standard_normal((9, 21))
    mean, var, weight, bias, running = (np.float64(array) for array in arrays)
    expected = weight * (x - mean) / np.sqrt(var + EPS) + bias
    close = {"rtol": 0, "atol": 1e-12 if dtype == np.float64 else 2e-5}
    np.testing.assert_allclose(x * np.float64(scale) + shift, expected, **close)
    np.testing.assert_allclose(inv_std**-2, var + EPS, rtol=1e-14)
    batch = mean, var * PIXELS / (PIXELS - 1)
    for new, old, estimate in zip(moved, running, batch, strict=True):
        np.testing.assert_allclose(new, (1 - MOMENTUM) * old + MOMENTUM * estimate, **close)


def at_an_odd_address(array):
    room = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype)
    room[...] = array
    return room


KINDS = {
    "every other": lambda array: np.repeat(array, 2)[::2],
    "reversed": lambda array: array[::-1],
    "float64": lambda array: array.astype(np.float64),
    "odd address": at_an_odd_address,
    "other dtypes beside": np.array,
}


@pytest.mark.parametrize("kind", KINDS)
def test_running_statistics_of_any_kind_are_moved_where_they_are(kind):
    mean, var, weight, bias, running = numbers(6)
    if kind == "other dtypes beside":
        weight = weight.astype(np.float64)
    moved = tuple(KINDS[kind](array) for array in running)
    before = [np.array(array, np.float64) for array in moved]
    kernels.batch_norm_fold(
        mean, var, weight, bias, EPS, np.dtype(np.float32), moved, MOMENTUM, PIXELS
    )
    batch = mean, var * PIXELS / (PIXELS - 1)
    for new, old, estimate in zip(moved, before, batch, strict=True):
        expected = (1 - MOMENTUM) * old + MOMENTUM * estimate
        np.testing.assert_allclose(new, expected, rtol=1e-6, atol=1e-6)


def test_running_statistics_that_are_read_only_stay_as_they_are():
    mean, var, weight, bias, running = numbers(6)
    running[1].flags.writeable = False
    before = running[1].copy()
    with pytest.raises(ValueError, match="read-only"):
        kernels.batch_norm_fold(
            mean, var, weight, bias, EPS, np.dtype(np.float32), running, MOMENTUM, PIXELS
        )
    np.testing.assert_array_equal(running[1], before)


def test_evaluation_moves_nothing():
    norm = ts.nn.BatchNorm2d(3)
    norm.running_mean[...], norm.running_var[...] = [1, 2, 3], [4, 5, 6]
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4), np.float32)
    out = norm.eval()(x)
    assert norm.running_mean.tolist() == [1, 2, 3] and norm.running_var.tolist() == [4, 5, 6]
    mean, var = (np.array(n, np.float64)[:, None, None] for n in ([1, 2, 3], [4, 5, 6]))
    np.testing.assert_allclose(out.data, (x - mean) / np.sqrt(var + norm.eps), rtol=0, atol=1e-6)


@needs_compilation
def test_sums_of_parts_with_other_pivots_give_exact_statistics():
    """Parts of unlike sizes and pivots, one of them empty, against fractions."""
    values = [[3, 5, -2, 8], [], [100, 101, 107], [7]]
    pivots = [4, 0, 99, -50]
    moments, totals = statistics.sums_for(4, 16)
    for part, (some, pivot) in enumerate(zip(values, pivots, strict=True)):
        moments[part, statistics.PIVOT] = pivot
        totals[part, statistics.PIXELS] = len(some)
        totals[part, statistics.TOTAL] = sum(v - pivot for v in some)
        totals[part, statistics.SQUARE] = sum((v - pivot) ** 2 for v in some)
    everything = [Fraction(v) for some in values for v in some]
    mean = sum(everything) / len(everything)
    var = sum((v - mean) ** 2 for v in everything) / len(everything)
    found = statistics.mean_and_variance((moments, totals), 13)
    assert found is not None
    for array, expected in zip(found, (mean, var), strict=True):
        assert array.shape == (13,) and array.dtype == np.float64
        np.testing.assert_allclose(array, float(expected), rtol=1e-13)


@needs_compilation
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_statistics_that_are_not_finite_are_left_to_others(value):
    moments, totals = statistics.sums_for(2, 16)
    totals[:, statistics.PIXELS] = 3
    assert statistics.mean_and_variance((moments, totals), 5) is not None
    totals[1, statistics.SQUARE, 4] = value
    assert statistics.mean_and_variance((moments, totals), 5) is None
    assert statistics.mean_and_variance((moments, totals), 4) is not None
