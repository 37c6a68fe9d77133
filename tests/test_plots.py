"""Pictures, tested by the data and labels in them, not by pixels."""

import io
import subprocess
import sys

import numpy as np
import pytest

from tinysmooth import metrics, plots


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def history():
    return {
        "epoch": [1, 2, 3],
        "train_loss": [2.0, 1.5, 1.2],
        "val_loss": [1.9, 1.4, 1.3],
        "val_accuracy": [0.2, 0.5, 0.6],
        "val_ece": [0.05, 0.1, 0.07],
        "train_gap": [0.5, 1.5, 2.5],
        "val_gap": [0.4, 1.2, 2.0],
    }


@pytest.fixture
def scored(rng):
    targets = rng.integers(0, 4, 120)
    logits = rng.normal(size=(120, 4))
    logits[np.arange(120), targets] += 1.0
    return logits, metrics.softmax(logits), targets


NAMES = ["fish", "dog", "horn", "truck"]


def draws(figure):
    """Rendering must not fail: a wrong label can pass until then."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue().startswith(b"\x89PNG")


def labels(axis):
    return [line.get_label() for line in axis.get_lines()]


def heights(axis):
    return [patch.get_height() for patch in axis.patches]


def test_curves_show_the_history_and_both_limits(history):
    figure = plots.training_curves(
        history, label_smoothing=0.1, loss_floor=0.500288, resting_gap=4.510860
    )
    losses, accuracy, calibration, gaps = figure.axes
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), history["train_loss"])
    np.testing.assert_array_equal(losses.lines[1].get_ydata(), history["val_loss"])
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [20, 50, 60])
    np.testing.assert_array_equal(calibration.lines[0].get_ydata(), history["val_ece"])
    np.testing.assert_array_equal(gaps.lines[1].get_ydata(), history["val_gap"])
    assert set(losses.lines[2].get_ydata()) == {0.500288}
    assert set(gaps.lines[2].get_ydata()) == {4.510860}
    assert "floor of the training loss, 0.500" in labels(losses)
    assert "resting gap, 4.511" in labels(gaps)
    assert draws(figure)


def test_the_calibration_error_has_room_above_and_begins_at_zero(history):
    history = {**history, "val_ece": [0.066, 0.075, 0.069]}
    figure = plots.training_curves(history, label_smoothing=0.1, loss_floor=0.5, resting_gap=4.5)
    bottom, top = figure.axes[2].get_ylim()
    assert bottom == 0 and 1.05 * 0.075 < top < 1.2 * 0.075


def test_curves_of_a_one_hot_run_have_no_resting_gap_and_another_colour(history):
    figure = plots.training_curves(
        history, label_smoothing=0.0, loss_floor=0.0, resting_gap=float("inf")
    )
    assert len(figure.axes[3].lines) == 2
    assert figure.axes[0].lines[0].get_color() == plots.ONE_HOT
    assert draws(figure)


def test_one_epoch_is_enough_for_curves(history):
    short = {name: values[:1] for name, values in history.items()}
    assert draws(plots.training_curves(short, label_smoothing=0.1, loss_floor=0.5, resting_gap=4.5))


def test_the_three_colours_differ_and_keep_their_meaning():
    assert len({plots.ONE_HOT, plots.SMOOTHED, plots.LIMIT}) == 3
    assert plots.run_colour(0) == plots.ONE_HOT
    assert plots.run_colour(0.3) == plots.SMOOTHED


def test_reliability_bars_are_the_accuracies_of_filled_bins(scored):
    _, probs, targets = scored
    figure = plots.reliability_diagram(probs, targets, label_smoothing=0.1)
    bins = metrics.reliability_bins(probs, targets)
    top, bottom = figure.axes
    np.testing.assert_allclose(heights(top), bins.accuracy[bins.counts > 0])
    np.testing.assert_allclose(heights(bottom), bins.counts)
    assert f"{metrics.expected_calibration_error(probs, targets):.3f}" in top.get_title()
    assert draws(figure)


@pytest.mark.parametrize(("sure", "word"), [(0.99, "over"), (0.6, "under")])
def test_reliability_title_tells_over_from_under_confidence(sure, word):
    probs = np.array([[sure, 1 - sure]] * 10)
    targets = [0] * 8 + [1] * 2
    figure = plots.reliability_diagram(probs, targets, label_smoothing=0)
    assert f"{word}-confident by {abs(sure - 0.8):.3f}" in figure.axes[0].get_title()


def test_gap_histogram_counts_every_example_and_marks_the_resting_gap(scored):
    logits, _, targets = scored
    gaps = metrics.logit_gap(logits, targets, reduction="none")
    figure = plots.gap_histogram(gaps, label_smoothing=0.1, resting_gap=4.510860)
    axis = figure.axes[0]
    assert sum(heights(axis)) == len(gaps)
    assert axis.lines[0].get_xdata()[0] == pytest.approx(gaps.mean())
    assert axis.lines[1].get_xdata()[0] == 4.510860
    assert labels(axis)[1] == "resting gap, 4.51"
    assert draws(figure)
    endless = plots.gap_histogram(gaps, label_smoothing=0.0, resting_gap=np.inf)
    assert len(endless.axes[0].lines) == 1


def test_confusion_matrix_writes_every_count_and_the_share_right():
    counts = np.array([[3, 1], [0, 4]])
    figure = plots.confusion_matrix(counts, ["fish", "dog"])
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.texts] == ["3", "1", "4"]
    assert "87.5 %" in axis.get_title()
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["fish", "dog"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted", "true")
    assert draws(figure)


def test_confusion_matrix_with_an_absent_class_draws():
    assert draws(plots.confusion_matrix(np.array([[0, 0], [1, 2]]), ["fish", "dog"]))


def test_mistakes_are_wrong_and_sorted_by_confidence(rng, scored):
    _, probs, targets = scored
    images = rng.integers(0, 256, (120, 3, 8, 8)).astype(np.uint8)
    figure = plots.confident_mistakes(images, probs, targets, NAMES, count=6)
    wrong = np.flatnonzero(probs.argmax(1) != targets)
    expected = sorted(wrong, key=lambda index: -probs[index].max())[:6]
    for axis, index in zip(figure.axes, expected, strict=False):
        np.testing.assert_array_equal(axis.images[0].get_array(), images[index].transpose(1, 2, 0))
        guess, truth = NAMES[probs[index].argmax()], NAMES[targets[index]]
        assert axis.get_title() == f"{guess} {100 * probs[index].max():.0f} %\nis: {truth}"
    assert draws(figure)


def test_no_mistakes_is_said_in_words():
    images = np.zeros((2, 3, 8, 8), np.uint8)
    figure = plots.confident_mistakes(images, np.eye(2), [0, 1], ["fish", "dog"])
    assert figure.axes[0].texts[0].get_text() == "no mistakes"
    assert draws(figure)


def test_predictions_show_the_most_probable_classes_in_order(rng):
    images = rng.integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)
    probs = np.array([[0.1, 0.6, 0.3, 0.0], [0.7, 0.1, 0.15, 0.05]])
    figure = plots.predictions(images, probs, NAMES, titles=["a.png", "b.png"], top=3)
    _, first, _, second = figure.axes
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["dog", "horn", "fish"]
    np.testing.assert_allclose([bar.get_width() for bar in second.patches], [0.7, 0.15, 0.1])
    assert [text.get_text() for text in first.texts] == ["60.0 %", "30.0 %", "10.0 %"]
    assert draws(figure)


def test_importing_plots_and_drawing_touch_no_global_state():
    code = (
        "import sys, tinysmooth.plots as plots; assert 'matplotlib' not in sys.modules;"
        "plots.confusion_matrix([[1, 0], [0, 1]], ['a', 'b']).savefig(sys.stdout.buffer);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: plots.training_curves({}, label_smoothing=0, loss_floor=0, resting_gap=1),
            ValueError,
            r"history has no \['epoch'.* expected the columns",
        ),
        (
            lambda: plots.gap_histogram([], label_smoothing=0, resting_gap=1),
            ValueError,
            "gaps is empty or not finite",
        ),
        (
            lambda: plots.confusion_matrix([[1, 2]], ["a", "b"]),
            ValueError,
            r"counts has shape \(1, 2\); expected \(2, 2\)",
        ),
        (
            lambda: plots.confident_mistakes(np.zeros((1, 3, 4, 4)), [[1.0]], [0], ["a"]),
            ValueError,
            "images is a float64 array .* expected uint8",
        ),
        (
            lambda: plots.predictions(np.zeros((1, 3, 4, 4), np.uint8), [[1.0]], ["a", "b"]),
            ValueError,
            r"probs has shape \(1, 1\); expected \(1, 2\)",
        ),
        (
            lambda: plots.reliability_diagram([[2.0, 3.0]], [0], label_smoothing=0),
            ValueError,
            "probs",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
