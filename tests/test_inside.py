"""Looking inside: what is measured is what it is called, and the pictures show it."""

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import metrics, nn, plots


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def small_net(rng, dtype=np.float64):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, rng=rng),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.GlobalAvgPool2d(),
        nn.Flatten(),
        nn.Linear(4, 5, rng=rng),
    ).astype(dtype)


# Measuring


def test_weight_norms_are_those_of_the_matrices_in_the_order_of_the_model(rng):
    model = small_net(rng)
    norms = metrics.weight_norms(model)
    assert [norm.name for norm in norms] == ["0.weight", "5.weight"]
    matrix = model.state_dict()["0.weight"].reshape(4, 27)
    assert norms[0].frobenius == pytest.approx(np.sqrt((matrix**2).sum()))
    # Power iteration finds the spectral norm by another way.
    v = rng.normal(size=27)
    for _ in range(500):
        v = matrix.T @ (matrix @ v)
        v /= np.linalg.norm(v)
    assert norms[0].spectral == pytest.approx(np.linalg.norm(matrix @ v))


def test_the_last_layer_turns_the_features_into_the_logits(rng):
    model = small_net(rng)
    model.train()
    images = rng.normal(size=(7, 3, 6, 6))
    before = model.state_dict()
    features = metrics.penultimate_features(model, images, batch_size=3)
    assert all(module.training for module in model.modules())
    np.testing.assert_array_equal(model.state_dict()["1.running_mean"], before["1.running_mean"])
    model.eval()
    logits = model(ts.Tensor(images)).numpy()
    last = model[-1]
    np.testing.assert_allclose(features @ last.weight.numpy().T + last.bias.numpy(), logits)


def test_features_need_a_linear_layer_at_the_end(rng):
    with pytest.raises(TypeError, match="expected a Sequential with a Linear at its end"):
        metrics.penultimate_features(nn.Sequential(nn.ReLU(), nn.Flatten()), np.zeros((1, 2)))


def test_the_plane_keeps_distances_between_templates_and_of_what_lies_in_it(rng):
    weight = rng.normal(size=(5, 8))
    inside = 0.2 * weight[1] + 0.5 * weight[3] + 0.3 * weight[4]  # shares that add up to 1
    across = np.linalg.svd(weight[[3, 4]] - weight[1])[2][-1]  # leaves the plane at a right angle
    features = np.stack((inside, inside + 7 * across, weight[3]))
    points, templates = metrics.template_plane(features, weight, [1, 3, 4])
    for i, first in enumerate((1, 3, 4)):
        for j, second in enumerate((1, 3, 4)):
            distance = np.linalg.norm(weight[first] - weight[second])
            assert np.linalg.norm(templates[i] - templates[j]) == pytest.approx(distance, abs=1e-9)
    np.testing.assert_allclose(
        points[0], 0.2 * templates[0] + 0.5 * templates[1] + 0.3 * templates[2]
    )
    np.testing.assert_allclose(points[1], points[0], atol=1e-9)
    np.testing.assert_allclose(points[2], templates[1], atol=1e-9)


@pytest.mark.parametrize(
    ("weight", "classes", "error", "words"),
    [
        (np.eye(4), [0, 1], ValueError, "expected three different ones"),
        (np.eye(4), [0, 1, 1], ValueError, "expected three different ones"),
        (np.eye(4), [0, 1, 9], IndexError, "is 9; expected a class index"),
        (np.eye(3), [0, 1, 2], ValueError, r"expected \(N, D\) and \(K, D\)"),
        (np.arange(4)[:, None] * np.ones(4), [0, 1, 2], ValueError, "lie on one line"),
    ],
)
def test_a_plane_that_does_not_exist_is_refused(weight, classes, error, words):
    with pytest.raises(error, match=words):
        metrics.template_plane(np.zeros((2, 4)), weight, classes)


def test_saliency_is_the_slope_of_the_gap_and_leaves_the_model_alone(rng):
    model = small_net(rng)
    images, targets = rng.normal(size=(2, 3, 4, 4)), np.array([1, 4])
    found = metrics.saliency(model, images, targets)
    assert found.shape == (2, 4, 4)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    model.eval()

    def gap(changed):
        return metrics.logit_gap(model(ts.Tensor(changed)), targets, reduction="none")[1]

    slopes = np.zeros(3)
    for channel in range(3):
        step = np.zeros_like(images)
        step[1, channel, 2, 3] = 1e-6
        slopes[channel] = (gap(images + step) - gap(images - step)) / 2e-6
    assert found[1, 2, 3] == pytest.approx(np.linalg.norm(slopes), rel=1e-5)


