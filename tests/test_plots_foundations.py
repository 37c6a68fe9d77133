"""Pictures of chapters 01 to 06, tested by the data and labels in them, not by pixels."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.plots.style import LIMIT, ONE_HOT, SMOOTHED


def draws(figure):
    """Rendering must not fail: a wrong label can pass until then."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue().startswith(b"\x89PNG")


def texts(axis):
    return [text.get_text() for text in axis.texts]


def legend_of(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def line_called(axis, label):
    return next(line for line in axis.get_lines() if line.get_label() == label)


# ---- Scores --------------------------------------------------------------------------------------


def test_softmax_steps_show_three_rows_of_bars():
    figure = plots.softmax_steps([1.0, -1.0], [2.718, 0.368], [0.881, 0.119])
    assert draws(figure)
    heights = [[bar.get_height() for bar in axis.patches] for axis in figure.axes]
    assert heights == [[1.0, -1.0], [2.718, 0.368], [0.881, 0.119]]


def test_temperature_curves_name_each_logit():
    scales = np.array([0.1, 1.0, 10.0])
    probs = np.array([[0.5, 0.5], [0.7, 0.3], [1.0, 0.0]])
    axis = plots.temperature_curves(scales, probs, [1.0, 0.2]).axes[0]
    assert legend_of(axis) == ["logit 1", "logit 0.2"]
    assert np.array_equal(line_called(axis, "logit 0.2").get_ydata(), probs[:, 1])


def test_softmax_errors_mark_what_became_nan():
    errors = {"naive": [1e-7, np.nan], "stable": [1e-7, 1e-7]}
    figure = plots.softmax_errors([10.0, 100.0], errors, 88.72, 6e-8)
    axis = figure.axes[0]
    assert draws(figure)
    assert line_called(axis, "naive: NaN").get_xdata().tolist() == [100.0]
    assert "stable: NaN" not in legend_of(axis)


def test_smooth_maximum_and_sigmoid_draw_what_they_are_given():
    x = np.linspace(-1, 1, 5)
    axis = plots.smooth_maximum(x, np.maximum(x, 0), x + 1, x + 2).axes[0]
    assert np.array_equal(line_called(axis, "log-sum-exp").get_ydata(), x + 1)
    assert to_hex(line_called(axis, "max").get_color()).upper() == LIMIT
    assert draws(plots.sigmoid_curve(x, x, x[:2], x[:2]))


# ---- Surprise ------------------------------------------------------------------------------------


def test_surprise_names_its_points():
    axis = plots.surprise_curve([0.1, 1.0], [2.3, 0.0], [0.5], [0.693147]).axes[0]
    assert texts(axis) == ["p = 0.5: 0.693 nats"]


def test_monte_carlo_errors_are_averaged_as_root_mean_squares():
    figure = plots.monte_carlo_errors([10, 100], [[3.0, 0.3], [4.0, 0.4]], [3.0, 0.3])
    line = line_called(figure.axes[0], "root mean square of all")
    assert draws(figure)
    assert np.allclose(line.get_ydata(), [np.sqrt(12.5), np.sqrt(0.125)])


def test_expected_surprise_marks_the_floors():
    axis = plots.expected_surprise([0.2, 0.8], [[1.0, 2.0]], (0.8,), [0.5]).axes[0]
    floor = line_called(axis, "lowest point: the entropy")
    assert (floor.get_xdata()[0], floor.get_ydata()[0]) == (0.8, 0.5)


def test_simplex_has_its_target_where_the_weights_say():
    probs = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.4, 0.3, 0.3]], float)
    figure = plots.simplex_loss(probs, [3.0, 3.0, 3.0, 1.0], [0.0, 0.0, 1.0], 1.0)
    marker = [line for line in figure.axes[0].get_lines() if line.get_marker() == "D"][0]
    assert draws(figure)
    assert np.allclose(marker.get_xydata(), [[0.5, np.sqrt(0.75)]])
    assert "target: 1.0000" in texts(figure.axes[0])


# ---- Gradients -----------------------------------------------------------------------------------


def test_forces_are_output_minus_target_in_the_colour_of_the_target():
    targets = {"hard": [1.0, 0.0], "soft": [0.6, 0.4]}
    figure = plots.logit_forces([0.7, 0.3], targets)
    above, below = figure.axes[:2], figure.axes[2:]
    assert draws(figure)
    assert np.allclose([bar.get_height() for bar in below[0].patches], [-0.3, 0.3])
    assert np.allclose([bar.get_height() for bar in below[1].patches], [0.1, -0.1])
    colours = [to_hex(axis.patches[2].get_facecolor()).upper() for axis in above]
    assert colours == [ONE_HOT, SMOOTHED]


def test_gradient_lengths_lie_between_straight_lines():
    axis = plots.gradient_lengths([0.5], [0.6], 1.05, 1.41).axes[0]
    upper, lower = axis.get_lines()
    assert upper.get_ydata().tolist() == [0.0, 1.41]
    assert lower.get_ydata().tolist() == [0.0, 1.05]


def test_errors_below_the_floor_are_drawn_at_the_floor():
    figure = plots.gradient_check_errors([1e-1, 1e-2], {"central": [1e-3, 0.0]}, floor=1e-17)
    assert draws(figure)
    assert figure.axes[0].get_lines()[0].get_ydata().tolist() == [1e-3, 1e-17]


