"""Trainings that run away: what they end with, and which weights they hold then."""

import numpy as np
import pytest
from test_run_folders import CONFIG
from test_training import assert_same_bits, easy_images, interrupt_at, tiny_model

from tinysmooth import nn
from tinysmooth.__main__ import main
from tinysmooth.training import (
    DivergedError,
    RunFolder,
    TrainingInterrupted,
    fit,
    load,
    loop,
    resume,
    train,
)

FEW = [
    "--data", "drawn", "--per-class", "4", "--val-per-class", "4", "--size", "32",
    "--batch-size", "8", "--model", "small_convnet", "--threads", "1", "--quiet",
]  # fmt: skip


def scale_losses(monkeypatch, factors):
    """Multiply the loss of step n by the factor n; by 1 after the last."""
    plain, count = loop.cross_entropy, [0]

    def scaled(logits, targets, **options):
        count[0] += 1
        factor = factors[count[0] - 1] if count[0] <= len(factors) else 1.0
        return plain(logits, targets, **options) * factor

    monkeypatch.setattr(loop, "cross_entropy", scaled)


def points(count=48, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 5)).astype(np.float32), np.arange(count) % 3


def small_network(rng):
    return nn.Sequential(nn.Linear(5, 16, rng=rng), nn.ReLU(), nn.Linear(16, 3, rng=rng))


def test_a_short_run_that_ran_away_is_a_failure_with_the_weights_it_began_with(tmp_path, capsys):
    """Ten steps in all: too few for the running mean of the loss to stop it."""
    out = tmp_path / "run"
    argv = ["train", *FEW, "--lr", "100", "--epochs", "2", "--out", str(out)]
    assert main(argv) == 1
    assert "The model holds its last good weights again" in capsys.readouterr().err
    weights = load(RunFolder(out).weights)
    assert all(np.abs(array).max() < 10 for array in weights.values())


def test_an_epoch_that_ran_away_is_not_the_last_good_one(monkeypatch):
    rng = np.random.default_rng(1)
    model = tiny_model(rng)
    kept = [model.state_dict()]
    scale_losses(monkeypatch, [1.0] * 3 + [1e6] * 3 + [np.nan])
    with pytest.raises(DivergedError, match="became nan in epoch 3, step 1"):
        fit(model, easy_images(), epochs=9, batch_size=16, lr=1e-9, rng=rng, progress=False,
            callbacks=[lambda row, model: kept.append(model.state_dict())])  # fmt: skip
    assert len(kept) == 3
    assert_same_bits(model.state_dict(), kept[1])


def test_after_a_resume_an_epoch_that_ran_away_is_not_the_last_good_one_either(
    tmp_path, monkeypatch
):
    def run(**options):
        rng = np.random.default_rng(1)
        model = tiny_model(rng)
        first = model.state_dict()
        try:
            fit(model, easy_images(), epochs=9, batch_size=16, lr=1e-3, rng=rng, progress=False,
                checkpoint=tmp_path / "c.npz", **options)  # fmt: skip
        finally:
            before_and_after.append((first, model.state_dict()))

    before_and_after = []
    with monkeypatch.context() as patch:
        scale_losses(patch, [1e4] * 9)
        interrupt_at(patch, 4)
        with pytest.raises(TrainingInterrupted):
            run()
    scale_losses(monkeypatch, [np.nan])
    with pytest.raises(DivergedError):
        run(resume=True)
    assert_same_bits(*before_and_after[1])


def test_a_large_loss_in_the_first_steps_may_still_come_down(monkeypatch):
    scale_losses(monkeypatch, [14.0] * 3)
    rng = np.random.default_rng(1)
    rows = fit(tiny_model(rng), easy_images(), epochs=5, batch_size=16, lr=1e-3, rng=rng,
               progress=False)  # fmt: skip
    assert rows[0].train_loss > 10 * np.log(3) > rows[-1].train_loss


def test_the_last_epoch_may_not_run_away(monkeypatch):
    scale_losses(monkeypatch, [1.0] * 3 + [40.0] * 3)
    rng = np.random.default_rng(1)
    with pytest.raises(DivergedError, match="mean training loss was .* epoch 2, step 3"):
        fit(tiny_model(rng), easy_images(), epochs=2, batch_size=16, lr=1e-3, rng=rng,
            progress=False)  # fmt: skip


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("lr", [1e12, 1e19, 1e30])
def test_logits_that_overflow_in_the_evaluation_are_a_divergence(lr, label_smoothing):
    rng = np.random.default_rng(0)
    model = small_network(rng)
    before = model.state_dict()
    with pytest.raises(DivergedError, match="Try lr = "):
        fit(model, points(), points(24, 1), epochs=2, batch_size=48, lr=lr, augment=False,
            label_smoothing=label_smoothing, warmup=0.0, rng=rng, progress=False)  # fmt: skip
    assert_same_bits(model.state_dict(), before)


def test_logits_that_overflow_where_nothing_is_smoothed_are_a_divergence():
    """The loss of the right class alone is finite there."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(5, 3, rng=rng))
    state = model.state_dict()
    state["0.weight"][0] = 3e38
    state["0.weight"][1:] = 0.0
    state["0.bias"][:] = 0.0
    model.load_state_dict(state)
    images = np.full((8, 5), -1.0, np.float32)
    with pytest.raises(DivergedError, match="logits became NaN or infinite in epoch 1, step 1"):
        fit(model, (images, np.ones(8, int)), epochs=1, batch_size=8, augment=False,
            label_smoothing=0.0, rng=rng, progress=False)  # fmt: skip


def test_a_run_folder_that_ran_away_can_be_resumed_to_the_same_end(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        scale_losses(patch, [1.0] * 3 + [1e6] * 3)
        with pytest.raises(DivergedError):
            train(CONFIG, tmp_path / "run", progress=False)
    good = load(RunFolder(tmp_path / "run").weights)
    assert len(RunFolder(tmp_path / "run").history.read_text().splitlines()) == 2
    again = resume(tmp_path / "run", progress=False)
    whole = train(CONFIG, tmp_path / "whole", progress=False)
    assert_same_bits(again.model.state_dict(), whole.model.state_dict())
    assert any((good[name] != array).any() for name, array in whole.model.state_dict().items())
