"""Optimisers and schedules: PyTorch's formulas, flat buffers, honest refusals."""

from functools import partial

import numpy as np
import pytest
from gradient_cases import numbers

import tinysmooth as ts
from tinysmooth import optim


def parameters(dtype=np.float64):
    return [
        ts.Tensor(numbers(3, 2).astype(dtype), requires_grad=True),
        ts.Tensor(numbers(4, seed=1).astype(dtype), requires_grad=True),
    ]


def set_grads(params, step):
    for i, parameter in enumerate(params):
        parameter.grad = numbers(*parameter.shape, seed=10 * step + i).astype(parameter.dtype)


def descend(params, optimiser, steps=5):
    """Minimise a quadratic bowl through the walk."""
    for step in range(steps):
        optimiser.zero_grad()
        loss = sum(((p - 0.1 * step) * p).sum() for p in params)
        loss.backward()
        optimiser.step()


OPTIMISERS = {
    "sgd": (optim.SGD, {"lr": 0.1}, "SGD"),
    "momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}, "SGD"),
    "nesterov": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, "SGD"),
    "adamw": (optim.AdamW, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1}, "AdamW"),
}


@pytest.mark.parametrize("kernels", ["compiled", "reference"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_many_steps_equal_pytorch(name, kernels):
    torch = pytest.importorskip("torch")
    ours_class, options, theirs_name = OPTIMISERS[name]
    ours = parameters()
    theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in ours]
    with ts.use_kernels(kernels):
        descend(ours, ours_class(ours, **options))
    descend(theirs, getattr(torch.optim, theirs_name)(theirs, **options))
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.data, two.detach().numpy(), rtol=1e-12)


def test_nesterov_by_hand():
    p = ts.Tensor([1.0], requires_grad=True)
    optimiser = optim.SGD([p], lr=0.1, momentum=0.5, nesterov=True, weight_decay=0.2)
    p.grad = np.array([2.0])
    optimiser.step()  # g = 2.2, v = 2.2, p = 1 - .1 (2.2 + 1.1)
    assert p.item() == pytest.approx(0.67, abs=1e-15)
    p.grad = np.array([1.0])
    optimiser.step()  # g = 1.134, v = 2.234, p = .67 - .1 (1.134 + 1.117)
    assert p.item() == pytest.approx(0.4449, abs=1e-15)


def test_gradients_that_lie_otherwise_give_the_same_steps():
    """An update reads gradients where they lie: in another order, unaligned, read-only."""
    plain, other = parameters(), parameters()
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    one, two = optim.SGD(plain, **options), optim.SGD(other, **options)
    for step in range(4):
        set_grads(plain, step)
        raw = bytearray(1 + 4 * 8)
        unaligned = np.frombuffer(raw, np.float64, 4, offset=1)
        unaligned[:] = plain[1].grad
        unaligned.flags.writeable = step % 2 == 0
        other[0].grad, other[1].grad = np.asfortranarray(plain[0].grad), unaligned
        one.step()
        two.step()
    for a, b in zip(plain, other, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_a_gradient_of_another_dtype_is_converted():
    p = ts.Tensor(np.ones(3, np.float32), requires_grad=True)
    p.grad = np.full(3, 0.5)
    optim.SGD([p], lr=1.0).step()
    np.testing.assert_array_equal(p.data, np.full(3, 0.5, np.float32))


def test_a_gradient_that_somebody_holds_is_never_overwritten():
    """Also where the backward pass has given it away without a copy."""
    weight = ts.Tensor(numbers(4, 3, 3, 3).astype(np.float32), requires_grad=True)
    images = numbers(2, 3, 6, 6, seed=1).astype(np.float32)
    optimiser, held = optim.SGD([weight], lr=0.1, momentum=0.5), []
    for _ in range(4):
        optimiser.zero_grad()
        (ts.conv2d(images, weight, padding=1) ** 2).sum().backward()
        held.append((weight.grad, weight.grad.copy()))
        optimiser.step()
    for now, before in held:
        np.testing.assert_array_equal(now, before)


def test_a_parameter_without_a_gradient_stays_as_it_is():
    params = parameters()
    before = params[1].data.copy()
    optimiser = optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.5)
    params[0].grad = np.ones((3, 2))
    optimiser.step()
    np.testing.assert_array_equal(params[1].data, before)
    assert (params[0].data != numbers(3, 2)).all()


