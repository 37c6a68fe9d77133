"""The scoreboard of the last chapter, and the pictures of the last two."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tinysmooth import metrics, plots
from tinysmooth.chapters import CLAIMS
from tinysmooth.chapters import scoreboard as room
from tinysmooth.chapters.results import Result
from tinysmooth.chapters.scoreboard import count_verdicts, present, scoreboard

MILD = Result("P13", "holds", "the gap grows by 2.3", "", 8)
SEVERE = Result("P13", "fails as stated", "the gap < 0", "", 14)
QUALIFIED = Result("B4", "holds under a condition", "1 at 16.64", "in float32 & float64", 7)


def draws(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue().startswith(b"\x89PNG")


def test_every_claim_has_a_line_in_order():
    lines = scoreboard([MILD, QUALIFIED])
    assert [line.claim for line in lines] == list(CLAIMS)
    assert [line.claim for line in scoreboard([], "B")] == [c for c in CLAIMS if c[0] == "B"]


@pytest.mark.parametrize("order", [(MILD, SEVERE), (SEVERE, MILD)])
def test_the_most_severe_verdict_counts(order):
    line = scoreboard(order)[12]
    assert (line.claim, line.verdict, line.results) == ("P13", "fails as stated", order)


def test_an_untested_claim_is_milder_than_a_tested_one():
    untested = Result("P13", "not tested here", "too few images", "", 14)
    assert scoreboard([MILD, untested])[12].verdict == "holds"


def test_a_claim_without_a_result_is_not_on_record():
    counts = count_verdicts(scoreboard([MILD, QUALIFIED]))
    assert counts == {"holds": 1, "holds under a condition": 1, "not on record": 37}


def test_a_script_prints_verdict_claim_chapter_and_condition(capsys):
    present(scoreboard([QUALIFIED], "B"))
    text = " ".join(capsys.readouterr().out.split())
    assert "B4 HOLDS UNDER A CONDITION" in text
    assert CLAIMS["B4"] in text
    assert "chapter 07, holds under a condition: 1 at 16.64. Condition: in float32" in text


def test_the_table_of_a_notebook_escapes_what_was_measured():
    table = room._as_table(scoreboard([SEVERE, QUALIFIED]))
    assert "the gap &lt; 0" in table and "float32 &amp; float64" in table
    assert "verdict-fails" in table and "verdict-holds-if" in table
    assert table.count("<tr>") == 1 + len(CLAIMS)


def test_curves_show_every_seed_their_mean_and_the_limits():
    names = ("train_loss", "train_gap", "val_loss", "val_accuracy")
    runs = [{name: [seed + 1.0, seed + 2.0] for name in names} for seed in (0, 1)]
    figure = plots.compare_curves(runs, runs, loss_floor=0.5, resting_gap=4.5)
    lines = figure.axes[0].get_lines()
    assert draws(figure)
    means = [line for line in lines if line.get_label() in ("one-hot", "smoothed")]
    assert all(np.allclose(line.get_ydata(), [1.5, 2.5]) for line in means) and len(means) == 2
    assert to_hex(means[0].get_color()) == plots.ONE_HOT.lower()
    assert any(np.allclose(line.get_ydata(), 0.5) for line in lines)


def test_gaps_are_binned_alike_and_the_resting_gap_is_marked():
    hard, soft = {"training": [8.0, 9.0, 10.0]}, {"training": [4.0, 4.5]}
    figure = plots.compare_gaps(hard, soft, resting_gap=4.5)
    axis = figure.axes[0]
    assert draws(figure)
    assert sum(patch.get_height() for patch in axis.patches) == 5
    assert any("resting gap 4.50" in text.get_text() for text in axis.get_legend().get_texts())


def test_reliability_names_both_errors():
    probs, targets = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1])
    bins = metrics.reliability_bins(probs, targets)
    figure = plots.compare_reliability(bins, bins)
    error = bins.expected_calibration_error
    assert draws(figure)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == [f"{name}: calibration error {error:.3f}" for name in ("one-hot", "smoothed")]


def test_a_pair_of_runs_is_one_line():
    figure = plots.compare_runs({"accuracy": ([0.80, 0.82], [0.81, 0.79])})
    axis = figure.axes[0]
    assert draws(figure)
    assert [list(line.get_ydata()) for line in axis.get_lines()] == [[0.80, 0.81], [0.82, 0.79]]
    low, high = axis.get_ylim()
    assert high - low > 0.08  # a difference of one point is not blown up to fill the panel


def test_examples_stand_in_the_row_of_their_class():
    images = np.zeros((3, 3, 8, 8), np.uint8)
    images[2] = 200
    figure = plots.examples(images, [0, 0, 1], ["a", "b"], columns=2)
    wall = figure.axes[0].get_images()[0].get_array()
    assert draws(figure) and wall.shape == (20, 20, 3)
    assert wall[11, 1, 0] == 200 and wall[1, 1, 0] == 0 and wall[11, 12, 0] == 252


def test_the_bars_of_the_verdicts_hold_the_counts():
    counts = {"the paper": {"holds": 3, "fails as stated": 1}, "the page": {"holds": 2}}
    figure = plots.verdict_counts(counts)
    assert draws(figure)
    widths = sorted(patch.get_width() for patch in figure.axes[0].patches if patch.get_width())
    assert widths == [1, 2, 3]
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "2", "3"]
