"""Optimiser kernels: frozen steps, PyTorch, and both sets against each other."""

import numpy as np
import pytest

from tinysmooth import kernels

# Three steps of torch.optim.SGD and AdamW (torch 2.13, float64); see test_frozen_steps.
FROZEN_SGD = [0.4684841244975625, -1.0220223782901248, 1.8767198930065003]
FROZEN_ADAMW = [0.4607057319877562, -1.0891261733590505, 1.9947000449139802]

SIZES = [1, 7, 64, 5003, 70_001]
DTYPES = [(np.float32, 1e-6), (np.float64, 1e-12)]


@pytest.fixture(params=["reference", "compiled"])
def kernel_set(request):
    with kernels.use_kernels(request.param):
        yield request.param


def buffers(size, dtype, seed=0):
    rng = np.random.default_rng(seed)
    parameters = rng.standard_normal(size).astype(dtype)
    gradients = [rng.standard_normal(size).astype(dtype) for _ in range(4)]
    return parameters, gradients


@pytest.mark.parametrize("nesterov", [False, True])
def test_two_steps_of_sgd_by_hand(kernel_set, nesterov):
    p, v = np.array([1.0, -2.0]), np.zeros(2)
    decay = np.array([0.5, 0.0])
    # g + decay p = (0.2 + 0.5, 0.4); v is the same; with Nesterov the step is 1.9 times as long.
    kernels.sgd_update(p, [np.array([0.2]), np.array([0.4])], v, decay, 0.1, 0.9, nesterov)
    np.testing.assert_allclose(v, [0.7, 0.4], rtol=1e-15)
    factor = 1.9 if nesterov else 1.0
    np.testing.assert_allclose(p, [1 - 0.07 * factor, -2 - 0.04 * factor], rtol=1e-15)
    start = p.copy()
    kernels.sgd_update(p, [np.zeros(2)], v, np.zeros(1), 0.1, 0.9, nesterov)
    np.testing.assert_allclose(v, [0.63, 0.36], rtol=1e-15)
    look_ahead = 0.9 if nesterov else 1.0
    np.testing.assert_allclose(p, start - 0.1 * look_ahead * v, rtol=1e-15)


def test_the_first_step_of_adamw_is_the_learning_rate_in_the_direction_of_the_sign(kernel_set):
    p, m, v = np.array([1.0, 2.0, 3.0]), np.zeros(3), np.zeros(3)
    gradient, decay = np.array([10.0, -0.01, 0.5]), np.array([0.0, 0.0, 0.1])
    pieces = np.split(gradient, 3)
    kernels.adamw_update(p, pieces, m, v, decay, 0.01, 0.9, 0.999, 1e-12, 1)
    np.testing.assert_allclose(p, [0.99, 2.01, 3 * (1 - 0.001) - 0.01], rtol=1e-9)
    np.testing.assert_allclose(m, 0.1 * gradient, rtol=1e-14)
    np.testing.assert_allclose(v, 0.001 * gradient**2, rtol=1e-12)


