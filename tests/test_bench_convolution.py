"""The convolution part of the benchmark: equality is checked, rows are complete."""

import numpy as np
import pytest

from tinysmooth import kernels, plots
from tinysmooth.bench import convolution, driver
from tinysmooth.bench.convolution import SHAPES, Convolution, convolution_rows

SMALL = (Convolution(1, 3, 4, 6), Convolution(2, 8, 8, 5, kernel=1, stride=2, padding=0))
QUICK = {"shapes": SMALL, "rounds": 1, "block": 0.0}


def test_without_pytorch_there_is_a_row_for_each_shape_and_direction():
    rows = convolution_rows(**QUICK)
    assert len(rows) == 6
    for row in rows:
        assert row["ours_ms"] > 0 and row["gflop_per_s"] > 0 and row["reference_ms"] > 0
        assert row["error"] < 2e-4 and row["threads"] >= 1
        assert "ratio" not in row


def test_the_printed_table_and_the_picture_tell_the_rows_apart():
    rows = convolution_rows(**QUICK)
    head, *lines = driver.format_rows(rows).splitlines()
    assert "direction" in head and "gflop per s" in head
    told = [line.split("  ")[0] + d for line in lines for d in convolution.DIRECTIONS if d in line]
    assert len(told) == len(set(told)) == len(rows)
    rated = [{**row, "ratio": 0.5} for row in rows]
    labels = plots.benchmark_ratios({"convolution": rated}).axes[0].get_yticklabels()
    assert len({label.get_text() for label in labels}) == len(rows)


def test_with_pytorch_the_ratio_is_ours_over_theirs():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    for row in convolution_rows(torch, **QUICK):
        assert row["ratio"] == pytest.approx(row["ours_ms"] / row["torch_ms"])
        assert row["torch_variant"] in ("channels_last", "contiguous_format")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("direction", convolution.DIRECTIONS)
def test_a_wrong_kernel_is_not_timed(monkeypatch, direction):
    name = "conv2d_" + direction.replace(" ", "_")
    right = getattr(kernels, name)

    def wrong(*args):
        out = right(*args)
        return out if kernels.kernels_in_use() == "reference" else out * np.float32(1.01)

    monkeypatch.setattr(kernels, name, wrong)
    with pytest.raises(AssertionError, match="the sides differ"):
        convolution_rows(directions=[direction], **QUICK)


def test_the_table_has_the_shapes_a_library_must_not_be_slow_at():
    assert len(SHAPES) == len(set(SHAPES)) >= 24
    assert {1, 3, 5, 7} <= {shape.kernel for shape in SHAPES}
    assert any(shape.stride == 2 for shape in SHAPES)
    assert any(shape.batch == 1 for shape in SHAPES)
