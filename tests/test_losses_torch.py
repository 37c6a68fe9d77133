"""Equality with PyTorch, value and gradient, over whatever Hypothesis thinks of.

float64 against float64. float32 against PyTorch in float64, because there ours is the more accurate
one; the tolerance is relative to the largest entry.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinysmooth as ts

torch = pytest.importorskip("torch")
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}


@st.composite
def problems(draw):
    """Return logits, targets and options; the arrays in an arbitrary memory layout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    classes = draw(st.integers(1, 40))
    places = draw(st.lists(st.integers(1, 4), max_size=2))
    shape = draw(st.sampled_from([(classes,), (draw(st.integers(1, 9)), classes, *places)]))
    axis = 0 if len(shape) == 1 else 1
    rows = shape[:axis] + shape[axis + 1 :]
    scale = draw(st.sampled_from([0.0, 0.1, 1.0, 5.0, 30.0]))
    logits = (scale * rng.standard_normal(shape) + draw(st.floats(-50, 50))).astype(dtype)
    options = {
        "label_smoothing": draw(st.one_of(st.sampled_from([0.0, 0.1, 1.0]), st.floats(0, 1))),
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
    }
    if draw(st.booleans()):
        weights = rng.uniform(0.0, 3.0, classes) * (rng.random(classes) < 0.9)
        options["weight"] = weights.astype(dtype)
    if draw(st.booleans()):
        targets = rng.dirichlet(np.full(classes, draw(st.sampled_from([0.1, 1.0]))), rows)
        targets = np.moveaxis(targets, -1, axis).astype(dtype)
    else:
        targets = np.asarray(rng.integers(0, classes, rows))
        options["ignore_index"] = draw(st.sampled_from([-100, -1, 0, 255]))
        if draw(st.booleans()):
            targets = np.where(rng.random(rows) < 0.3, options["ignore_index"], targets)
    return laid_out(draw, logits), targets, options


def laid_out(draw, array):
    """Give an array another memory order, with the same numbers."""
    order = draw(st.sampled_from(["C", "F", "permuted", "strided", "reversed"]))
    if order == "permuted":
        axes = draw(st.permutations(range(array.ndim)))
        back = np.argsort(axes)
        return np.ascontiguousarray(array.transpose(axes)).transpose(back)
    if order == "strided":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if order == "reversed":
        return array[::-1].copy()[::-1]
    return np.array(array, order=order)


def of_torch(logits, targets, options):
    tensor = torch.tensor(np.array(logits, np.float64), requires_grad=True)
    wide = targets.astype(np.float64) if targets.dtype.kind == "f" else targets.astype(np.int64)
    weight = options.get("weight")
    out = torch.nn.functional.cross_entropy(
        tensor,
        torch.tensor(wide),
        weight=None if weight is None else torch.tensor(weight.astype(np.float64)),
        **{name: value for name, value in options.items() if name != "weight"},
    )
    out.sum().backward()
    return out.detach().numpy(), tensor.grad.numpy()


def assert_close(ours, theirs, dtype, terms):
    assert ours.dtype == dtype
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    finite = np.isfinite(theirs)
    scale = max(np.abs(theirs[finite]).max(initial=0.0), terms)
    assert np.abs(ours - theirs)[finite].max(initial=0.0) <= TOLERANCE[dtype] * scale


@pytest.mark.parametrize("kernels", ["compiled", "reference"])
@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_value_and_gradient_equal_pytorch(kernels, problem):
    logits, targets, options = problem
    value, gradient = of_torch(logits, targets, options)
    dtype = logits.dtype.type
    with ts.use_kernels(kernels):
        tensor = ts.Tensor(logits, requires_grad=True)
        ours = ts.cross_entropy(tensor, targets, **options)
        ours.backward(np.ones_like(ours.data))
    # A loss is a sum of terms as large as the spread of the logits; PyTorch's own rounding shows
    # in a loss that is small against them.
    rounding = 1e-15 * float(np.ptp(logits))
    assert_close(ours.data, value, dtype, rounding / TOLERANCE[dtype])
    # Where a row is ignored or has no weight its gradient is exactly 0; PyTorch may say NaN.
    if np.isfinite(gradient).all():
        # Entries are differences of p and q', which may cancel to nothing.
        rows = logits.size // logits.shape[min(logits.ndim - 1, 1)]
        largest = float(np.max(options.get("weight", 1.0)))
        assert_close(
            tensor.grad, gradient, dtype, largest / (rows if options["reduction"] == "mean" else 1)
        )


def test_where_pytorch_forgets_the_tail_ours_agrees_with_its_own_softplus():
    gaps = torch.tensor([17.0, 25.0, 60.0])
    logits = np.stack([gaps.numpy(), np.zeros(3, np.float32)], axis=1)
    zero = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.zeros(3, dtype=torch.long), reduction="none"
    )
    assert not zero.any()
    tail = torch.nn.functional.softplus(-gaps.double()).numpy()
    ours = ts.cross_entropy(logits, [0, 0, 0], reduction="none").data
    np.testing.assert_allclose(ours, tail, rtol=2e-7)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_family_equals_pytorch(name, axis):
    x = 5 * np.random.default_rng(0).standard_normal((3, 4, 5))
    tensor, theirs = ts.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out, expected = getattr(ts, name)(tensor, axis=axis), getattr(torch, name)(theirs, axis)
    above = np.random.default_rng(1).standard_normal(out.shape)
    out.backward(above)
    expected.backward(torch.tensor(above))
    np.testing.assert_allclose(out.data, expected.detach(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(tensor.grad, theirs.grad, rtol=0, atol=1e-13)


def test_gradient_of_probability_targets_equals_pytorch():
    rng = np.random.default_rng(2)
    z, q, w = rng.standard_normal((4, 3)), rng.dirichlet(np.ones(3), 4), rng.uniform(1, 2, 3)
    targets, theirs = ts.Tensor(q, requires_grad=True), torch.tensor(q, requires_grad=True)
    ts.cross_entropy(z, targets, label_smoothing=0.1, weight=w).backward()
    torch.nn.functional.cross_entropy(
        torch.tensor(z), theirs, label_smoothing=0.1, weight=torch.tensor(w)
    ).backward()
    np.testing.assert_allclose(targets.grad, theirs.grad, rtol=0, atol=1e-14)