def test_adamw_counts_the_steps_of_each_parameter():
    torch = pytest.importorskip("torch")
    ours = parameters()
    theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in ours]
    one, two = optim.AdamW(ours, lr=0.01), torch.optim.AdamW(theirs, lr=0.01)
    for step in range(4):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            present = i == 0 or step % 2
            a.grad = numbers(*a.shape, seed=step) if present else None
            b.grad = torch.tensor(a.grad) if present else None
        one.step()
        two.step()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-12)


def test_groups_have_their_own_weight_decay():
    params = parameters()
    before = [p.data.copy() for p in params]
    groups = [{"params": params[:1]}, {"params": params[1:], "weight_decay": 0.0}]
    optimiser = optim.SGD(groups, lr=0.5, weight_decay=0.2)
    for p in params:
        p.grad = np.zeros(p.shape)
    optimiser.step()
    np.testing.assert_allclose(params[0].data, 0.9 * before[0])
    np.testing.assert_array_equal(params[1].data, before[1])


def test_parameters_of_two_dtypes_are_both_moved():
    params = [parameters(np.float32)[0], parameters(np.float64)[1]]
    descend(params, optim.SGD(params, lr=0.1), steps=1)
    assert [p.dtype for p in params] == [np.float32, np.float64]
    np.testing.assert_allclose(params[1].data, 0.8 * numbers(4, seed=1), rtol=1e-12)


def test_gradients_that_somebody_holds_are_never_overwritten():
    params = parameters()
    optimiser = optim.SGD(params, lr=0.1)
    held = []
    for step in range(3):
        optimiser.zero_grad()
        sum((p * (step + 1.0)).sum() for p in params).backward()
        held.append(params[0].grad)
        optimiser.step()
    assert [float(grad[0, 0]) for grad in held] == [1.0, 2.0, 3.0]


def test_module_zero_grad_without_the_optimisers_is_enough():
    params = parameters()
    optimiser = optim.SGD(params, lr=0.1)
    for _ in range(2):
        for p in params:
            p.zero_grad()
        sum((p * 2.0).sum() for p in params).backward()
        assert params[0].grad.tolist() == [[2.0, 2.0]] * 3
        optimiser.step()
    np.testing.assert_allclose(params[1].data, numbers(4, seed=1) - 0.4)


def test_replacing_the_numbers_of_a_parameter_is_seen_by_the_next_step():
    params = parameters()
    optimiser = optim.SGD(params, lr=0.1)
    params[0].data = np.full((3, 2), 5.0)
    params[0].grad = np.ones((3, 2))
    optimiser.step()
    np.testing.assert_allclose(params[0].data, 4.9)
    params[0].data[...] = 1.0
    params[0].grad = np.ones((3, 2))
    optimiser.step()
    np.testing.assert_allclose(params[0].data, 0.9)


def test_two_optimisers_may_share_a_parameter():
    params = parameters()
    one, two = optim.SGD(params, lr=0.1), optim.SGD(params, lr=0.2)
    for optimiser in (one, two, one):
        for p in params:
            p.grad = np.ones(p.shape)
        optimiser.step()
    np.testing.assert_allclose(params[1].data, numbers(4, seed=1) - 0.4)


@pytest.mark.parametrize("name", ["nesterov", "adamw"])
def test_state_restores_the_very_next_bits(name):
    make, options, _ = OPTIMISERS[name]
    straight = parameters(np.float32)
    optimiser = make(straight, **options)
    descend(straight, optimiser, 3)
    resumed = [ts.Tensor(p.data, requires_grad=True) for p in straight]
    later = make(resumed, **options)
    later.load_state_dict(optimiser.state_dict())
    descend(straight, optimiser, 3)
    descend(resumed, later, 3)
    for a, b in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_a_state_of_another_optimiser_is_refused():
    one, two = optim.SGD(parameters(), lr=0.1), optim.AdamW(parameters())
    with pytest.raises(KeyError, match="velocity"):
        one.load_state_dict(two.state_dict())
    with pytest.raises(ValueError, match="shape"):
        one.load_state_dict(optim.SGD(parameters()[:1], lr=0.1).state_dict())


# Schedules


def rates(schedule):
    values = []
    for _ in range(schedule.total_steps):
        values.append(schedule.optimiser.lr)
        schedule.step()
    return values


def test_one_cycle_rises_to_the_peak_and_falls_to_almost_nothing():
    schedule = optim.OneCycle(optim.SGD(parameters(), lr=9.0), 0.5, 101, warmup=0.2)
    values = rates(schedule)
    assert values[0] == pytest.approx(0.02)
    assert values[20] == max(values) == pytest.approx(0.5)
    assert values[10] == pytest.approx((0.5 + 0.02) / 2)
    assert values[60] == pytest.approx(0.5 * (1 + 1e-4) / 2)
    assert values[-1] == pytest.approx(5e-5)
    assert schedule.optimiser.lr == pytest.approx(5e-5)  # holds on after the end