def test_frozen_steps(kernel_set):
    """The numbers stand above, so that the test needs no torch."""
    p, v = np.array([0.5, -1.0, 2.0]), np.zeros(3)
    second, first = np.zeros(3), np.zeros(3)
    q = p.copy()
    for step, g in enumerate(([0.1, 0.2, -0.3], [-0.4, 0.5, 0.6], [0.7, -0.8, 0.9]), start=1):
        g, decay = np.array(g), np.array([0.01])
        kernels.sgd_update(p, [g], v, decay, 0.05, 0.9, True)
        kernels.adamw_update(q, [g], first, second, decay, 0.05, 0.9, 0.99, 1e-8, step)
    np.testing.assert_allclose(p, FROZEN_SGD, rtol=1e-13)
    np.testing.assert_allclose(q, FROZEN_ADAMW, rtol=1e-13)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("momentum,nesterov", [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_equals_pytorch(kernel_set, size, momentum, nesterov, dtype, tolerance):
    torch = pytest.importorskip("torch")
    p, gradients = buffers(size, dtype)
    theirs = torch.from_numpy(p.copy()).requires_grad_()
    optimiser = torch.optim.SGD(
        [theirs], lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.02
    )
    v, decay = np.zeros_like(p), np.array([0.02], dtype)
    for gradient in gradients:
        theirs.grad = torch.from_numpy(gradient)
        optimiser.step()
        kernels.sgd_update(p, [gradient], v, decay, 0.1, momentum, nesterov)
    np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_adamw_equals_pytorch(kernel_set, size, dtype, tolerance):
    torch = pytest.importorskip("torch")
    p, gradients = buffers(size, dtype)
    theirs = torch.from_numpy(p.copy()).requires_grad_()
    optimiser = torch.optim.AdamW([theirs], lr=0.01, betas=(0.8, 0.95), weight_decay=0.02)
    m, v, decay = np.zeros_like(p), np.zeros_like(p), np.array([0.02], dtype)
    for step, gradient in enumerate(gradients, start=1):
        theirs.grad = torch.from_numpy(gradient)
        optimiser.step()
        kernels.adamw_update(p, [gradient], m, v, decay, 0.01, 0.8, 0.95, 1e-8, step)
    np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_both_sets_agree_also_with_decay_that_differs(size, dtype, tolerance):
    def run():
        p, gradients = buffers(size, dtype)
        q, state = p.copy(), [np.zeros_like(p) for _ in range(3)]
        decay = np.array([0.02, 0, 0.5], dtype)
        for step, gradient in enumerate(gradients, start=1):
            pieces = np.array_split(gradient, 3)
            kernels.sgd_update(p, pieces, state[0], decay, 0.1, 0.9, True)
            kernels.adamw_update(q, pieces, *state[1:], decay, 0.01, 0.9, 0.99, 1e-8, step)
        return p, q, *state

    with kernels.use_kernels("reference"):
        expected = run()
    for ours, theirs in zip(run(), expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("size", SIZES)
def test_one_call_for_two_pieces_is_the_same_as_a_call_for_each(kernel_set, size):
    def update(buffers, first_grads, second_grads, decay):
        p, velocity, first, second = buffers
        kernels.sgd_update(p, first_grads, velocity, decay, 0.1, 0.9, True)
        kernels.adamw_update(p, second_grads, first, second, decay, 0.1, 0.9, 0.9, 1e-8, 1)

    p, (one, two, *_) = buffers(size, np.float32)
    cut, decay = size // 3, np.array([0.1, 0.4], np.float32)
    together, apart = ([p.copy(), *np.zeros((3, size), np.float32)] for _ in range(2))
    update(together, np.split(one, [cut]), np.split(two, [cut]), decay)
    for i, piece in enumerate((slice(cut), slice(cut, None))):
        own = [buffer[piece] for buffer in apart]
        update(own, [one[piece]], [two[piece]], decay[i : i + 1])
    for ours, theirs in zip(together, apart, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_gradients_and_decay_are_left_alone_and_pieces_update_only_themselves(kernel_set):
    (p, gradients), decay = buffers(300, np.float32), np.array([0.02], np.float32)
    before = [a.copy() for a in (p, gradients[0], decay)]
    v = np.zeros_like(p)
    piece = slice(100, 200)
    arrays = (p[piece], [gradients[0][piece]], v[piece], decay)
    kernels.sgd_update(*arrays, 0.1, 0.9, False)
    np.testing.assert_array_equal(gradients[0], before[1])
    np.testing.assert_array_equal(decay, before[2])
    np.testing.assert_array_equal(np.delete(p, piece), np.delete(before[0], piece))
    assert np.all(p[piece] != before[0][piece])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_in_pieces_are_read_where_they_lie(kernel_set, dtype):
    """Pieces shorter and longer than a block of the kernel, and ends of parts inside a piece."""
    size = 70_001
    p, gradients = buffers(size, dtype)
    results = []
    for cuts in ([], [1, 2, 66, 5000, 5001, 34_000, 69_000]):
        states = [[a.copy() for a in (p, *np.zeros((3, size), dtype))] for _ in range(2)]
        for step, gradient in enumerate(gradients, start=1):
            # Copies, so that none lies behind the one before.
            pieces = [piece.copy() for piece in np.split(gradient, cuts)]
            sgd, adamw, decay = *states, np.full(len(pieces), 0.02, dtype)
            kernels.sgd_update(sgd[0], pieces, sgd[1], decay, 0.1, 0.9, step % 2 == 0)
            kernels.adamw_update(adamw[0], pieces, *adamw[1:3], decay, 0.1, 0.9, 0.9, 1e-8, step)
        results.append([*states[0], *states[1]])
    for whole, pieces in zip(*results, strict=True):
        np.testing.assert_array_equal(whole, pieces)


def test_a_zero_gradient_and_no_eps_gives_nan_not_an_exception(kernel_set):
    p, m, v, nothing = np.ones(3), np.zeros(3), np.zeros(3), np.zeros(3)
    with np.errstate(invalid="ignore"):
        kernels.adamw_update(p, [nothing], m, v, np.zeros(1), 0.1, 0.9, 0.99, 0.0, 1)
    assert np.all(np.isnan(p))


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_a_running_mean_moves_its_share_of_the_way_and_both_sets_to_the_same_bits(
    size, dtype, tolerance
):
    latest, (average, *_) = buffers(size, dtype)
    expected = average.astype(np.float64) * 0.7 + latest.astype(np.float64) * 0.3
    before, results = latest.copy(), []
    for name in ("reference", "compiled"):
        moved = average.copy()
        with kernels.use_kernels(name):
            kernels.move_towards(moved, latest, 0.3)
        assert moved.dtype == dtype
        np.testing.assert_allclose(moved, expected, rtol=0, atol=4 * tolerance)
        results.append(moved)
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(latest, before)


def test_a_running_mean_of_numbers_that_do_not_lie_in_order(kernel_set):
    block, latest = np.zeros((90, 120)), np.ones((120, 90))
    average = block.T
    kernels.move_towards(average, latest, 0.25)
    np.testing.assert_array_equal(block, 0.25)
    average = np.zeros((120, 90))
    kernels.move_towards(average, np.ones((90, 120)).T, 0.25)
    np.testing.assert_array_equal(average, 0.25)


def test_a_running_mean_at_an_odd_address_moves_too(kernel_set):
    average = np.zeros(4 * 5000 + 1, np.uint8)[1:].view(np.float32)
    kernels.move_towards(average, np.ones(5000, np.float32), 0.5)
    np.testing.assert_array_equal(average, 0.5)
