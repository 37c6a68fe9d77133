"""The gradient of the filters of a first layer, straight through what stands behind it."""

import itertools

import numpy as np
import pytest
from plans import forget_plans

import tinysmooth as ts
from tinysmooth import kernels
from tinysmooth.kernels import blocks, memory, thread_count
from tinysmooth.kernels.convolution import windows_plans
from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.thread_count import set_num_threads
from tinysmooth.kernels.vectors import WIDE

# images, filters, stride, padding
SHAPES = {
    "first layer": ((16, 24, 24, 3), (32, 3, 3, 3), 1, 1),
    "odd, no padding": ((17, 27, 30, 3), (20, 3, 3, 3), 1, 0),
    "grey, 5x5": ((16, 28, 28, 1), (16, 1, 5, 5), 1, 2),
    "stride 2": ((16, 50, 47, 3), (16, 3, 7, 7), 2, 3),
    "two strides": ((16, 24, 80, 4), (17, 4, 3, 5), (1, 2), (0, 2)),
    "a last line alone": ((17, 31, 28, 4), (32, 4, 3, 3), 1, (2, 1)),
}
FLAGS = list(itertools.product([False, True], repeat=3))  # relu, pool, training
FUSED = {"_gradient_by_windows", "_gradient_by_bands"}


@pytest.fixture(autouse=True)
def two_threads():
    """How many images are few depends on the threads."""
    set_num_threads(2)


class Case:
    """A block, its numbers, and a gradient of what it gives."""

    def __init__(self, images, filters, stride, padding, flags=(True, True, True), seed=0):
        rng = np.random.default_rng(seed)
        self.images = rng.standard_normal(images, np.float32)
        self.filters = rng.standard_normal(filters, np.float32)
        self.steps = [(n, n) if isinstance(n, int) else n for n in (stride, padding)]
        self.flags = flags
        self.x = kernels.conv2d_forward(self.images, self.filters, *self.steps)
        channels = filters[0]
        mean, var = kernels.batch_norm_statistics(self.x)
        weight = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        self.numbers = [mean, 1 / np.sqrt(var), weight]
        scale = (weight / np.sqrt(var)).astype(np.float32)
        shift = (rng.standard_normal(channels) - mean * scale).astype(np.float32)
        self.folded = [scale, shift]
        self.result = kernels.batch_norm_apply(self.x, *self.folded, *flags[:2], None)
        self.grad = rng.standard_normal(self.result.shape, np.float32)

    def gradients(self, dtype=np.float32, result=None):
        return kernels.conv2d_block_backward_weight(
            *(self.grad.astype(dtype), self.x.astype(dtype), *self.folded, *self.numbers),
            *(*self.flags, result, self.images.astype(dtype), self.filters.shape, *self.steps),
        )

    def exact(self):
        """All of it in float64, by the reference."""
        with kernels.use_kernels("reference"):
            return self.gradients(np.float64)


def route_of(case):
    """Return the kernel that makes the gradient of the filters, image by image."""
    by_bands = WIDE and case.filters.shape[1:] in ((3, 3, 3), (4, 3, 3))
    return "_gradient_by_bands" if by_bands else "_gradient_by_windows"


def assert_close(ours, exact, tolerance=2e-5):
    for array, expected in zip(ours, exact, strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_it_is_what_both_steps_give(shapes, flags, kernels_run):
    case = Case(*shapes, flags)
    kernels_run.clear()
    memory.workspace(2**21).fill(np.nan)  # what the next kernel finds there
    ours = case.gradients(result=case.result if flags[1] else None)
    if ENABLED:
        assert FUSED & set(kernels_run) == {route_of(case)}
    assert [array.dtype for array in ours] == [np.float32] * 3
    assert ours[0].shape == case.filters.shape
    assert_close(ours, case.exact())


def test_calls_of_one_shape_keep_nothing_of_each_other():
    for seed in range(3):
        case = Case(*SHAPES["first layer"], seed=seed)
        assert_close(case.gradients(), case.exact())


@pytest.fixture
def always_in_zones(monkeypatch):
    """Cut the windows of an image in zones with other taps each, whatever that costs."""
    monkeypatch.setattr(windows_plans, "ZONE", -1e18)
    forget_plans()
    yield
    forget_plans()


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_the_zones_of_all_images_add_up(shapes, always_in_zones, kernels_run):
    case = Case(*shapes)
    memory.workspace(2**21).fill(np.nan)  # what the next kernel finds there
    assert_close(case.gradients(), case.exact())
    if ENABLED:
        assert FUSED & set(kernels_run)


@pytest.mark.parametrize("threads", [1, 2, 3, 40])
def test_any_number_of_threads_gives_the_gradient(threads, monkeypatch, kernels_run):
    set_num_threads(threads)
    monkeypatch.setattr(blocks, "FEWEST_IMAGES", 1)
    monkeypatch.setattr(thread_count, "SMALLEST_PART", 1000)
    forget_plans()
    case = Case((41, 24, 24, 3), *SHAPES["first layer"][1:])
    once, again = case.gradients(), case.gradients()
    assert_close(once, case.exact())
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)
    if ENABLED:
        assert kernels_run.count(route_of(case)) == 2
    forget_plans()


