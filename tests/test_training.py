"""Training: what it learns, where it stops, and that going on changes nothing."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import metrics, nn
from tinysmooth.training import (
    CorruptFileError,
    DivergedError,
    OptionError,
    RunFolder,
    TrainConfig,
    TrainingInterrupted,
    checkpoint,
    decay_groups,
    evaluate,
    fit,
    job,
    load,
    load_model,
    loop,
    read_history,
    resume,
    save,
    train,
)
from tinysmooth.training.fingerprint import fingerprint
from tinysmooth.training.history import EpochRow, format_header, format_row, write_history


def easy_images(count=48, seed=0):
    """Three classes: one colour channel is brighter."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    images = rng.integers(0, 120, (count, 3, 8, 8)).astype(np.uint8)
    images[np.arange(count), targets] += 100
    return images, targets


def tiny_model(rng, p=0.0):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False, rng=rng),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(p, rng=rng),
        nn.GlobalAvgPool2d(),
        nn.Flatten(),
        nn.Linear(4, 3, rng=rng),
    )


def train_tiny(seed=1, epochs=3, p=0.0, **options):
    rng = np.random.default_rng(seed)
    model = tiny_model(rng, p)
    options = {"batch_size": 16, "progress": False, **options}
    rows = fit(model, easy_images(), easy_images(24, 9), epochs=epochs, rng=rng, **options)
    return model, rows


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name


def assert_same_rows(first, second):
    # As text: floats are written so that they read back exactly, and NaN equals itself there.
    assert [repr(row.measured) for row in first] == [repr(row.measured) for row in second]


# What a run measures


def test_an_easy_task_is_learnt_and_the_rows_say_so():
    _, rows = train_tiny(epochs=8)
    assert rows[-1].val_accuracy > 0.9
    assert rows[-1].train_loss < rows[0].train_loss
    assert [row.epoch for row in rows] == list(range(1, 9))


def test_rows_hold_the_floor_and_the_resting_gap_of_the_smoothing():
    _, rows = train_tiny(epochs=1, label_smoothing=0.1)
    q = np.array([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3])
    assert rows[0].train_floor == pytest.approx(-(q * np.log(q)).sum())
    assert rows[0].resting_gap == pytest.approx(math.log(q[0] / q[1]))
    _, rows = train_tiny(epochs=1, label_smoothing=0.0)
    assert rows[0].train_floor == 0.0
    assert rows[0].resting_gap == math.inf


def test_validation_columns_are_those_of_the_metrics():
    model, rows = train_tiny(epochs=2)
    images, targets = easy_images(24, 9)
    model.eval()
    with ts.no_grad():
        logits = model(ts.Tensor(ts.data.normalise(images))).numpy()
    last = rows[-1]
    assert last.val_loss == pytest.approx(metrics.negative_log_likelihood(logits, targets))
    assert last.val_accuracy == metrics.accuracy(logits, targets)
    probs = metrics.softmax(logits)
    assert last.val_ece == pytest.approx(metrics.expected_calibration_error(probs, targets))
    assert last.val_gap == pytest.approx(metrics.logit_gap(logits, targets))
    assert last.val_top_gap == pytest.approx(metrics.logit_gap(logits, targets, against="top"))


def test_training_loss_and_gap_are_means_over_the_images_and_not_over_the_batches(monkeypatch):
    # 40 images in batches of 16: the last batch has 8 and must count half.
    seen = []
    plain = loop.cross_entropy

    def spy(logits, targets, **options):
        out = plain(logits, targets, **options)
        gap = metrics.logit_gap(logits.numpy(), targets)
        seen.append((out.item(), gap, len(targets)))
        return out

    monkeypatch.setattr(loop, "cross_entropy", spy)
    rng = np.random.default_rng(0)
    rows = fit(tiny_model(rng), easy_images(40), epochs=1, batch_size=16, rng=rng, progress=False)
    losses, gaps, counts = map(np.array, zip(*seen, strict=True))
    assert counts.tolist() == [16, 16, 8]
    assert rows[0].train_loss == pytest.approx(np.average(losses, weights=counts))
    assert rows[0].train_gap == pytest.approx(np.average(gaps, weights=counts))