def test_eigenvalues_and_walks_are_named():
    figure = plots.hessian_eigenvalues([0.1, 0.9], {"first": [0.1, 0.2]})
    assert legend_of(figure.axes[0]) == ["first", "upper limit, 1/2"]
    figure = plots.walk_lengths([1, 2], {"paths": [3, 7], "once": [2, 3]})
    assert legend_of(figure.axes[0]) == ["paths", "once"]
    assert figure.axes[0].get_yscale() == "log"


# ---- Convolution ---------------------------------------------------------------------------------


def test_filters_are_shown_with_their_weights_and_results():
    weights = {"edge": [[1.0, -1.0]], "blur": [[0.5, 0.5]]}
    figure = plots.filter_results(np.eye(3), weights, [np.ones((3, 2)), np.zeros((3, 2))])
    assert draws(figure)
    assert texts(figure.axes[1]) == ["1", "-1"]
    assert [axis.get_title() for axis in figure.axes[1:3]] == ["edge", "blur"]


def test_the_matrix_leaves_its_zeros_blank():
    figure = plots.linear_map([[0.0, 2.0], [-1.0, 0.0]], (1, 2), (1, 2))
    drawn = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    assert draws(figure)
    assert np.isnan([drawn[0, 0], drawn[1, 1]]).all()
    assert drawn[0, 1] > drawn[1, 0]


def test_winners_of_a_pool_are_framed_before_it_and_in_the_gradient():
    image, gradient = np.arange(4.0).reshape(2, 2), np.array([[0.0, 0.0], [0.0, 1.0]])
    figure = plots.pooling_winners(image, [[3.0]], gradient, 2)
    assert draws(figure)
    assert [len(axis.patches) for axis in figure.axes] == [1, 0, 1]


def test_histograms_and_times_carry_their_names():
    figure = plots.channel_histograms(np.zeros((2, 9)), np.ones((2, 9)))
    assert legend_of(figure.axes[0]) == ["channel 0", "channel 1"]
    figure = plots.kernel_times(["slow", "fast"], [2500.0, 0.125], 0.1, "Two ways")
    assert draws(figure)
    assert texts(figure.axes[0]) == ["2.5 s", "0.125 ms"]
    assert figure.axes[0].get_xscale() == "log"


# ---- Graphs --------------------------------------------------------------------------------------


def boxes(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]


def arrows(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def test_a_graph_shows_operations_values_and_gradients():
    x = ts.Tensor(3.0, requires_grad=True)
    square = (x * x).retain_grad()
    y = square + x
    y.backward()
    figure = plots.graph(y, {"x": x, "y": y})
    assert draws(figure)
    assert sorted(texts(figure.axes[0])) == sorted(
        ["x", "3", "grad 7", "multiply", "9", "grad 1", "y = add", "12"]
    )
    assert (len(boxes(figure)), len(arrows(figure))) == (3, 4)


def test_a_tensor_used_twice_is_drawn_once_left_of_its_users():
    x = ts.Tensor(1.0, requires_grad=True)
    a = x * 2
    b = a + 1
    c = b * a
    figure = plots.graph(c, {"x": x, "a": a, "b": b, "c": c})
    place = {
        text.get_text().split(" = ")[0]: text.get_position()[0]
        for text in figure.axes[0].texts
        if text.get_weight() == "bold"
    }
    assert list(sorted(place, key=place.get)) == ["x", "a", "b", "c"]
    assert len(set(place.values())) == 4


def test_boxes_do_not_overlap():
    parts = [ts.Tensor(np.ones(k + 1), requires_grad=True) for k in range(5)]
    figure = plots.graph(ts.concatenate([part * part for part in parts]).sum())
    corners = [
        (box.get_x(), box.get_y(), box.get_width(), box.get_height()) for box in boxes(figure)
    ]
    for i, (x1, y1, w1, h1) in enumerate(corners):
        for x2, y2, w2, h2 in corners[i + 1 :]:
            assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1


def test_arrays_are_shown_by_their_shape_when_they_are_large():
    x = ts.Tensor(np.zeros((4, 5)), requires_grad=True)
    figure = plots.graph((x * 2).sum(axis=0), {"x": x})
    assert {"shape 4 x 5", "shape (5,)"} <= set(texts(figure.axes[0]))


def test_a_leaf_alone_and_a_list_of_tensors_can_be_drawn():
    x = ts.Tensor(2.0, requires_grad=True)
    assert len(boxes(plots.graph(x))) == 1
    constant = ts.Tensor([1.0])
    joined = ts.concatenate([x.reshape(1), constant])
    assert len(boxes(plots.graph(joined))) == 3  # what needs no gradient is not recorded


def test_a_graph_that_cannot_be_read_is_refused():
    x = y = ts.Tensor(1.0, requires_grad=True)
    for _ in range(5000):
        y = y + 1
    with pytest.raises(ValueError, match="more than 40"):
        plots.graph(y)
    wide = ts.Tensor(1.0, requires_grad=True)
    for _ in range(39):
        wide = wide + x
    with pytest.raises(ValueError, match="more than 40"):
        plots.graph(wide)


def test_what_has_no_graph_is_refused():
    with pytest.raises(ValueError, match="does not require a gradient"):
        plots.graph(ts.Tensor(1.0))
    with pytest.raises(TypeError, match="expected a Tensor"):
        plots.graph(np.ones(3))
