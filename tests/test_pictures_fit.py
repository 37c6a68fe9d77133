"""Nothing in a picture is cut off at its border, and no legend lies on the data."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from test_report import make_run

from tinysmooth import plots
from tinysmooth.data import CLASS_NAMES
from tinysmooth.report.writer import _draw


def render(figure):
    FigureCanvasAgg(figure).draw()
    return figure


def overhang(figure):
    """How many inches of what is drawn lie outside the figure, at the worst border."""
    box = render(figure).get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)


def covered(axis):
    """Points of lines and bands that lie under the axis's legend."""
    render(axis.figure)
    box = axis.get_legend().get_window_extent()
    curves = [line.get_path().vertices for line in axis.get_lines() if len(line.get_xdata()) > 1]
    dots = [line.get_xydata() for line in axis.get_lines() if line.get_marker() == "o"]
    bands = [path.vertices for band in axis.collections for path in band.get_paths()]
    points = axis.transData.transform(np.concatenate([*curves, *dots, *bands]))
    return int(np.sum([box.contains(x, y) for x, y in points]))


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_the_pictures_of_a_report_are_whole(tmp_path, epsilon):
    figures = _draw(make_run(tmp_path / "run", epsilon=epsilon))
    assert len(figures) == 10
    assert {
        name: overhang(figure) for name, figure in figures.items() if overhang(figure) > 0
    } == {}


def test_a_long_file_name_is_shortened_in_the_middle():
    images = np.zeros((2, 3, 8, 8), np.uint8)
    names = ["holiday-" + "x" * 100 + "-7.jpeg", "short.png"]
    figure = plots.predictions(images, np.full((2, 10), 0.1), CLASS_NAMES, titles=names, top=3)
    assert overhang(figure) <= 0
    shown = [axis.get_title(loc="left") for axis in figure.axes if axis.get_title(loc="left")]
    assert shown[0].startswith("holiday-x") and shown[0].endswith("x-7.jpeg")
    assert len(shown[0]) < 50 and shown[1] == "short.png"


ODD = ["m$\\frac{$x.jpg", "a$b$c_{x.jpg", "5$ and \\$6", "x\udcff.jpg", "plain"]


def drawn_text(figure):
    """Every text as the renderer gets it, and whether it is read as a formula."""
    seen = []
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    plain = renderer.draw_text

    def note(gc, x, y, text, prop, angle, ismath=False, mtext=None):
        seen.append((text, bool(ismath)))
        return plain(gc, x, y, text, prop, angle, ismath, mtext)

    renderer.draw_text = note
    figure.draw(renderer)
    return seen


def test_names_of_files_are_drawn_letter_by_letter():
    images = np.zeros((5, 3, 8, 8), np.uint8)
    figure = plots.predictions(images, np.full((5, 5), 0.2), ["a", "b", "c", "d", "e"], titles=ODD)
    drawn = drawn_text(figure)
    assert not any(formula for _, formula in drawn)
    assert {text for text, _ in drawn} >= {*ODD[:3], "x?.jpg", "plain"}


def test_names_of_classes_are_drawn_letter_by_letter():
    names = ["m$\\frac{$", "a$b$c_{", "5$ and 6$"]
    images, targets = np.zeros((3, 3, 8, 8), np.uint8), np.arange(3)
    probs = np.eye(3)[[1, 2, 0]]
    for figure in (
        plots.predictions(images, probs, names),
        plots.confident_mistakes(images, probs, targets, names),
        plots.confusion_matrix(np.eye(3, dtype=int), names),
        plots.examples(images, targets, names),
        plots.template_clusters(probs[:, :2], targets, probs[:, :2], names, label_smoothing=0.1),
    ):
        text = " ".join(text for text, _ in drawn_text(figure))
        assert all(name in text for name in names)


def test_a_dot_of_a_bin_that_is_always_right_is_not_cut_in_half():
    probs = np.tile([0.9, 0.1], (20, 1))
    figure = plots.reliability_diagram(probs, np.zeros(20, int), label_smoothing=0.0)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3]
    x, y = figure.axes[0].transData.transform((0.9, 1.0))
    above, below = pixels[int(y) + 2, int(x)], pixels[int(y) - 2, int(x)]
    assert above.max() < 100 and below.max() < 100


def comparison(rng, count):
    gaps = rng.uniform(3, 9, 2 * count)
    columns = {name: rng.random(2 * count) for name in ("accuracy", "loss", "ece", "scaled_ece")}
    return plots.comparison(
        {"label_smoothing": [0.0] * count + [0.1] * count, "seed": [*range(count)] * 2,
         "mean_gap": gaps, **columns},
        resting_gaps=[np.inf, 4.51],
        title="25 % wrong labels",
    )  # fmt: skip


def bands(rng):
    names = ("p05", "p25", "p50", "p75", "p95")
    spread = np.sort(rng.normal(3, 4, (30, 5)), axis=1).T
    history = {"epoch": [*range(1, 31)]}
    history |= {f"val_gap_{name}": row for name, row in zip(names, spread, strict=True)}
    return plots.gap_bands(history, rng.normal(3, 4, 200), label_smoothing=0.1, resting_gap=4.51)


@pytest.mark.parametrize("seed", range(5))
def test_legends_leave_the_data_free(seed):
    rng = np.random.default_rng(seed)
    figures = [comparison(rng, 3), comparison(rng, 40), bands(rng)]
    for figure in figures:
        assert overhang(figure) <= 0
    axes = [axis for figure in figures for axis in figure.axes if axis.get_legend()]
    assert len(axes) == 4  # the legend of the bands is below them
    assert [covered(axis) for axis in axes] == [0] * 4