def test_float_vectors_train_without_augmentation():
    rng = np.random.default_rng(0)
    targets = np.arange(60) % 3
    points = (np.eye(3)[targets] + 0.1 * rng.normal(size=(60, 3))).astype(np.float32)
    model = nn.Sequential(nn.Linear(3, 3, rng=rng))
    rows = fit(model, (points, targets), (points, targets), epochs=20, lr=0.5, augment=False,
               rng=rng, progress=False)  # fmt: skip
    assert rows[-1].val_accuracy == 1.0


def test_without_validation_images_those_columns_are_nan():
    rng = np.random.default_rng(0)
    rows = fit(tiny_model(rng), easy_images(), epochs=1, rng=rng, progress=False)
    assert math.isnan(rows[0].val_loss) and math.isnan(rows[0].val_gap)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_almost_nothing():
    _, rows = train_tiny(epochs=10, lr=0.05)
    rates = [row.learning_rate for row in rows]
    assert max(rates) == pytest.approx(0.05, rel=0.1)
    assert rates[0] < rates[2] and rates[-1] < 0.001


def test_weight_decay_spares_batchnorm_and_biases():
    model = tiny_model(np.random.default_rng(0))
    decayed, spared = decay_groups(model, 0.5)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["0.weight", "6.weight"]
    assert [names[id(p)] for p in spared["params"]] == ["1.weight", "1.bias", "6.bias"]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.5, 0.0)


def test_evaluation_leaves_modes_and_weights_alone():
    model = tiny_model(np.random.default_rng(0), p=0.5)
    model.train()
    list(model.modules())[1].training = False  # one frozen layer
    before, modes = model.state_dict(), [module.training for module in model.modules()]
    first = evaluate(model, easy_images(), batch_size=7)
    second = evaluate(model, easy_images(), batch_size=48)
    np.testing.assert_allclose(first.logits, second.logits, atol=1e-5)
    assert [module.training for module in model.modules()] == modes
    assert_same_bits(model.state_dict(), before)


def test_callbacks_see_every_row_and_the_model():
    calls = []
    model, rows = train_tiny(callbacks=[lambda row, model: calls.append((row, model))])
    assert [row for row, _ in calls] == rows
    assert all(seen is model for _, seen in calls)


def test_the_table_and_the_bar_appear_only_when_asked_for(capsys):
    train_tiny(epochs=2)
    assert capsys.readouterr() == ("", "")
    train_tiny(epochs=2, progress=True)
    shown = capsys.readouterr()
    assert "floor 0.291" in shown.out and "rests 3.33" in shown.out and "2/2" in shown.out
    assert "epoch 1/2" in shown.err


# Determinism and resuming


def test_the_same_seed_gives_the_same_bits_twice():
    first, second = train_tiny(p=0.2), train_tiny(p=0.2)
    assert_same_bits(first[0].state_dict(), second[0].state_dict())
    assert_same_rows(first[1], second[1])
    other, _ = train_tiny(seed=2, p=0.2)
    assert other.state_dict()["6.weight"].tobytes() != first[0].state_dict()["6.weight"].tobytes()


def interrupt_at(monkeypatch, moment):
    """Press Ctrl-C in the middle of the given step, counted from 1 over the whole run."""
    plain, count = loop.Loop._step, [0]

    def step(self, images, targets):
        count[0] += 1
        if count[0] == moment:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, images, targets)

    monkeypatch.setattr(loop.Loop, "_step", step)


# Three epochs of three steps: the first and the last step of an epoch, and the middle of one.
@pytest.mark.parametrize("moment", [1, 3, 5, 9])
def test_a_run_stopped_at_any_step_and_resumed_ends_with_the_same_bits(
    tmp_path, monkeypatch, moment
):
    whole, rows = train_tiny(p=0.2)
    path = tmp_path / "checkpoint.npz"
    with monkeypatch.context() as patch:
        interrupt_at(patch, moment)
        with pytest.raises(TrainingInterrupted, match=r"stopped in epoch .* saved in"):
            train_tiny(p=0.2, checkpoint=path)
    again, later = train_tiny(p=0.2, checkpoint=path, resume=True)
    assert_same_bits(again.state_dict(), whole.state_dict())
    assert_same_rows(later, rows)