OTHERS = {
    "few images": ((3, 64, 64, 3), (32, 3, 3, 3), 1, 1),
    "small images": ((64, 16, 16, 3), (32, 3, 3, 3), 1, 1),
    "Winograd": ((16, 24, 24, 16), (32, 16, 3, 3), 1, 1),
}


@pytest.mark.parametrize("shapes", OTHERS.values(), ids=OTHERS)
def test_where_it_does_not_pay_both_steps_are_taken(shapes, kernels_run):
    case = Case(*shapes)
    kernels_run.clear()
    ours = case.gradients(result=case.result)
    assert not FUSED & set(kernels_run)
    assert_close(ours, case.exact(), 1e-4)


def test_a_strip_that_fits_no_cache_is_not_made(monkeypatch, kernels_run):
    case = Case(*SHAPES["first layer"])
    monkeypatch.setattr(blocks, "LARGEST_STRIP", 24 * 24 * 32 - 1)
    forget_plans()
    kernels_run.clear()
    assert_close(case.gradients(), case.exact())
    assert not FUSED & set(kernels_run)
    forget_plans()


def test_float64_takes_the_exact_way():
    case = Case(*SHAPES["grey, 5x5"])
    assert_close(case.gradients(np.float64), case.exact(), 1e-12)


def test_inputs_are_left_alone_and_may_be_read_only():
    case = Case(*SHAPES["first layer"])
    arrays = [case.images, case.grad, case.x, *case.folded, *case.numbers]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    case.gradients(result=case.result)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


# ------------------------------------------------------------------ in the block


def block_arguments(needed):
    """The arguments of a block, those by name that need a gradient, and the others."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((16, 3, 24, 24)).astype(np.float32)
    arguments = {
        "x": ts.Tensor(x, requires_grad="x" in needed),
        "filters": ts.Tensor(rng.standard_normal((16, 3, 3, 3)).astype(np.float32)),
        "weight": ts.Tensor(rng.uniform(0.5, 1.5, 16).astype(np.float32)),
        "bias": ts.Tensor(rng.standard_normal(16).astype(np.float32)),
    }
    for name in needed:
        arguments[name].requires_grad = True
    rest = {"running_mean": None, "running_var": None, "training": True, "pool": True, "padding": 1}
    return arguments, rest


def block_gradients(order, needed):
    """Differentiate a block whose images need a gradient or not, arguments in some order."""
    arguments, rest = block_arguments(needed)
    out = ts.ops.conv2d_block(**{name: arguments[name] for name in order}, **rest)
    (out * out).sum().backward()
    return {name: arguments[name].grad for name in needed}


NAMES = ("x", "filters", "weight", "bias")


@pytest.mark.parametrize("order", list(itertools.permutations(NAMES)))
def test_whoever_asks_first_all_get_their_gradient(order):
    expected = block_gradients(NAMES, NAMES)
    for needed in (NAMES, NAMES[1:], NAMES[:2], ("filters",), ("weight", "bias")):
        for name, gradient in block_gradients(order, needed).items():
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(gradient, expected[name], rtol=0, atol=2e-5 * scale)


def test_a_first_layer_makes_no_gradient_of_what_it_gave(kernels_run):
    block_gradients(NAMES, NAMES[1:])
    if ENABLED:
        assert FUSED & set(kernels_run) and "_dx_parts" not in kernels_run
        kernels_run.clear()
        block_gradients(NAMES, NAMES)
        assert not FUSED & set(kernels_run) and "_dx_parts" in kernels_run


@pytest.mark.parametrize("order", list(itertools.permutations(NAMES)))
def test_a_graph_that_is_kept_may_be_walked_with_another_gradient(order):
    """Whatever the first walk left over is not taken for the second."""
    rng = np.random.default_rng(2)
    seeds = rng.standard_normal((2, 16, 16, 12, 12)).astype(np.float32)

    def walks(*chosen):
        arguments, rest = block_arguments(NAMES)
        out = ts.ops.conv2d_block(**{name: arguments[name] for name in order}, **rest)
        for number in chosen:
            for tensor in arguments.values():
                tensor.zero_grad()
            out.backward(seeds[number], retain_graph=True)
        return {name: tensor.grad for name, tensor in arguments.items()}

    both, alone = walks(0, 1), walks(1)
    for name in NAMES:
        np.testing.assert_array_equal(both[name], alone[name])
