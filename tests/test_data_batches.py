"""Batches: order, augmentation, normalisation, and going on in the middle of an epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinysmooth import kernels, use_kernels
from tinysmooth.data import Batches, load_drawn, normalise


def numbered(count, channels=3, size=6):
    """Images that carry their number in every pixel, and targets that repeat it."""
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(pixels, (count, channels, size, size)).copy(), np.arange(count)


def raw(batches):
    """Undo the normalisation: the pixel values that were served."""
    mean, std = (np.array(v).reshape(-1, 1, 1) for v in MEAN_STD)
    return [(np.rint((x * std + mean) * 255).astype(int), y) for x, y in batches]


MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_an_epoch_serves_every_image_once_with_its_own_target():
    images, targets = numbered(25)
    batches = Batches(images, targets, 8, shuffle=True, rng=np.random.default_rng(0))
    seen = []
    for x, y in raw(batches):
        np.testing.assert_array_equal(x[:, 0, 0, 0], y)
        seen += y.tolist()
    assert sorted(seen) == list(range(25)) and seen != list(range(25))
    assert len(batches) == 4


def test_without_shuffle_the_order_is_kept_and_no_generator_is_needed():
    images, targets = numbered(10)
    assert np.concatenate([y for _, y in Batches(images, targets, 4)]).tolist() == list(range(10))


def test_drop_last_leaves_out_the_rest():
    images, targets = numbered(10)
    batches = Batches(images, targets, 4, drop_last=True)
    assert [len(y) for _, y in batches] == [4, 4]
    assert len(batches) == 2 and batches.num_images == 8


def test_two_epochs_have_two_orders_and_the_same_seed_the_same_two():
    images, targets = numbered(30)

    def orders():
        batches = Batches(images, targets, 30, True, rng=np.random.default_rng(1))
        return [next(iter(batches))[1].tolist() for _ in range(2)]

    first, second = orders()
    assert first != second
    assert orders() == [first, second]


def test_pixels_are_normalised_as_the_formula_says():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, 4, 7), dtype=np.uint8)
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in MEAN_STD)
    expected = (images / 255 - mean) / std
    np.testing.assert_allclose(normalise(images), expected, rtol=1e-6, atol=1e-7)
    ((x, _),) = Batches(images, np.zeros(5, int), 5)
    np.testing.assert_array_equal(x, normalise(images))
    assert x.dtype == np.float32
    assert x.transpose(0, 2, 3, 1).flags.c_contiguous


def test_own_constants_and_any_number_of_channels():
    images = np.full((2, 2, 3, 3), 51, np.uint8)
    ((x, _),) = Batches(images, [0, 1], mean=(0.2, 0.0), std=(1.0, 0.5))
    np.testing.assert_allclose(x[0, :, 0, 0], [0.0, 0.4], atol=1e-7)


def test_both_memory_orders_of_the_images_give_the_same_batches():
    images, targets = load_drawn(per_class=2, size=8)
    for order in (images, np.ascontiguousarray(images), np.asfortranarray(images)):
        batches = Batches(order, targets, 7, True, True, np.random.default_rng(2))
        served = np.concatenate([x for x, _ in batches])
        if order is images:
            expected = served
        np.testing.assert_array_equal(served, expected)


def test_float_images_are_served_as_they_are():
    images = np.random.default_rng(0).normal(size=(6, 5))
    (x, y), _ = Batches(images, np.arange(6), 4)
    np.testing.assert_array_equal(x, images[:4])
    assert x.dtype == np.float64 and y.dtype == np.int64


def test_class_probabilities_may_stand_for_targets():
    probs = np.full((4, 3), 1 / 3)
    images, _ = numbered(4)
    assert [y.shape for _, y in Batches(images, probs, 3)] == [(3, 3), (1, 3)]


# ---- Augmentation


def test_augmentation_moves_and_mirrors_like_padding_and_slicing():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, 3, 9, 9), dtype=np.uint8)
    padded = np.pad(images[0], ((0, 0), (2, 2), (2, 2)), mode="reflect")
    crops = set()
    for top in range(5):
        for left in range(5):
            crop = padded[:, top : top + 9, left : left + 9]
            crops |= {crop.tobytes(), np.ascontiguousarray(crop[:, :, ::-1]).tobytes()}
    batches = Batches(images, [0], augment=True, padding=2, rng=rng)
    seen = {raw(batches)[0][0][0].astype(np.uint8).tobytes() for _ in range(120)}
    assert seen <= crops
    assert len(seen) > 30  # of 50: all directions occur


def test_every_image_of_a_batch_is_moved_on_its_own():
    images = np.broadcast_to(np.arange(16, dtype=np.uint8) * 9, (40, 3, 16, 16)).copy()
    ((x, _),) = Batches(images, np.zeros(40, int), 40, augment=True, rng=np.random.default_rng(0))
    assert len({image.tobytes() for image in x}) > 4


def test_mirroring_can_be_switched_off():
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8), (30, 1, 8, 8)).copy()
    batches = Batches(ramp, np.zeros(30, int), 30, augment=True, padding=0, flip=False,
                      rng=np.random.default_rng(0))  # fmt: skip
    ((x, _),) = batches
    np.testing.assert_array_equal(x, normalise(ramp))


@pytest.mark.parametrize("shape", [(3, 5, 7, 3), (2, 4, 4, 1), (1, 8, 3, 2)])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_compiled_pixel_kernels_equal_the_reference(shape, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    padding = int(rng.integers(0, min(shape[1:3])))
    tops, lefts = rng.integers(0, 2 * padding + 1, (2, shape[0]))
    flips = rng.integers(0, 2, shape[0])
    table = rng.normal(size=(shape[3], 256)).astype(np.float32)
    results = []
    for name in ("compiled", "reference"):
        with use_kernels(name):
            results.append(
                (
                    kernels.crop_and_flip(images, tops, lefts, flips, padding),
                    kernels.scale_pixels(images, table),
                )
            )
    for compiled, reference in zip(*results, strict=True):
        assert compiled.dtype == reference.dtype
        np.testing.assert_array_equal(compiled, reference)


# ---- Going on


def make(rng, images, targets):
    return Batches(images, targets, 8, shuffle=True, augment=True, rng=rng)


@pytest.mark.parametrize("stop", [0, 1, 3, 4])
def test_an_epoch_goes_on_in_the_middle_from_the_state_before_it(stop):
    images, targets = load_drawn(per_class=3, size=8)
    rng = np.random.default_rng(4)
    batches = make(rng, images, targets)
    list(batches)
    state = rng.bit_generator.state
    whole = [*batches, *batches]
    resumed_rng = np.random.default_rng(99)
    resumed_rng.bit_generator.state = state
    resumed = make(resumed_rng, images, targets)
    rest = [*resumed.epoch(skip=stop), *resumed]
    assert len(rest) == len(whole) - stop
    for (x, y), (v, w) in zip(whole[stop:], rest, strict=True):
        np.testing.assert_array_equal(x, v)
        np.testing.assert_array_equal(y, w)


def test_all_random_numbers_of_an_epoch_are_drawn_when_it_begins():
    images, targets = load_drawn(per_class=2, size=8)
    rng = np.random.default_rng(0)
    epoch = iter(make(rng, images, targets))
    state = rng.bit_generator.state
    list(epoch)
    assert rng.bit_generator.state == state


# ---- Refusals

IMAGES, TARGETS = np.zeros((4, 3, 8, 8), np.uint8), np.zeros(4, np.int64)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"images": [[0]]}, TypeError, "images is .*expected an array of uint8"),
        ({"images": IMAGES.astype(np.int64)}, TypeError, "images is a int64 array"),
        ({"images": IMAGES[0]}, ValueError, r"shape \(3, 8, 8\); expected 4 axes"),
        ({"images": IMAGES[:0], "targets": []}, ValueError, "none empty"),
        ({"images": np.zeros((4, 2, 8, 8), np.uint8)}, ValueError, "2 channels; expected 1 or 3"),
        ({"targets": TARGETS[:3]}, ValueError, "targets has 3 rows; expected 4"),
        ({"targets": TARGETS.astype(float)}, TypeError, "targets is a float64 array"),
        ({"targets": TARGETS == 0}, TypeError, "targets is a bool array"),
        ({"targets": TARGETS[:, None]}, ValueError, r"targets is a int64 array of shape \(4, 1\)"),
        ({"batch_size": 0}, ValueError, "batch_size is 0; expected an integer >= 1"),
        ({"batch_size": 2.0}, TypeError, "batch_size is 2.0"),
        ({"batch_size": 5, "drop_last": True}, ValueError, "drop_last leaves no batch"),
        ({"shuffle": True}, ValueError, "rng is None; expected a numpy.random.Generator"),
        ({"augment": True}, ValueError, "rng is None"),
        ({"shuffle": 1, "rng": RNG}, TypeError, "shuffle is 1 .*expected True or False"),
        ({"shuffle": True, "rng": 0}, TypeError, "rng is 0"),
        ({"augment": True, "rng": RNG, "padding": 8}, ValueError, "padding is 8; .* <= 7"),
        ({"augment": True, "rng": RNG, "padding": -1}, ValueError, "padding is -1"),
        ({"images": IMAGES / 255.0, "augment": True, "rng": RNG}, TypeError, "expected uint8"),
        ({"mean": (0.5,)}, ValueError, "mean has 1 numbers; expected one for each of the 3"),
        ({"std": (0.0, 1.0, 1.0)}, ValueError, "std is 0; expected a number in"),
        ({"mean": 0.5}, TypeError, "mean is 0.5 .*expected a sequence of numbers"),
        ({"mean": (np.inf, 0.0, 0.0)}, ValueError, "mean is inf"),
    ],
)
def test_bad_arguments_are_refused_with_their_value(options, error, words):
    with pytest.raises(error, match=words):
        Batches(**{"images": IMAGES, "targets": TARGETS, **options})


def test_skipping_more_batches_than_there_are_is_refused():
    with pytest.raises(ValueError, match="epoch: skip is 2; expected an integer <= 1"):
        Batches(IMAGES, TARGETS).epoch(2)


def test_normalise_refuses_floats():
    with pytest.raises(TypeError, match="normalise: images is a float32 array"):
        normalise(IMAGES.astype(np.float32))
