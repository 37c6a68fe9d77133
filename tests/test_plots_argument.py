"""Pictures of chapters 07 to 13, tested by the data and labels in them, not by pixels."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tinysmooth import plots
from tinysmooth.plots.style import LIMIT, ONE_HOT, SMOOTHED


def draws(figure):
    """Rendering must not fail: a wrong label can pass until then."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue().startswith(b"\x89PNG")


def curves(axis, colour):
    """Lines of one colour that hold data, not single points or limits."""
    return [line for line in axis.get_lines() if to_hex(line.get_color()).upper() == colour.upper()]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def legend_of(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_bounds_enclose_the_losses_that_are_scattered():
    grid = np.linspace(0, 5, 6)
    figure = plots.loss_between_bounds([1.0, 2.0], [0.5, 0.3], grid, grid * 0.1, grid * 0.9)
    axis = figure.axes[0]
    assert draws(figure) and axis.get_yscale() == "log"
    assert np.allclose(axis.collections[0].get_offsets(), [[1.0, 0.5], [2.0, 0.3]])
    upper, lower = curves(axis, LIMIT)
    assert np.allclose(upper.get_ydata(), grid * 0.9) and np.allclose(lower.get_ydata(), grid * 0.1)


def test_nines_are_spelt_out_and_each_number_of_classes_is_named():
    figure = plots.gap_for_nines([1, 2, 3], {2: [2.2, 4.6, 6.9], 10: [4.4, 6.8, 9.1]})
    axis = figure.axes[0]
    assert draws(figure)
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.9", "0.99", "0.999"]
    assert texts(axis) == ["K = 2", "K = 10"]


def test_a_line_ends_where_the_plain_formula_gives_zero():
    gaps = np.array([1.0, 10.0, 20.0, 30.0])
    plain = {"short": [0.3, 1e-4, 0.0, 0.0], "long": [0.3, 1e-4, 2e-9, 0.0]}
    shares = {"short": [1, 1, 0, 0], "long": [1, 1, 1, 0]}
    figure = plots.rounded_away(gaps, np.exp(-gaps), plain, shares)
    left, right = figure.axes
    assert draws(figure)
    assert texts(left) == ["exactly 0\nafter 10.0", "exactly 0\nafter 20.0"]
    drawn = [line for line in left.get_lines() if line.get_label() == "short"][0].get_ydata()
    assert np.isnan(drawn[2:]).all() and drawn[0] == 0.3
    assert np.allclose(right.get_lines()[1].get_ydata(), shares["short"])


def test_the_march_shows_curve_tangent_and_descent():
    times = np.array([0.1, 1.0, 10.0])
    figure = plots.gap_march(
        times, {10: [0.1, 0.9, 4.2]}, {10: np.log(10 * times)}, {10: ([1.0], [0.95])}
    )
    axis = figure.axes[0]
    assert draws(figure) and axis.get_xscale() == "log"
    assert np.allclose(curves(axis, ONE_HOT)[0].get_ydata(), [0.1, 0.9, 4.2])
    assert legend_of(axis) == ["exact", "gradient descent", "log(K t)"]
    # The tangent is drawn where it is positive only.
    assert len(curves(axis, LIMIT)[0].get_ydata()) == 2


def test_the_price_of_nines_is_written_at_the_points():
    figure = plots.time_for_nines([1, 2], [11.955, 95.1], [0.2, 0.02])
    assert draws(figure)
    assert [texts(axis) for axis in figure.axes] == [["12", "95"], ["0.2", "0.02"]]


def test_the_power_law_is_named_with_its_exponent():
    figure = plots.wrong_logits_meet([1, 10], [1.0, 0.5], [1.0, 0.46], -1 / 3)
    axis = figure.axes[0]
    assert draws(figure) and (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    assert "power law, exponent -0.333" in legend_of(axis)


def test_flips_lie_between_half_the_gap_and_the_gap():
    grid = np.linspace(0, 20, 5)
    figure = plots.flip_cost([4.0], [2.7], grid)
    lower, upper = curves(figure.axes[0], LIMIT)
    assert draws(figure)
    assert np.allclose(lower.get_ydata(), grid / 2) and np.allclose(upper.get_ydata(), grid)


def test_unlearning_is_written_beside_both_lines():
    figure = plots.flip_after_training([100, 1000], [28, 40], [28, 32])
    axis = figure.axes[0]
    assert draws(figure)
    assert {"one-hot", "smoothed", "28", "40", "32"} == set(texts(axis))
    assert np.allclose(curves(axis, ONE_HOT)[0].get_ydata(), [28, 40])
    assert np.allclose(curves(axis, SMOOTHED)[0].get_ydata(), [28, 32])


def test_losses_are_compared_on_a_logarithmic_axis():
    figure = plots.bounded_or_vanishing([1, 2], {"first": [1.6, 2.9], "second": [6.0, 15.5]})
    assert draws(figure) and figure.axes[0].get_yscale() == "log"
    assert legend_of(figure.axes[0]) == ["first", "second"]


def test_bars_are_means_over_seeds_and_every_seed_has_a_dot():
    measured = {"Gap": [[1.0, 3.0], [2.0, 2.0]], "Steps": [[10, 20], [30, 40]]}
    units = {"Gap": "logit units", "Steps": "steps"}
    figure = plots.compare_trainings(("one-hot", "smoothed"), measured, units, columns=2)
    first, second = figure.axes
    assert draws(figure)
    assert [bar.get_height() for bar in first.patches] == [2.0, 2.0]
    assert [bar.get_height() for bar in second.patches] == [15.0, 35.0]
    assert np.allclose(second.get_lines()[1].get_ydata(), [30, 40])
    assert to_hex(first.patches[0].get_facecolor()).upper() == ONE_HOT
    assert (first.get_ylabel(), second.get_ylabel()) == ("logit units", "steps")


def test_all_slopes_cross_the_one_boundary():
    figure = plots.probability_on_line([-1, 0, 1], {1.0: [0.7, 0.5, 0.3], 2.0: [0.9, 0.5, 0.1]})
    assert draws(figure)
    assert legend_of(figure.axes[0]) == ["last layer x 1", "last layer x 2"]


def test_worst_pixels_share_one_scale():
    pictures = np.zeros((2, 3, 3), np.uint8)
    drops = {"one-hot": np.full((2, 3, 3), 0.2), "smoothed": np.full((2, 3, 3), 0.4)}
    figure = plots.worst_pixels(pictures, drops, ["horn", "church"])
    assert draws(figure)
    limits = {axis.images[0].get_clim() for axis in figure.axes[2:6]}
    assert limits == {(0.0, 0.4)}
    assert figure.axes[2].get_xlabel() == "worst 0.20"


def test_certainty_is_drawn_for_training_and_for_new_pictures():
    series = {0.0: [1.0, 0.5], 0.1: [1.1, 0.6]}
    figure = plots.certainty_and_generalisation([1, 2], series, series, {0.0: [0.5, 0.8]} | series)
    left, right = figure.axes
    assert draws(figure)
    assert len(curves(left, ONE_HOT)) == len(curves(left, SMOOTHED)) == 2
    assert np.allclose(curves(right, ONE_HOT)[0].get_ydata(), [100.0, 50.0])


def test_target_bars_carry_their_values():
    figure = plots.target_bars([0, 1], [0.05, 0.95])
    assert draws(figure)
    assert texts(figure.axes[0]) == ["0", "1"] and texts(figure.axes[1]) == ["0.05", "0.95"]


def test_valleys_are_marked_at_their_lowest_points():
    gaps = np.linspace(0, 6, 7)
    figure = plots.loss_along_gap(gaps, {0.0: 1 / (1 + gaps), 0.1: gaps}, {0.1: (4.51, 0.5)})
    axis = figure.axes[0]
    assert draws(figure)
    assert [tuple(line.get_xydata()[0]) for line in curves(axis, LIMIT)] == [(4.51, 0.5)]
    assert texts(axis) == ["eps = 0", "eps = 0.1", "4.51"]


def test_the_parts_of_the_loss_are_stacked():
    figure = plots.loss_parts([0, 1], [2.0, 1.0], [0.3, 0.4], 0.5003)
    axis = figure.axes[0]
    assert draws(figure)
    assert np.allclose(curves(axis, SMOOTHED)[0].get_ydata(), [2.3, 1.4])
    assert "floor, 0.5003" in legend_of(axis)


def test_penalties_are_told_apart_by_their_divergence():
    figure = plots.penalty_forces([0, 1], [0.0, 0.9], [0.0, 0.4])
    assert draws(figure)
    assert legend_of(figure.axes[0]) == ["smoothing: KL(u, p)", "entropy: KL(p, u)"]


def test_gaps_settle_at_the_derived_limits():
    figure = plots.gap_settles([1, 10], [1.0, 9.0], {0.1: [1.0, 4.5]}, {0.1: 4.51})
    axis = figure.axes[0]
    assert draws(figure)
    assert curves(axis, LIMIT)[0].get_ydata()[0] == 4.51
    assert "eps = 0.1: 4.51" in texts(axis)


def test_the_distance_to_rest_has_its_law_beside_it():
    figure = plots.distance_to_rest([0, 1], {"gap": [1.0, 0.9]}, [1.0, 0.91], 0.091)
    assert draws(figure) and figure.axes[0].get_yscale() == "log"
    assert legend_of(figure.axes[0]) == ["gap", "proportional to exp(-0.091 t)"]


def test_the_resting_gap_of_the_book_is_marked():
    figure = plots.resting_gaps([0.01, 0.1], {2: [5.3, 2.9], 10: [6.9, 4.5]}, (0.1, 4.51))
    axis = figure.axes[0]
    assert draws(figure) and texts(axis) == ["4.51"]
    assert legend_of(axis) == ["K = 2", "K = 10"]


def test_network_gaps_are_counted_and_compared_with_theory():
    figure = plots.network_gaps({0.0: [20.0, 21.0], 0.1: [4.4, 4.6, 4.7]}, {0.1: 4.51})
    left, right = figure.axes
    assert draws(figure)
    for axis, count in ((left, 3), (right, 2)):
        assert sum(bar.get_height() for bar in axis.patches) == count
        assert curves(axis, LIMIT)[0].get_xdata()[0] == 4.51


def test_the_tie_of_weights_is_marked():
    figure = plots.weighted_optimum([1, 91], [0.91, 0.48], [0.01, 0.48], 91.0)
    axis = figure.axes[0]
    assert draws(figure) and texts(axis) == ["right class", "rare class"]
    assert legend_of(axis) == ["tie at a weight of 91"]


@pytest.mark.parametrize("values, marked", [([3.0, 1.0, 2.0], 1), ([3.0, 2.0, 1.0], 0)])
def test_a_lowest_point_is_marked_only_inside_the_curve(values, marked):
    figure = plots.mistaken_losses([0, 1, 2], [3.0, 2.0, 1.0], {"a mistake": values})
    axis = figure.axes[0]
    assert draws(figure) and legend_of(axis) == ["right", "a mistake"]
    assert len(curves(axis, LIMIT)) == marked