def test_one_pixel_changes_are_those_of_painting_it(rng):
    model = small_net(rng)
    image, colour = rng.normal(size=(3, 5, 6)), np.array([2.0, -1.0, 3.0])
    changes = metrics.one_pixel_changes(model, image, 2, colour, every=2)
    assert changes.shape == (3, 3)
    model.eval()
    painted = image.copy()
    painted[:, 4, 2] = colour
    gaps = metrics.logit_gap(model(ts.Tensor(np.stack((painted, image)))), [2, 2], reduction="none")
    assert changes[2, 1] == pytest.approx(gaps[0] - gaps[1])
    with pytest.raises(ValueError, match=r"expected \(C, H, W\) and \(C,\)"):
        metrics.one_pixel_changes(model, image, 2, [1.0])


# Pictures


def history(epochs=4):
    names = ("p05", "p25", "p50", "p75", "p95")
    columns = {f"val_gap_{name}": [k + e for e in range(epochs)] for k, name in enumerate(names)}
    return {"epoch": list(range(1, epochs + 1)), **columns}


def test_the_bands_show_median_and_resting_gap():
    figure = plots.gap_bands(history(), [3.0, 4.0, 4.0], label_smoothing=0.1, resting_gap=4.51)
    bands, histogram = figure.axes
    lines = {line.get_label(): line.get_ydata() for line in bands.get_lines()}
    np.testing.assert_array_equal(lines["median"], [2, 3, 4, 5])
    assert lines["resting gap, 4.51"][0] == 4.51
    assert sum(patch.get_width() for patch in histogram.patches) == 3
    with pytest.raises(ValueError, match="has no .'val_gap_p05'"):
        plots.gap_bands({"epoch": [1]}, [1.0], label_smoothing=0, resting_gap=np.inf)


def test_norms_are_shown_by_name():
    figure = plots.weight_norms(["a", "b"], [3.0, 2.0], [1.0, 1.5])
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["a", "b"]
    frobenius, spectral = axis.get_lines()
    assert list(frobenius.get_xdata()) == [3, 2] and list(spectral.get_xdata()) == [1, 1.5]
    with pytest.raises(ValueError, match=r"expected \(1,\)"):
        plots.weight_norms(["a"], [3.0, 2.0], [1.0, 1.5])


def test_filters_are_stretched_each_by_itself_around_grey():
    weight = np.zeros((3, 3, 2, 2))
    weight[0, 0, 0, 0], weight[1, 2, 1, 1] = 0.1, -5.0
    figure = plots.first_layer_filters(weight, columns=2)
    shown = [axis.get_images()[0].get_array() for axis in figure.axes if axis.get_images()]
    assert len(shown) == 3
    assert shown[0][0, 0, 0] == 1.0 and shown[1][1, 1, 2] == 0.0
    assert (np.asarray(shown[2]) == 0.5).all()
    with pytest.raises(ValueError, match=r"expected \(K, 3, R, S\)"):
        plots.first_layer_filters(np.zeros((3, 1, 2, 2)))


def test_clusters_show_each_class_and_its_template(rng):
    points, targets = rng.normal(size=(30, 2)), np.arange(30) % 3
    templates = rng.normal(size=(3, 2))
    figure = plots.template_clusters(
        points, targets, templates, ["x", "y", "z"], label_smoothing=0.1
    )
    lines = figure.axes[0].get_lines()
    np.testing.assert_array_equal(lines[1].get_xydata(), points[1::3])
    np.testing.assert_array_equal([line.get_xydata()[0] for line in lines[3:]], templates)
    with pytest.raises(ValueError, match="three class_names"):
        plots.template_clusters(points, targets, templates, ["x"], label_smoothing=0.1)


def test_maps_stand_beside_their_images_with_their_range(rng):
    images = rng.integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    signed, lengths = rng.normal(size=(2, 4, 4)), rng.random((2, 8, 8))
    figure = plots.sensitivity_maps(images, {"change": signed, "slope": lengths}, ["a", "b"])
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0] == "a" and titles[1] == f"change, ±{np.abs(signed[0]).max():.2g}"
    assert titles[5] == f"slope, to {lengths[1].max():.2g}"
    low, high = figure.axes[1].get_images()[0].get_clim()
    assert low == -high  # zero is the ground colour
    with pytest.raises(ValueError, match="N titles"):
        plots.sensitivity_maps(images, {"change": signed}, ["a"])


def test_arguments_that_do_not_fit_are_named_as_what_they_are():
    features, weight = np.ones((4, 3)), np.eye(3)
    with pytest.raises(IndexError, match=r"template_plane: classes\[2\] is 9"):
        metrics.template_plane(features, weight, [0, 1, 9])
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    image = np.zeros((3, 2, 2), np.float32)
    with pytest.raises(IndexError, match=r"one_pixel_changes: target\[0\] is 99"):
        metrics.one_pixel_changes(model, image, 99, np.zeros(3))
    with pytest.raises(ValueError, match="model gives 1 logit"):
        metrics.saliency(nn.Sequential(nn.Flatten(), nn.Linear(12, 1)), image[None], [0])
