"""Batch norm kernels: statistics, the fused forward pass, its gradient; both sets."""

import itertools

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import kernels
from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.thread_count import use_threads

FLAGS = list(itertools.product([False, True], repeat=2))  # relu, pool
SHAPES = [
    (2, 4, 6, 16),  # whole vectors
    (3, 5, 7, 5),  # odd height and width, fewer channels than a vector
    (2, 7, 4, 35),  # odd height, vectors and a rest
    (1, 1, 9, 17),  # no room for a window
    (16, 12, 13, 32),  # enough work for two threads
    (5, 1, 1, 20),  # one pixel an image
    (3, 9, 7, 80),  # four vectors at a time and one more
    (2, 9, 16, 8),  # eight pixels read as one
]


@pytest.fixture(params=["reference", "compiled"])
def kernel_set(request):
    with kernels.use_kernels(request.param):
        yield request.param


class Case:
    """A batch, its coefficients and gradients, all from one seed."""

    def __init__(self, shape, dtype=np.float32, seed=0, mean=2.0):
        rng = np.random.default_rng(seed)
        channels = shape[3]
        self.x = (rng.standard_normal(shape) * rng.uniform(0.5, 2, channels) + mean).astype(dtype)
        self.weight = rng.standard_normal(channels).astype(dtype)
        self.bias = rng.standard_normal(channels).astype(dtype)
        wide = self.x.astype(np.float64)
        self.mean = wide.mean(axis=(0, 1, 2))
        self.inv_std = 1 / np.sqrt(wide.var(axis=(0, 1, 2)) + 1e-2)
        self.fold()
        self.rng = rng

    def fold(self):
        self.scale = (self.weight * self.inv_std).astype(self.x.dtype)
        self.shift = (self.bias - self.mean * self.weight * self.inv_std).astype(self.x.dtype)

    def like(self, shape):
        return self.rng.standard_normal(shape).astype(self.x.dtype)

    def apply(self, relu, pool, residual=None):
        return kernels.batch_norm_apply(self.x, self.scale, self.shift, relu, pool, residual)

    def backward(self, grad, relu, pool, training, result=None):
        return kernels.batch_norm_backward(
            grad,
            self.x,
            self.scale,
            self.shift,
            self.mean,
            self.inv_std,
            self.weight,
            relu,
            pool,
            training,
            result,
        )


