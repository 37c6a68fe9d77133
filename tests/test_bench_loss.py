"""The benchmark of the loss: equality before time, and the rows it promises."""

import numpy as np
import pytest

from tinysmooth import losses
from tinysmooth.bench.loss import loss_rows


def test_a_row_says_shape_threads_and_time():
    (row,) = loss_rows(shapes=[(8, 5)], rounds=1, block=0.0)
    assert row["shape"] == "8 x 5"
    assert row["threads"] >= 1
    assert row["ours_ms"] > 0
    assert "ratio" not in row


def test_with_pytorch_a_row_has_a_ratio_and_its_threads_are_given_back():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    (row,) = loss_rows(torch, shapes=[(8, 5)], rounds=1, block=0.0)
    assert row["ratio"] == row["ours_ms"] / row["torch_ms"]
    assert torch.get_num_threads() == before


def test_sides_that_disagree_are_not_timed(monkeypatch):
    right = losses.cross_entropy_gradient
    monkeypatch.setattr(losses, "cross_entropy_gradient", lambda *a, **k: 1.1 * right(*a, **k))
    with pytest.raises(AssertionError, match="cross_entropy at 8 x 5, gradient: the sides differ"):
        loss_rows(shapes=[(8, 5)], rounds=1, block=0.0)
    assert np.isfinite(right(np.eye(2), [0, 1])).all()