def test_a_dropout_with_its_own_generator_is_resumed_too(tmp_path, monkeypatch):
    def run(**options):
        rng = np.random.default_rng(1)
        model = nn.Sequential(tiny_model(rng), nn.Dropout(0.3, rng=np.random.default_rng(5)))
        fit(model, easy_images(), epochs=2, batch_size=16, rng=rng, progress=False, **options)
        return model.state_dict()

    whole, path = run(), tmp_path / "checkpoint.npz"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(TrainingInterrupted):
            run(checkpoint=path)
    assert_same_bits(run(checkpoint=path, resume=True), whole)


def test_an_interrupt_during_evaluation_is_resumed_from_there(tmp_path, monkeypatch):
    whole, rows = train_tiny()
    path = tmp_path / "checkpoint.npz"
    plain = loop.evaluate

    def evaluate_slowly(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return plain(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", evaluate_slowly)
        with pytest.raises(TrainingInterrupted, match="epoch 1, after step 3 of 3"):
            train_tiny(checkpoint=path)
    again, later = train_tiny(checkpoint=path, resume=True)
    assert_same_bits(again.state_dict(), whole.state_dict())
    assert_same_rows(later, rows)


def test_checkpoints_in_the_middle_of_an_epoch_change_nothing(tmp_path):
    whole, rows = train_tiny(p=0.2)
    often, noted = train_tiny(p=0.2, checkpoint=tmp_path / "c.npz", save_every=0.0)
    assert_same_bits(often.state_dict(), whole.state_dict())
    assert_same_rows(noted, rows)


def test_resuming_a_finished_run_returns_its_rows_and_weights(tmp_path):
    path = tmp_path / "c.npz"
    whole, rows = train_tiny(checkpoint=path)
    again, later = train_tiny(checkpoint=path, resume=True)
    assert_same_bits(again.state_dict(), whole.state_dict())
    assert later == rows


def test_the_handler_of_ctrl_c_is_put_back_even_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        train_tiny(callbacks=[lambda row, model: 1 / 0])
    assert signal.getsignal(signal.SIGINT) is before


def test_training_works_outside_the_main_thread():
    done = []
    thread = threading.Thread(target=lambda: done.append(train_tiny(epochs=1)))
    thread.start()
    thread.join()
    assert len(done) == 1


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import test_training as t
from tinysmooth.training import loop
plain, count = loop.Loop._step, [0]
def step(self, *args):
    count[0] += 1
    if count[0] == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, *args)
loop.Loop._step = step
t.train_tiny(p=0.2, checkpoint={path!r}, save_every=0.0)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_process_is_resumed_with_the_same_bits(tmp_path):
    whole, rows = train_tiny(p=0.2)
    path = tmp_path / "c.npz"
    code = KILLED.format(tests=os.path.dirname(__file__), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    again, later = train_tiny(p=0.2, checkpoint=path, resume=True)
    assert_same_bits(again.state_dict(), whole.state_dict())
    assert_same_rows(later, rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 4}, "epochs is 4; expected 3"),
        ({"label_smoothing": 0.2}, "label_smoothing is 0.2; expected 0.1"),
        ({"lr": 0.01}, "lr is 0.01; expected 0.05"),
    ],
)
def test_resuming_with_other_settings_is_refused(tmp_path, change, words):
    train_tiny(checkpoint=tmp_path / "c.npz")
    with pytest.raises(ValueError, match=words):
        train_tiny(checkpoint=tmp_path / "c.npz", resume=True, **change)


def test_resuming_with_other_images_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    train_tiny(checkpoint=path)
    rng = np.random.default_rng(1)
    images, targets = easy_images()
    images[3, 0, 2, 2] ^= 1
    with pytest.raises(ValueError, match="train_data is .* Resume with the same settings and data"):
        fit(tiny_model(rng), (images, targets), epochs=3, batch_size=16, rng=rng,
            checkpoint=path, resume=True, progress=False)  # fmt: skip


def test_resuming_with_other_validation_images_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    train_tiny(checkpoint=path)
    for val in (easy_images(21, 9), easy_images(24, 8), None):
        rng = np.random.default_rng(1)
        with pytest.raises(ValueError, match="val_data is .* Resume with the same settings and da"):
            fit(tiny_model(rng), easy_images(), val, epochs=3, batch_size=16, rng=rng,
                checkpoint=path, resume=True, progress=False)  # fmt: skip