def composed(case, relu, pool, residual=None):
    """Return the fused forward pass as one NumPy expression after another."""
    out = case.x * case.scale + case.shift
    out = np.maximum(out, 0) if relu else out
    if pool:
        n, h, w, c = out.shape
        whole = out[:, : h // 2 * 2, : w // 2 * 2]
        out = whole.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
    return out if residual is None else out + residual


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_statistics_equal_numpys_in_float64(kernel_set, shape, dtype):
    case = Case(shape, dtype)
    mean, var = kernels.batch_norm_statistics(case.x)
    assert mean.dtype == var.dtype == np.float64
    wide = case.x.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=(0, 1, 2)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(var, wide.var(axis=(0, 1, 2)), rtol=3e-6, atol=1e-12)


@pytest.mark.parametrize("mean", [1e3, -1e5])
def test_statistics_survive_a_mean_far_larger_than_the_deviation(kernel_set, mean):
    x = Case((8, 16, 16, 24), mean=mean).x
    _, var = kernels.batch_norm_statistics(x)
    np.testing.assert_allclose(var, x.astype(np.float64).var(axis=(0, 1, 2)), rtol=1e-5)


def test_statistics_of_a_constant_channel_have_no_variance(kernel_set):
    mean, var = kernels.batch_norm_statistics(np.full((3, 4, 5, 18), 0.1, np.float32))
    assert np.all(mean == np.float64(np.float32(0.1)))
    assert np.all(var == 0)


@pytest.mark.parametrize("value", [np.nan, 3e25])
def test_statistics_of_extreme_values_are_those_of_float64(kernel_set, value):
    x = Case((2, 4, 4, 17)).x
    x[1, 2, 3, 5] = value
    mean, var = kernels.batch_norm_statistics(x)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, wide.var(axis=(0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("relu", "pool"), FLAGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_apply_equals_its_composition(kernel_set, shape, relu, pool, residual, dtype):
    case = Case(shape, dtype)
    plain = composed(case, relu, pool)
    added = case.like(plain.shape) if residual else None
    out = case.apply(relu, pool, added)
    assert out.dtype == dtype
    assert out.flags.c_contiguous
    np.testing.assert_allclose(out, composed(case, relu, pool, added), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("relu", "pool"), FLAGS)
def test_nan_and_infinity_pass_as_in_numpy(kernel_set, relu, pool):
    case = Case((2, 6, 6, 19))
    case.x[0, 0, 1, :4] = np.nan, np.inf, -np.inf, np.nan
    for tap in range(4):  # wherever in a window it stands
        case.x[1, 2 + tap // 2, 2 + tap % 2, 15 + tap] = np.nan
    expected = composed(case, relu, pool)
    assert np.isnan(expected).sum() >= 3
    np.testing.assert_allclose(case.apply(relu, pool), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("relu", "pool"), FLAGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_equal_pytorchs_composition(kernel_set, shape, relu, pool, training):
    torch = pytest.importorskip("torch")
    if pool and min(shape[1:3]) < 2:
        pytest.skip("PyTorch refuses an empty pooling")
    case = Case(shape, np.float64)
    x, weight, bias = (
        torch.from_numpy(a.copy()).requires_grad_()
        for a in (case.x.transpose(0, 3, 1, 2), case.weight, case.bias)
    )
    running = [torch.from_numpy(case.mean.copy()), torch.from_numpy(case.inv_std**-2 - 1e-2)]
    out = torch.nn.functional.batch_norm(x, *running, weight, bias, training, 0.1, 1e-2)
    out = torch.relu(out) if relu else out
    out = torch.nn.functional.max_pool2d(out, 2) if pool else out
    grad = case.like(tuple(out.permute(0, 2, 3, 1).shape))
    out.backward(torch.from_numpy(grad.transpose(0, 3, 1, 2).copy()))
    dx, dweight, dbias = case.backward(grad, relu, pool, training)
    np.testing.assert_allclose(dx, x.grad.permute(0, 2, 3, 1).numpy(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(dweight, weight.grad.numpy(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(dbias, bias.grad.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("relu", "pool"), FLAGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_sets_agree_on_the_gradients(shape, relu, pool, training):
    case = Case(shape, seed=1)
    grad = case.like(case.apply(relu, pool).shape)
    with kernels.use_kernels("reference"):
        expected = case.backward(grad, relu, pool, training)
    for ours, theirs in zip(case.backward(grad, relu, pool, training), expected, strict=True):
        assert ours.dtype == np.float32
        scale = max(1.0, np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=3e-6 * scale)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the reference's, rightly
@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("pool", [False, True])
def test_without_statistics_a_pixel_spoils_no_other(kernel_set, pool, bad):
    case = Case((2, 6, 6, 20))
    grad = case.like(case.apply(False, pool).shape)
    clean, *_ = case.backward(grad, False, pool, False)
    case.x[1, 3, 3, 7] = bad
    spoilt, *_ = case.backward(grad, False, pool, False)
    window = np.zeros(case.x.shape, bool)
    window[1, 2:4, 2:4, 7] = True  # its neighbours may win or lose with it
    np.testing.assert_array_equal(spoilt[~window], clean[~window])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the reference's, rightly
@pytest.mark.parametrize("bad", [np.inf, -np.inf])
@pytest.mark.parametrize(("relu", "pool"), FLAGS)
def test_without_statistics_no_pixel_has_a_part_in_them(kernel_set, relu, pool, bad):
    case = Case((2, 5, 6, 20))
    case.x[1, 3, 3, 7], case.x[0, 4, 1, 19] = bad, bad
    grad = case.like(case.apply(relu, pool).shape)
    dx, *_ = case.backward(grad, relu, pool, False)
    assert np.isfinite(dx).all()


@pytest.mark.parametrize(("relu", "pool"), FLAGS)
def test_calls_of_one_shape_keep_nothing_of_each_other(relu, pool):
    """Far biases give a result of pooling that may not be summed; that of the next call may."""
    for seed, far in ((1, 1), (2, 100), (3, 1)):
        case = Case((2, 6, 4, 8), seed=seed)
        case.weight += np.copysign(0.5, case.weight)
        case.bias = far * case.weight
        case.fold()
        out = case.apply(relu, pool)
        grad = case.like(out.shape)
        ours = out, *case.backward(grad, relu, pool, True, out if pool else None)
        with kernels.use_kernels("reference"):
            reference = case.apply(relu, pool), *case.backward(grad, relu, pool, True)
        for array, expected in zip(ours, reference, strict=True):
            scale = max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(array, expected, rtol=1e-4, atol=3e-6 * scale)


@pytest.mark.parametrize("pool", [False, True])
def test_coefficients_of_another_dtype_are_rounded_as_in_the_forward_pass(pool):
    case = Case((3, 5, 7, 20), seed=4)
    out = case.apply(True, pool)
    grad = case.like(out.shape)
    expected = case.backward(grad, True, pool, True, out if pool else None)
    rounding = np.linspace(-3e-8, 3e-8, 20)
    for name in ("scale", "shift"):
        wide = getattr(case, name).astype(np.float64) * (1 + rounding)
        setattr(case, name, wide)
    case.weight = case.weight.astype(np.float64)
    ours = case.backward(grad, True, pool, True, out if pool else None)
    assert [array.dtype for array in ours] == [np.float32, np.float64, np.float64]
    for array, same in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(array.astype(np.float32), same)


# Biases, in weights: three near enough to zero for the result to be summed, and two too far.
FAR = [0, 1, 50, 70, 3e3]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("far", FAR)
def test_the_result_of_pooling_serves_in_the_place_of_the_images(
    shape, relu, training, far, kernels_run
):
    case = Case(shape, seed=3)
    case.weight += np.copysign(0.5, case.weight)
    case.bias = far * case.weight
    case.fold()
    out = case.apply(relu, True)
    out.flags.writeable = False
    grad = case.like(out.shape)
    with kernels.use_kernels("reference"):
        expected = case.backward(grad, relu, True, training)
    plain = case.backward(grad, relu, True, training)
    kernels_run.clear()
    short = case.backward(grad, relu, True, training, out)
    if ENABLED:
        assert ("sum_pool_parts" in kernels_run) == (far > 64)
    for ours, theirs, reference in zip(short, plain, expected, strict=True):
        scale = np.abs(reference).max(initial=1e-3)
        error, before = (np.abs(a - reference).max(initial=0) / scale for a in (ours, theirs))
        assert error <= max(2e-5, 2 * before)


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("mean", [0.1, 30.0])
def test_a_rounded_mean_of_many_pixels_does_not_add_up(far, mean):
    """With windows of equal pixels and an even gradient, the gradient of the weight is nothing."""
    case = Case((32, 80, 80, 16), seed=5, mean=mean)
    case.x = case.x[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    wide = case.x.astype(np.float64)
    case.mean, deviation = wide.mean(axis=(0, 1, 2)), wide.std(axis=(0, 1, 2))
    case.inv_std, case.weight = 1 / deviation, np.full(16, 1.1, np.float32)
    case.bias = far * case.weight
    case.fold()
    out = case.apply(False, True)
    for result in (None, out):
        _, dweight, dbias = case.backward(np.ones_like(out), False, True, True, result)
        assert np.abs(dweight).max() < 3e-7 * dbias.max()


@pytest.mark.parametrize("residual", [False, True])
def test_only_a_result_without_a_residual_serves(residual, kernels_run):
    case = Case((2, 6, 6, 20))
    more = case.like((2, 20, 3, 3)) + 3 if residual else None

    def slopes():
        tensors = [ts.Tensor(case.x.transpose(0, 3, 1, 2), requires_grad=True)]
        tensors += [ts.Tensor(value, requires_grad=True) for value in (case.weight, case.bias)]
        out = ts.ops.batch_norm_block(*tensors, None, None, True, pool=True, residual=more)
        (out * out).sum().backward()
        return [tensor.grad for tensor in tensors]

    with kernels.use_kernels("reference"):
        expected = slopes()
    for ours, theirs in zip(slopes(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())
    if ENABLED:
        assert ("sum_pool_parts" in kernels_run) is residual
        assert ("sum_parts" in kernels_run) is not residual


@pytest.mark.parametrize("weight", [0.0, 1.4e-45, 1e-30])
def test_a_channel_with_hardly_a_scale_is_summed_from_the_images(weight):
    case = Case((2, 6, 6, 20))
    case.weight[3], case.bias[3] = weight, 0
    case.fold()
    out = case.apply(True, True)
    grad = case.like(out.shape)
    short, plain = (case.backward(grad, True, True, True, *result) for result in ((out,), ()))
    for ours, theirs in zip(short, plain, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pooled_result_is_not_written_to_before_it_was_read(dtype):
    case = Case((2, 6, 6, 20), dtype)
    x = ts.Tensor(case.x.transpose(0, 3, 1, 2), requires_grad=True)
    out = ts.ops.batch_norm_block(x, case.weight, case.bias, None, None, True, pool=True)
    assert out.data.flags.writeable is (dtype is np.float64)
    out.sum().backward()
    out.data[...] = 0
    assert out.data.flags.writeable and not out.numpy().any()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("relu", "pool"), FLAGS)
def test_gradients_equal_finite_differences(kernel_set, relu, pool, training):
    case = Case((2, 5, 4, 3), np.float64, seed=3)
    grad = case.like(case.apply(relu, pool).shape)

    def loss(x, weight, bias):
        moved = Case((2, 5, 4, 3), np.float64, seed=3)
        moved.x, moved.weight, moved.bias = x, weight, bias
        if training:
            mean, var = kernels.batch_norm_statistics(x)
            moved.mean, moved.inv_std = mean, 1 / np.sqrt(var + 1e-2)
        moved.fold()
        return np.vdot(grad, moved.apply(relu, pool))

    point = (case.x, case.weight, case.bias)
    direction = [case.like(a.shape) for a in point]
    slope = sum(
        np.vdot(g, d)
        for g, d in zip(case.backward(grad, relu, pool, training), direction, strict=True)
    )
    step = 1e-6
    ahead, behind = (
        loss(*(a + sign * step * d for a, d in zip(point, direction, strict=True)))
        for sign in (1, -1)
    )
    assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


def test_the_gradient_of_relu_at_zero_is_zero(kernel_set):
    case = Case((1, 2, 2, 16))
    case.x[...] = 0
    case.shift[...] = 0
    dx, dweight, dbias = case.backward(np.ones_like(case.x), True, False, False)
    assert not dx.any()
    assert not dweight.any()
    assert not dbias.any()


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_of_equal_maxima_the_first_gets_the_gradient(kernel_set, scale):
    case = Case((1, 4, 4, 18))
    case.x[...] = 3
    case.x[0, 0, 0] -= scale  # here the second tap is the first of three equal maxima
    case.scale[...], case.inv_std[...] = scale, 1
    case.shift[...], case.weight[...] = 10, scale
    dx, _, _ = case.backward(np.ones((1, 2, 2, 18), np.float32), True, True, False)
    expected = np.zeros((4, 4))
    expected[[0, 0, 2, 2], [1, 2, 0, 2]] = scale
    np.testing.assert_array_equal(dx, np.broadcast_to(expected[..., None], dx.shape))


def test_pixels_that_pooling_drops_get_a_gradient_through_the_statistics_alone(kernel_set):
    case = Case((2, 5, 7, 16))
    grad = case.like((2, 2, 3, 16))
    dx, dweight, dbias = case.backward(grad, True, True, True)
    x = case.x[:, 4:].astype(np.float64)
    normal = (x - case.mean) * case.inv_std
    pixels = case.x.size / 16
    expected = -case.weight * case.inv_std * (dbias + normal * dweight) / pixels
    np.testing.assert_allclose(dx[:, 4:], expected, rtol=1e-4, atol=1e-6)
    dx, _, _ = case.backward(grad, True, True, False)
    assert not dx[:, 4:].any()
    assert not dx[:, :, 6:].any()


def test_inputs_are_left_alone_and_may_be_read_only(kernel_set):
    case = Case((2, 4, 4, 20))
    grad = case.like((2, 2, 2, 20))
    residual = case.like((2, 2, 2, 20))
    inputs = [case.x, grad, residual, case.scale, case.shift, case.weight]
    before = [a.copy() for a in inputs]
    for array in inputs:
        array.flags.writeable = False
    kernels.batch_norm_statistics(case.x)
    case.apply(True, True, residual)
    case.backward(grad, True, True, True)
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_repetition_gives_the_same_bits_and_threads_the_same_numbers():
    case = Case((16, 24, 24, 40))
    grad = case.like((16, 12, 12, 40))

    def run():
        return *kernels.batch_norm_statistics(case.x), *case.backward(grad, True, True, True)

    with use_threads(3):
        first, again = run(), run()
    with use_threads(1):
        alone = run()
    for a, b, c in zip(first, again, alone, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-4)


def test_a_pooling_or_a_residual_that_does_not_fit_is_refused_before_anything_changes():
    running = np.zeros(2), np.ones(2)
    for shape, options, words in (
        ((3, 2, 1, 4), {"pool": True}, r"pool is True for x of shape \(3, 2, 1, 4\)"),
        ((3, 2), {"pool": True}, r"pool is True for x of shape \(3, 2\)"),
        ((3, 2), {"residual": np.ones((3, 2, 1, 1))}, r"residual has shape \(3, 2, 1, 1\)"),
    ):
        with pytest.raises(ValueError, match=words):
            ts.ops.batch_norm_block(
                np.ones(shape), np.ones(2), np.zeros(2), *running, True, **options
            )
    assert running[0].tolist() == [0, 0] and running[1].tolist() == [1, 1]