def test_cosine_warms_up_in_a_straight_line():
    schedule = optim.Cosine(optim.SGD(parameters(), lr=9.0), 1.0, 14, warmup_steps=3)
    values = rates(schedule)
    assert values[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert values[-1] == pytest.approx(1e-4)
    assert values[8] == pytest.approx((1 + 1e-4) / 2)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_schedules_work(steps):
    for make in (optim.OneCycle, optim.Cosine):
        assert all(r > 0 for r in rates(make(optim.SGD(parameters(), lr=1.0), 1.0, steps)))


def test_a_schedule_can_be_moved_to_a_step():
    one = optim.OneCycle(optim.SGD(parameters(), lr=1.0), 1.0, 50)
    two = optim.OneCycle(optim.SGD(parameters(), lr=1.0), 1.0, 50)
    for _ in range(17):
        one.step()
    two.steps_done = 17
    assert one.optimiser.lr == two.optimiser.lr


def test_an_optimiser_tells_that_its_parameters_changed_their_dtype():
    layer = ts.nn.Linear(2, 2)
    optimiser = optim.SGD(layer.parameters(), lr=0.1)
    layer.astype(np.float64)
    layer(np.ones((1, 2))).sum().backward()
    with pytest.raises(RuntimeError, match=r"is float64 now; .* Make the optimiser after astype"):
        optimiser.step()


@pytest.mark.parametrize("change", [{"lr": -5.0}, {"0.velocity": np.full(2, "a")}])
def test_a_state_that_does_not_fit_changes_nothing(change):
    parameter = ts.Tensor([1.0, 2.0], requires_grad=True)
    optimiser = optim.SGD([parameter], lr=0.1, momentum=0.9)
    state = {**optimiser.state_dict(), "lr": np.array(7.0), **change}
    with pytest.raises((TypeError, ValueError), match="load_state_dict"):
        optimiser.load_state_dict(state)
    assert optimiser.lr == 0.1
    with pytest.raises(TypeError, match="None"):
        optimiser.load_state_dict(None)


def test_a_group_may_hold_a_single_tensor():
    parameter = ts.Tensor([1.0, 2.0], requires_grad=True)
    optimiser = optim.SGD([{"params": parameter}], lr=0.5)
    parameter.sum().backward()
    optimiser.step()
    assert parameter.numpy().tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: optim.OneCycle(o, 1.0, 1),
        lambda o: optim.OneCycle(o, 1.0, 4, warmup=1.0),
        lambda o: optim.Cosine(o, 1.0, 1),
        lambda o: optim.Cosine(o, 1.0, 4, warmup_steps=3),
    ],
)
def test_a_schedule_without_room_to_fall_ends_at_its_peak(schedule):
    made = schedule(optim.SGD([ts.Tensor([1.0], requires_grad=True)], lr=0.1))
    assert made.lr_at(made.total_steps - 1) == 1.0


@pytest.mark.parametrize("make", [partial(optim.SGD, lr=0.1), partial(optim.AdamW, lr=0.1)])
def test_replaced_numbers_leave_the_graph_its_own(make):
    p, other = (ts.Tensor(np.array([1.0, 2.0]), requires_grad=True) for _ in range(2))
    x = ts.Tensor(np.ones(2), requires_grad=True)
    optimiser = make([other, p])
    y = (p * x + other * x).sum()
    p.data = p.data * 100
    other.grad, p.grad = np.ones(2), np.ones(2)
    optimiser.step()
    assert (p.data > 90).all() and (other.data < 3).all()
    y.backward()
    np.testing.assert_array_equal(x.grad, [2.0, 4.0])
    before = p.data.copy()
    optimiser.step()  # and the numbers taken in are those that are stepped
    assert (p.data < before).all()


@pytest.mark.parametrize("steps", [[-1], [1.5], [np.nan], [np.inf], [1e30]])
def test_impossible_numbers_of_steps_are_refused(steps):
    optimiser = optim.AdamW([ts.Tensor([1.0], requires_grad=True)], lr=0.1)
    state = optimiser.state_dict() | {"0.steps": np.array(steps)}
    with pytest.raises(ValueError, match=r"0\.steps has .*; expected numbers of steps"):
        optimiser.load_state_dict(state)