def test_a_checkpoint_that_does_not_know_its_validation_images_is_resumed(tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    whole, rows = train_tiny(p=0.2)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(TrainingInterrupted):
            train_tiny(p=0.2, checkpoint=path)
    state = load(path)
    notes = json.loads(str(state["progress"]))
    del notes["settings"]["val_data"]
    save(path, {**state, "progress": np.array(json.dumps(notes))})
    again, later = train_tiny(p=0.2, checkpoint=path, resume=True)
    assert_same_bits(again.state_dict(), whole.state_dict())
    assert_same_rows(later, rows)


def test_resuming_another_model_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    train_tiny(checkpoint=path)
    rng = np.random.default_rng(1)
    model = nn.Sequential(nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(3, 3, rng=rng))
    with pytest.raises(ValueError, match="belongs to another model"):
        fit(model, easy_images(), easy_images(24, 9), epochs=3, batch_size=16, rng=rng,
            checkpoint=path, resume=True, progress=False)  # fmt: skip


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "c.npz"
    train_tiny(checkpoint=path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(CorruptFileError, match=r"c\.npz"):
        train_tiny(checkpoint=path, resume=True)
    save(path, {"weight": np.zeros(3)})
    with pytest.raises(CorruptFileError, match="is not a checkpoint"):
        train_tiny(checkpoint=path, resume=True)


def test_fingerprints_see_every_element_and_not_the_memory_order():
    images, _ = easy_images()
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert fingerprint(images) == fingerprint(channels_last)
    other = images.copy()
    other[-1, -1, -1, -1] ^= 1
    assert fingerprint(images) != fingerprint(other)
    assert fingerprint(images) != fingerprint(images.reshape(-1, 3, 64))


# Things that go wrong


def test_an_exploding_run_stops_with_advice_and_keeps_the_last_good_weights(tmp_path):
    path = tmp_path / "c.npz"
    rng = np.random.default_rng(1)
    model = tiny_model(rng)
    with pytest.raises(DivergedError, match=r"training loss .* epoch .* step .* Try lr = "):
        fit(model, easy_images(), epochs=30, batch_size=16, lr=1e6, rng=rng, checkpoint=path,
            progress=False)  # fmt: skip
    assert all(np.isfinite(array).all() for array in model.state_dict().values())
    assert all(np.isfinite(a).all() for a in load(path).values() if a.dtype.kind == "f")


def test_a_nan_loss_stops_at_once(monkeypatch):
    plain, count = loop.cross_entropy, [0]

    def spoil(logits, targets, **options):
        count[0] += 1
        return plain(logits, targets, **options) * (math.nan if count[0] == 5 else 1.0)

    monkeypatch.setattr(loop, "cross_entropy", spoil)
    kept = []
    with pytest.raises(DivergedError, match="became nan in epoch 2, step 2"):
        train_tiny(callbacks=[lambda row, model: kept.append(model.state_dict())])
    assert len(kept) == 1


def test_nan_weights_never_replace_a_good_checkpoint(tmp_path):
    model = tiny_model(np.random.default_rng(0))
    optimiser = ts.optim.SGD(model.parameters(), lr=0.1)
    path, rng = tmp_path / "c.npz", np.random.default_rng(0)
    checkpoint.write_checkpoint(path, model, optimiser, [rng], checkpoint.Progress(), {})
    before = path.read_bytes()
    state = model.state_dict()
    state["6.bias"][0] = np.nan
    model.load_state_dict(state)
    with pytest.raises(FloatingPointError, match=r"6\.bias holds NaN"):
        checkpoint.write_checkpoint(path, model, optimiser, [rng], checkpoint.Progress(), {})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0; expected an integer >= 1"),
        ({"epochs": 2.5}, TypeError, "epochs is 2.5"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"lr": -1}, ValueError, "lr is -1; expected a number > 0"),
        ({"lr": math.nan}, ValueError, "lr is nan"),
        ({"momentum": 1.0}, ValueError, r"momentum is 1; expected a number in \[0, 1\)"),
        ({"weight_decay": -1e-4}, ValueError, "weight_decay"),
        ({"label_smoothing": 1.5}, ValueError, r"label_smoothing is 1.5; .* \[0, 1\]"),
        ({"augment": 1}, TypeError, "augment is 1"),
        ({"rng": 3}, TypeError, "rng is 3 .* numpy.random.Generator"),
        ({"resume": True}, ValueError, "resume is True and checkpoint is None"),
        ({"save_every": -1}, ValueError, "save_every"),
    ],
)
def test_bad_options_are_refused_before_any_work(change, error, words):
    options = {"epochs": 1, "progress": False, **change}
    model = tiny_model(np.random.default_rng(0))
    before = model.state_dict()
    with pytest.raises(error, match=f"fit: {words}"):
        fit(model, easy_images(), **options)
    assert_same_bits(model.state_dict(), before)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ("images", TypeError, r"train is 'images' .* expected a Dataset or \(images, targets\)"),
        (([1], [2], [3]), ValueError, "train has 3 parts"),
        ((np.zeros((2, 3, 8, 8), int), [0, 1]), ValueError, r"train\.images .* expected uint8"),
        ((np.zeros((2, 3, 8), np.uint8), [0, 1]), ValueError, r"train\.images .* expected uint8"),
        ((np.zeros((2, 3, 8, 8)), [0, 1]), TypeError, "augment is True .* Pass augment=False"),
        ((np.zeros((0, 3, 8, 8), np.uint8), []), ValueError, r"train\.images"),
        ((np.zeros((2, 3, 8, 8), np.uint8), [0.5, 1.0]), TypeError, r"train\.targets"),
        ((np.zeros((2, 3, 8, 8), np.uint8), [0]), ValueError, r"train\.targets .* expected \(2,\)"),
    ],
)
def test_bad_data_are_refused_before_any_work(data, error, words):
    with pytest.raises(error, match=f"fit: {words}"):
        fit(tiny_model(np.random.default_rng(0)), data, epochs=1)


