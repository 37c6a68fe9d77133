"""The options of the recipe: each does what it says, and none breaks going on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import (
    assert_same_bits,
    assert_same_rows,
    easy_images,
    interrupt_at,
    tiny_model,
    train_tiny,
)

import tinysmooth as ts
from tinysmooth import kernels, losses, nn, plots
from tinysmooth.data import Batches, load_drawn
from tinysmooth.data.luck import draw_luck
from tinysmooth.training import OptionError, TrainConfig, TrainingInterrupted, evaluate, fit, loop
from tinysmooth.training.average import WeightAverage
from tinysmooth.training.history import columns, format_row
from tinysmooth.training.mixing import epoch_size, least_loss, mix, shrink

EVERYTHING = {
    "ema": 0.6, "mixup": 0.4, "zoom": 0.5, "colour": 0.3, "start_size": 8, "end_size": 8,
    "size_step": 4, "warmup": 0.5, "test_flip": True, "val_every": 2, "p": 0.2,
}  # fmt: skip


# Zoom


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    size=st.none() | st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_compiled_zoom_equals_the_reference(seed, height, width, size):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, height, width, 2), dtype=np.uint8)
    luck = draw_luck(rng, images.shape, shuffle=False, padding=1, flip=True, zoom=0.2)
    results = []
    for name in ("compiled", "reference"):
        with ts.use_kernels(name):
            results.append(kernels.zoom_and_flip(images, luck.boxes, luck.flips, size))
    assert results[0].shape == (3, *(size or (height, width)), 2)
    np.testing.assert_array_equal(*results)


def test_the_whole_image_as_a_box_is_the_image_and_its_mirror_image():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    whole = np.array([[0, 0, 4 * 256, 6 * 256]] * 2)
    out = kernels.zoom_and_flip(images, whole, np.array([0, 1]))
    np.testing.assert_array_equal(out[0], images[0])
    np.testing.assert_array_equal(out[1], images[1, :, ::-1])


def test_an_enlarged_ramp_is_a_ramp_between_the_borders_of_the_box():
    # Columns 0, 10, ..., 70; the box of the columns 2 to 6 has its centres at 2, 2.5, 3, ...
    ramp = np.broadcast_to(10 * np.arange(8, dtype=np.uint8)[:, None], (1, 8, 8, 1))
    box = np.array([[0, 2 * 256, 8 * 256, 4 * 256]])
    out = kernels.zoom_and_flip(np.ascontiguousarray(ramp), box, np.array([0]))
    # Centre of new column c: 2 + (c + 1/2) / 2 - 1/2 old columns; 17.5 rounds up.
    expected = np.floor(10 * (2 + (np.arange(8) + 0.5) / 2 - 0.5) + 0.5)
    np.testing.assert_array_equal(out[0, 3, :, 0], expected)


def test_a_box_brought_to_another_size_is_sampled_at_the_middles_of_the_new_pixels():
    ramp = np.broadcast_to(10 * np.arange(8, dtype=np.uint8)[:, None], (1, 8, 8, 1))
    # Rows 2 to 6 and columns 1 to 7; three new columns have their middles at 1.5, 3.5 and 5.5.
    box = np.array([[2 * 256, 1 * 256, 4 * 256, 6 * 256]])
    out = kernels.zoom_and_flip(np.ascontiguousarray(ramp), box, np.array([1]), (5, 3))
    assert out.shape == (1, 5, 3, 1)
    np.testing.assert_array_equal(out[0, 2, :, 0], [55, 35, 15])


def test_batches_serve_the_size_that_was_asked_for_and_need_boxes_for_it():
    images, targets = load_drawn(per_class=1, size=24)
    options = {"augment": True, "rng": np.random.default_rng(0)}
    batches = Batches(images, targets, 4, zoom=0.5, out_size=16, **options)
    assert [x.shape for x, _ in batches] == [(4, 3, 16, 16), (4, 3, 16, 16), (2, 3, 16, 16)]
    with pytest.raises(ValueError, match="out_size is 16 with augment=True and zoom=1; expected"):
        Batches(images, targets, out_size=16, **options)
    with pytest.raises(ValueError, match="out_size is 0"):
        Batches(images, targets, zoom=0.5, out_size=0, **options)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), zoom=st.floats(0.05, 0.99))
def test_boxes_lie_inside_and_have_the_area_that_was_asked_for(seed, zoom):
    rng = np.random.default_rng(seed)
    luck = draw_luck(rng, (50, 24, 32, 3), shuffle=False, padding=2, flip=True, zoom=zoom)
    top, left, height, width = luck.boxes.T / 256
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 24.01).all() and (left + width <= 32.01).all()
    # A box that would be larger than the image in one direction is cut there.
    cut = (height > 23.99) | (width > 31.99)
    area = height * width / (24 * 32)
    assert (area[~cut] > zoom - 0.01).all() and (area < 1.01).all()
    sides = (height / 24) / (width / 32)
    assert ((sides > 0.74) & (sides < 1.35)).all()


@pytest.mark.parametrize("stop", [0, 2])
def test_zoomed_batches_go_on_in_the_middle_of_an_epoch(stop):
    images, targets = load_drawn(per_class=2, size=8)

    def make():
        rng = np.random.default_rng(3)
        return Batches(images, targets, 8, shuffle=True, augment=True, zoom=0.3, rng=rng)

    whole, rest = list(make().epoch()), list(make().epoch(skip=stop))
    for (x, y), (again, labels) in zip(whole[stop:], rest, strict=True):
        np.testing.assert_array_equal(x, again)
        np.testing.assert_array_equal(y, labels)


# Colour


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), channels=st.integers(1, 3))
def test_compiled_recolouring_equals_the_reference(seed, channels):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, 5, 4, channels), dtype=np.uint8)
    gains = rng.integers(0, 513, (3, 3))
    results = []
    for name in ("compiled", "reference"):
        with ts.use_kernels(name):
            results.append(kernels.recolour(images, gains))
    np.testing.assert_array_equal(*results)


def test_each_gain_does_what_its_name_says():
    images = np.random.default_rng(0).integers(60, 120, (4, 6, 6, 3), dtype=np.uint8)
    gains = np.array([[256, 256, 256], [384, 256, 256], [256, 128, 256], [256, 256, 0]])
    same, bright, flat, grey = kernels.recolour(images, gains).astype(float)
    pixels = images.astype(float)
    np.testing.assert_array_equal(same, pixels[0])
    np.testing.assert_allclose(bright, 1.5 * pixels[1], atol=0.51)
    mean = pixels[2].mean()
    np.testing.assert_allclose(flat, mean + (pixels[2] - mean) / 2, atol=0.75)
    np.testing.assert_allclose(grey, pixels[3].mean(axis=2, keepdims=True) + 0 * grey, atol=0.51)


def test_colours_leave_the_range_of_bytes_to_neither_side():
    images = np.array([[[[0, 128, 255]]]], np.uint8)
    out = kernels.recolour(images, np.array([[512, 256, 512]]))[0, 0, 0]
    # Grey 127.67: 2 (2 x - 127.67) is below 0, 256.67 and 764.67.
    assert out.tolist() == [0, 255, 255]


def test_gains_are_drawn_around_one_and_leave_the_other_luck_alone():
    shape = (500, 8, 8, 3)
    options = {"shuffle": True, "padding": 1, "flip": True, "zoom": 0.5}
    plain = draw_luck(np.random.default_rng(5), shape, **options)
    luck = draw_luck(np.random.default_rng(5), shape, colour=0.4, **options)
    for name in ("order", "boxes", "flips"):
        np.testing.assert_array_equal(getattr(luck, name), getattr(plain, name))
    gains = luck.gains / 256
    assert gains.shape == (500, 3) and plain.gains.size == 0
    assert (gains > 0.59).all() and (gains < 1.41).all()
    np.testing.assert_allclose(gains.mean(axis=0), 1, atol=0.05)
    assert gains.min() < 0.65 and gains.max() > 1.35


# Mixup


def test_mixed_images_are_the_shares_of_both_and_the_first_prevails():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(40, 3, 5, 5)).astype(np.float32)
    mixed, partners, shares = mix(images, 0.4, rng)
    assert sorted(partners) == list(range(40))
    assert shares.min() >= 0.5 and shares.max() <= 1
    for i in range(40):
        expected = shares[i] * images[i] + (1 - shares[i]) * images[partners[i]]
        np.testing.assert_allclose(mixed[i], expected, atol=1e-6)


def test_training_with_mixup_aims_at_the_mixed_targets(monkeypatch):
    seen = []
    plain = loop.cross_entropy

    def spy(logits, targets, **options):
        seen.append((np.array(targets), options["label_smoothing"]))
        return plain(logits, targets, **options)

    monkeypatch.setattr(loop, "cross_entropy", spy)
    _, rows = train_tiny(epochs=1, mixup=0.5, label_smoothing=0.1)
    entropies = []
    for targets, epsilon in seen:
        assert targets.shape == (16, 3) and epsilon == 0.1
        np.testing.assert_allclose(targets.sum(1), 1)
        aims = 0.9 * targets + 0.1 / 3
        entropies += list(-(aims * np.log(aims)).sum(1))
    assert 0.01 < np.mean([t.max(1).mean() for t, _ in seen]) < 0.99
    # The floor of the loss is that of the mixed targets, not of plain smoothing.
    assert rows[0].train_floor == pytest.approx(np.mean(entropies))
    assert rows[0].train_floor > losses.loss_floor(3, 0.1)
    assert rows[0].train_loss > rows[0].train_floor


def test_the_least_loss_of_plain_and_of_mixed_targets_by_hand():
    assert least_loss(np.array([1, 2]), 3, 0.0) == 0.0
    mixed = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert least_loss(mixed, 3, 0.0) == pytest.approx(math.log(2) / 2)


# The running mean of the weights


def test_the_average_is_the_recursion_written_out():
    rng = np.random.default_rng(0)
    model = tiny_model(rng)
    average = WeightAverage(model, 0.9)
    expected = model.state_dict()["0.weight"].astype(np.float64)
    for steps in range(1, 12):
        model.load_state_dict(
            {
                name: array + (1 if array.dtype.kind == "i" else rng.normal(size=array.shape))
                for name, array in model.state_dict().items()
            }
        )
        average.update(model, steps)
        decay = min(0.9, (1 + steps) / (10 + steps))
        expected = decay * expected + (1 - decay) * model.state_dict()["0.weight"]
    np.testing.assert_allclose(average.state["0.weight"], expected, rtol=1e-5)
    assert average.state["1.num_batches_tracked"] == 11


def test_with_an_average_training_goes_the_same_way_and_hands_over_the_mean(monkeypatch):
    plain, _ = train_tiny()
    steps = []
    update = WeightAverage.update

    def spy(self, model, steps_done):
        steps.append(model.state_dict())
        update(self, model, steps_done)

    monkeypatch.setattr(WeightAverage, "update", spy)
    averaged, rows = train_tiny(ema=0.8)
    assert_same_bits(steps[-1], plain.state_dict())  # the steps themselves know nothing of it
    mean = averaged.state_dict()["6.weight"]
    assert not np.array_equal(mean, plain.state_dict()["6.weight"])
    judged = evaluate(averaged, easy_images(24, 9))
    assert rows[-1].val_loss == judged.loss  # what is handed over is what was judged


def test_the_resting_weights_of_an_average_are_those_of_the_model():
    model = tiny_model(np.random.default_rng(0))
    average = WeightAverage(model, 0.5)
    average.update(model, 1)
    assert_same_bits(average.state, model.state_dict())


# Growing images


def test_shrinking_averages_the_area_that_a_pixel_covers():
    image = np.arange(36, dtype=np.uint8).reshape(1, 1, 6, 6)
    blocks = image.reshape(3, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(shrink(image, 3)[0, 0], np.rint(blocks))
    # 3 pixels to 2: each new one covers an old one and half of the next.
    column = np.array([0, 90, 240], np.uint8).reshape(1, 1, 3, 1).repeat(3, axis=3)
    np.testing.assert_array_equal(shrink(column, 2)[0, 0, :, 0], [30, 190])
    np.testing.assert_array_equal(shrink(image, 6), image)
    assert shrink(image, 9) is image  # never larger
    flat = np.full((2, 3, 50, 50), 77, np.uint8)
    assert (shrink(flat, 17) == 77).all()
    with pytest.raises(TypeError, match="shrink: images is a float64 array .* expected a uint8"):
        shrink(image / 2, 3)
    with pytest.raises(ValueError, match=r"shrink: images .* expected shape \(N, C, H, W\)"):
        shrink(image[0], 3)
    with pytest.raises(ValueError, match="shrink: size is 0; expected an integer >= 1"):
        shrink(image, 0)


def test_images_grow_in_steps_of_eight_and_end_at_their_size():
    sizes = [epoch_size(epoch, 16, 32, 64) for epoch in range(16)]
    assert sizes == sorted(sizes) and sizes[0] == 32 and sizes[12:] == [64] * 4
    assert set(sizes) <= {32, 40, 48, 56, 64}
    assert epoch_size(0, 1, 48, 64) == 64  # the last epoch has the size that is judged
    assert [epoch_size(epoch, 2, 48, 64) for epoch in range(2)] == [48, 64]
    assert [epoch_size(epoch, 3, 48, 64) for epoch in range(3)] == [48, 56, 64]
    assert epoch_size(0, 9, 64, 64) == 64


def test_the_first_epochs_train_on_smaller_images(monkeypatch):
    seen = []
    plain = loop.Loop._step

    def step(self, images, targets):
        seen.append(images.shape)
        return plain(self, images, targets)

    monkeypatch.setattr(loop.Loop, "_step", step)
    rng = np.random.default_rng(0)
    images = load_drawn(per_class=3, size=24)
    model = nn.Sequential(nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(3, 10, rng=rng))
    fit(model, images, epochs=4, batch_size=30, start_size=16, rng=rng, progress=False)
    assert [shape[2:] for shape in seen] == [(16, 16)] * 3 + [(24, 24)]


def test_images_grow_by_the_steps_that_are_asked_for():
    def growth(step):
        return [epoch_size(epoch, 8, 32, 64, step) for epoch in range(8)]

    assert growth(16) == [32, 32, 32, 48, 48, 48, 64, 64]
    assert growth(32) == growth(512) == [32] * 6 + [64] * 2


@pytest.mark.parametrize("zoom", [1.0, 0.5])
def test_the_last_epochs_train_and_all_are_judged_at_the_end_size(monkeypatch, zoom):
    trained, judged = [], []
    plain, judge = loop.Loop._step, loop.evaluate

    def step(self, images, targets):
        trained.append(images.shape[2:])
        return plain(self, images, targets)

    def look(model, data, **options):
        judged.append(data[0].shape[2:])
        return judge(model, data, **options)

    monkeypatch.setattr(loop.Loop, "_step", step)
    monkeypatch.setattr(loop, "evaluate", look)
    rng = np.random.default_rng(0)
    images = load_drawn(per_class=3, size=32)
    model = nn.Sequential(nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(3, 10, rng=rng))
    fit(model, images, images, epochs=4, batch_size=30, start_size=16, end_size=24, size_step=3,
        zoom=zoom, rng=rng, progress=False)  # fmt: skip
    assert trained == [(16, 16), (19, 19), (22, 22), (24, 24)]
    assert judged == [(24, 24)] * 4


# Fewer evaluations


def test_evaluating_less_often_changes_no_weight_and_no_number_that_is_measured():
    often, rows = train_tiny(epochs=5)
    seldom, fewer = train_tiny(epochs=5, val_every=2)
    assert_same_bits(seldom.state_dict(), often.state_dict())
    for row, known in zip(fewer, rows, strict=True):
        if row.epoch in (2, 4, 5):
            assert row.measured == known.measured
        else:
            assert math.isnan(row.val_loss) and math.isnan(row.val_gap_p50)
            assert row.train_loss == known.train_loss


def test_what_was_not_measured_is_neither_printed_nor_drawn():
    _, rows = train_tiny(epochs=4, val_every=3)
    assert "nan" not in format_row(rows[0], 4) and f"{rows[2].val_loss:.4f}" in format_row(
        rows[2], 4
    )
    figure = plots.training_curves(columns(rows), label_smoothing=0.1, loss_floor=0.5,
                                   resting_gap=4.0)  # fmt: skip
    accuracy = figure.axes[1].get_lines()[0]
    np.testing.assert_array_equal(accuracy.get_xdata(), [3, 4])
    np.testing.assert_allclose(accuracy.get_ydata(), [100 * row.val_accuracy for row in rows[2:]])
    bands = plots.gap_bands(columns(rows), [1.0, 2.0], label_smoothing=0.1, resting_gap=4.0)
    (median,) = (line for line in bands.axes[0].get_lines() if line.get_label() == "median")
    np.testing.assert_array_equal(median.get_ydata(), [row.val_gap_p50 for row in rows[2:]])


# Both sides of an image


def test_the_flip_takes_the_mean_of_an_image_and_its_mirror_image():
    model = tiny_model(np.random.default_rng(0))
    images, targets = easy_images(10)
    mirrored = np.ascontiguousarray(images[..., ::-1])
    both = evaluate(model, (images, targets), flip=True).logits
    one, other = (evaluate(model, (x, targets)).logits for x in (images, mirrored))
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-5)
    assert not np.array_equal(both, one)


# Going on


@pytest.mark.parametrize("moment", [1, 4, 5, 9])
def test_a_run_with_every_option_stopped_and_resumed_ends_with_the_same_bits(
    tmp_path, monkeypatch, moment
):
    whole, rows = train_tiny(**EVERYTHING)
    path = tmp_path / "checkpoint.npz"
    with monkeypatch.context() as patch:
        interrupt_at(patch, moment)
        with pytest.raises(TrainingInterrupted):
            train_tiny(checkpoint=path, save_every=0.0, **EVERYTHING)
    again, later = train_tiny(checkpoint=path, resume=True, **EVERYTHING)
    assert_same_bits(again.state_dict(), whole.state_dict())
    assert_same_rows(later, rows)


@pytest.mark.parametrize(
    "change",
    [
        {"ema": 0.5},
        {"mixup": 0.1},
        {"zoom": 0.9},
        {"colour": 0.0},
        {"start_size": None},
        {"warmup": 0.1},
        {"end_size": None},
        {"size_step": 8},
        {"val_every": 1},
    ],
)
def test_resuming_with_another_recipe_is_refused(tmp_path, change):
    train_tiny(checkpoint=tmp_path / "c.npz", **EVERYTHING)
    (name,) = change
    with pytest.raises(ValueError, match=f"{name} is .*; expected .*as in the checkpoint"):
        train_tiny(checkpoint=tmp_path / "c.npz", resume=True, **{**EVERYTHING, **change})


# Wrong options


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"zoom": 0}, r"zoom is 0; expected a number in \(0, 1\]"),
        ({"mixup": -1}, "mixup is -1"),
        ({"colour": 1.5}, r"colour is 1.5; expected a number in \[0, 1\]"),
        ({"ema": 1.0}, r"ema is 1; expected a number in \[0, 1\)"),
        ({"warmup": 1.5}, "warmup is 1.5"),
        ({"start_size": 4}, "start_size is 4"),
        ({"start_size": 128}, "start_size is 128; expected at most size, 64"),
        ({"end_size": 4}, "end_size is 4"),
        ({"end_size": 128}, "end_size is 128; expected at most size, 64"),
        ({"start_size": 56, "end_size": 48}, "start_size is 56; expected at most end_size, 48"),
        ({"size_step": 0}, "size_step is 0; expected an integer >= 1"),
        ({"test_flip": 1}, "test_flip is 1"),
        ({"val_every": 0}, "val_every is 0; expected an integer >= 1"),
        ({"val_every": 1.5}, "val_every is 1.5"),
    ],
)
def test_a_bad_option_of_the_recipe_is_named(change, words):
    with pytest.raises(OptionError, match=words):
        TrainConfig(**change)
    if "expected at most" not in words:  # of sizes, `fit` sees the images and no `size`
        with pytest.raises((TypeError, ValueError), match=f"fit: {words}"):
            fit(tiny_model(np.random.default_rng(0)), easy_images(), epochs=1, **change)


def test_pictures_are_needed_to_flip_and_to_resize():
    model = nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(0)))
    points = np.zeros((3, 4), np.float32), np.arange(3)
    with pytest.raises(ValueError, match=r"evaluate: flip is True .* expected \(N, C, H, W\)"):
        evaluate(model, points, flip=True)
    with pytest.raises(TypeError, match="fit: start_size is 16 .* expected uint8"):
        fit(model, points, epochs=1, augment=False, start_size=16)
    with pytest.raises(TypeError, match="fit: end_size is 16 .* expected uint8"):
        fit(model, points, epochs=1, augment=False, end_size=16)
    with pytest.raises(ValueError, match="fit: end_size is 16 .* expected at most their own side"):
        fit(model, easy_images(), epochs=1, end_size=16)