def test_a_model_that_is_no_module_is_refused():
    with pytest.raises(TypeError, match="fit: model is a function"):
        fit(lambda x: x, easy_images(), epochs=1)


# History


def a_row(epoch=1, **changes):
    names = [field.name for field in dataclasses.fields(EpochRow)]
    return dataclasses.replace(EpochRow(epoch, *(0.1 + 1 / 3 for _ in names[1:])), **changes)


def test_history_reads_back_exactly(tmp_path):
    rows = [a_row(), a_row(2, val_loss=math.pi, resting_gap=math.inf)]
    write_history(tmp_path / "history.csv", rows)
    assert read_history(tmp_path / "history.csv") == rows
    write_history(tmp_path / "history.csv", [])
    assert read_history(tmp_path / "history.csv") == []


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n"])
def test_another_csv_file_is_refused(tmp_path, content):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(ValueError, match=r"history\.csv' begins with"):
        read_history(tmp_path / "history.csv")


def test_a_damaged_row_is_named(tmp_path):
    write_history(tmp_path / "history.csv", [a_row()])
    path = tmp_path / "history.csv"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match="damaged row"):
        read_history(path)


def test_header_and_rows_of_the_table_line_up():
    header = format_header(0.5, 4.51).splitlines()
    assert len(header[0]) == len(format_row(a_row(images_per_second=1234.0), 16))


# Configuration and run folder

OPTIONS = {
    "data": "drawn",
    "per_class": 2,
    "val_per_class": 2,
    "size": 16,
    "epochs": 2,
    "batch_size": 8,
    "model": "small_convnet",
}


def test_a_configuration_survives_json():
    config = TrainConfig(**OPTIONS, label_smoothing=0.2, threads=2)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "cifar"}, "data is 'cifar'; expected one of 'auto', 'imagenette', 'drawn'"),
        ({"per_class": 0}, "per_class is 0; expected an integer >= 1"),
        ({"size": 8}, "size is 8; expected an integer >= 16"),
        ({"size": 64.0}, "size is 64.0"),
        ({"noise": 10}, "noise is 10; expected one of 0, 1, 5, 25, 50"),
        ({"epochs": -1}, "epochs is -1"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"lr": 0}, "lr is 0"),
        ({"lr": math.inf}, "lr is inf"),
        ({"label_smoothing": -0.1}, r"label_smoothing is -0.1; expected a number in \[0, 1\]"),
        ({"label_smoothing": math.nan}, "label_smoothing is nan"),
        ({"label_smoothing": "0.1"}, "label_smoothing is '0.1'"),
        ({"model": "resnet50"}, "model is 'resnet50'; expected one of 'small_convnet', 'resnet9'"),
        ({"seed": -1}, "seed is -1"),
        ({"threads": 0}, "threads is 0"),
        ({"root": __file__}, "root is .*, a file; expected a folder"),
        ({"hue": 1}, "'hue' is not an option; expected one of data, root"),
    ],
)
def test_a_bad_option_is_named_with_what_came_and_what_was_expected(change, words):
    with pytest.raises(OptionError, match=words) as caught:
        TrainConfig.from_dict(change)
    assert caught.value.option == next(iter(change))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return train(TrainConfig(**OPTIONS), out, progress=False)


def test_a_run_folder_holds_config_history_weights_and_checkpoint(finished):
    config, content = finished.folder.read_config()
    assert config == finished.config
    assert content["data"]["source"] == "drawn" and content["data"]["stand_in"] is True
    assert content["environment"]["kernels"] in ("compiled", "reference")
    assert read_history(finished.folder.history) == finished.history
    assert_same_bits(load(finished.folder.weights), finished.model.state_dict())
    assert finished.folder.checkpoint.exists()


def test_the_trained_model_is_found_again(finished):
    model, config, names = load_model(finished.folder.path)
    assert config == finished.config and names[0] == "tench"
    logits = evaluate(model, finished.val).logits
    np.testing.assert_array_equal(logits, finished.evaluation.logits)


def test_a_run_stopped_in_its_folder_goes_on_with_the_same_bits(finished, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        with pytest.raises(TrainingInterrupted):
            train(TrainConfig(**OPTIONS), tmp_path / "run", progress=False)
    stopped = RunFolder.open(tmp_path / "run")
    assert len(read_history(stopped.history)) == 1
    assert load_model(stopped.path)[1].epochs == 2
    later = resume(tmp_path / "run", progress=False)
    assert_same_bits(later.model.state_dict(), finished.model.state_dict())
    assert_same_bits(load(stopped.weights), load(finished.folder.weights))
    assert_same_rows(read_history(stopped.history), finished.history)


def test_a_resume_uses_the_images_that_were_found_then(finished, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("looked for images anew")

    monkeypatch.setattr(job, "choose_source", refuse)
    assert resume(finished.folder.path, progress=False).history == finished.history


def test_a_diverging_run_leaves_good_weights_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(
        loop, "cross_entropy", lambda logits, targets, **options: logits.sum() * math.nan
    )
    with pytest.raises(DivergedError):
        train(TrainConfig(**OPTIONS), tmp_path / "run", progress=False)
    weights = load(tmp_path / "run" / "weights.npz")
    assert all(np.isfinite(array).all() for array in weights.values())


def test_an_occupied_folder_is_refused_before_any_work(finished, tmp_path):
    with pytest.raises(OptionError, match=r"not empty; .* Go on with that run by --resume"):
        train(finished.config, finished.folder.path, progress=False)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="not empty; expected a new folder. Choose another"):
        train(finished.config, tmp_path, progress=False)
    with pytest.raises(OptionError, match=r"notes\.txt' is a file"):
        train(finished.config, tmp_path / "notes.txt" / "run", progress=False)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        resume(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        load_model(tmp_path / "nowhere")


@pytest.mark.skipif(os.name == "nt", reason="needs file locks of Unix")
def test_two_processes_do_not_train_in_one_folder(finished):
    code = f"from tinysmooth.training import resume; resume({str(finished.folder.path)!r})"
    command = [sys.executable, "-c", code]
    with finished.folder.alone():
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "another process is training in" in done.stderr and done.returncode == 1
    with finished.folder.alone():
        pass  # free again


def test_a_damaged_configuration_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"options": {"epochs": ')
    with pytest.raises(ValueError, match=r"config\.json' is damaged"):
        RunFolder.open(tmp_path).read_config()
