"""The drawn stand-in: reproducible, balanced, varied, and to be told apart."""

import hashlib

import numpy as np
import pytest

from tinysmooth.data import CLASS_NAMES, draw_image, load_drawn


def test_unpacks_into_images_and_targets_of_the_promised_shape():
    images, targets = load_drawn(per_class=3, size=20)
    assert images.shape == (30, 3, 20, 20) and images.dtype == np.uint8
    assert targets.dtype == np.int64
    assert np.bincount(targets).tolist() == [3] * 10
    assert images.transpose(0, 2, 3, 1).flags.c_contiguous


def test_the_first_two_of_the_data_set_are_images_and_targets():
    data = load_drawn(per_class=1, size=8)
    images, targets = data[:2]
    assert images is data.images and targets is data.targets
    assert data[0] is images and data[1] is targets


def test_grey_pictures_have_one_channel():
    assert load_drawn(per_class=1, size=12, grey=True).images.shape == (10, 1, 12, 12)


@pytest.mark.parametrize("size", [8, 13, 33, 100])
def test_any_size_from_eight_pixels_is_drawn(size):
    images, _ = load_drawn(per_class=1, size=size)
    assert images.shape[2:] == (size, size)
    assert images.reshape(10, -1).std(axis=1).min() > 2  # not blank


def test_the_same_seed_gives_the_same_bits():
    first, second = (
        load_drawn(per_class=2, size=16, seed=5),
        load_drawn(per_class=2, size=16, seed=5),
    )
    np.testing.assert_array_equal(first.images, second.images)


def test_another_seed_and_the_other_split_give_other_pictures():
    seen = set()
    for seed in (0, 1):
        for split in ("train", "val"):
            images, _ = load_drawn(per_class=3, size=16, split=split, seed=seed)
            seen |= {hashlib.sha256(image.tobytes()).hexdigest() for image in images}
    assert len(seen) == 4 * 30


def test_a_picture_does_not_depend_on_how_many_are_drawn():
    few, many = (
        load_drawn(per_class=1, size=16, noise=25),
        load_drawn(per_class=4, size=16, noise=25),
    )
    np.testing.assert_array_equal(few.images, many.images[:10])
    np.testing.assert_array_equal(few.targets, many.targets[:10])


def test_a_generator_in_place_of_a_seed_moves_on():
    rng = np.random.default_rng(3)
    first, second = load_drawn(1, 8, rng=rng), load_drawn(1, 8, rng=rng)
    again = load_drawn(1, 8, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(first.images, again.images)
    assert not np.array_equal(first.images, second.images)


def test_noise_changes_labels_at_its_rate_and_no_picture():
    clean = load_drawn(per_class=60, size=8)
    noisy = load_drawn(per_class=60, size=8, noise=25)
    np.testing.assert_array_equal(clean.images, noisy.images)
    np.testing.assert_array_equal(clean.targets, noisy.clean_targets)
    wrong = (noisy.targets != noisy.clean_targets).mean()
    assert abs(wrong - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 600)
    half = load_drawn(per_class=60, size=8, noise=50)
    moved = noisy.targets != noisy.clean_targets
    np.testing.assert_array_equal(half.targets[moved], noisy.targets[moved])


def test_validation_labels_are_always_clean():
    data = load_drawn(per_class=20, size=8, split="val", noise=50)
    np.testing.assert_array_equal(data.targets, data.clean_targets)
    assert data.noise == 0


def test_the_classes_can_be_told_apart_but_not_by_their_mean_picture_alone():
    """Nearest class mean on small clean grey pictures: far above chance, far from perfect."""
    (x, y), (v, w) = (
        load_drawn(per_class=40, size=12, split=split, grey=True, variation=0.4)
        for split in ("train", "val")
    )
    x, v = (a.reshape(len(a), -1).astype(float) for a in (x, v))
    x, v = (a - a.mean(axis=1, keepdims=True) for a in (x, v))
    means = np.stack([x[y == label].mean(axis=0) for label in range(10)])
    guess = ((v[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert 0.2 < (guess == w).mean() < 0.95


def test_more_variation_makes_the_pictures_of_a_class_differ_more():
    def spread(variation):
        images, targets = load_drawn(per_class=12, size=16, grey=True, variation=variation)
        return np.mean([images[targets == k].astype(float).std(axis=0).mean() for k in range(10)])

    assert spread(0.0) < spread(1.0)


def test_draw_image_draws_one_picture_of_the_class():
    picture = draw_image(4, 24, np.random.default_rng(0))
    assert picture.shape == (24, 24, 3) and picture.dtype == np.uint8


def test_the_data_set_says_that_it_is_a_stand_in():
    data = load_drawn(per_class=1, size=8)
    assert data.is_stand_in and "not photographs" in data.description
    assert data.class_names == CLASS_NAMES


def test_arrays_are_read_only():
    data = load_drawn(per_class=1, size=8)
    for array in (data.images, data.targets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"per_class": 0}, ValueError, "load_drawn: per_class is 0; expected an integer >= 1"),
        ({"per_class": 2.5}, TypeError, "per_class is 2.5"),
        ({"per_class": None}, TypeError, "per_class is None"),
        ({"size": 7}, ValueError, "size is 7; expected an integer >= 8"),
        ({"size": True}, TypeError, "size is True"),
        ({"split": "test"}, ValueError, "split is 'test'; expected one of 'train', 'val'"),
        ({"split": 1}, TypeError, "split is 1"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": "a"}, TypeError, "seed is 'a'"),
        ({"rng": 3}, TypeError, "rng is 3 .*default_rng"),
        ({"grey": 1}, TypeError, "grey is 1"),
        ({"noise": 10}, ValueError, "noise is 10; expected one of 0, 1, 5, 25, 50"),
        ({"noise": 0.25}, TypeError, "noise is 0.25"),
        ({"variation": 1.5}, ValueError, r"variation is 1.5; expected a number in \[0, 1\]"),
        ({"variation": float("nan")}, ValueError, "variation is nan"),
    ],
)
def test_bad_options_are_refused_with_their_value(options, error, words):
    with pytest.raises(error, match=words):
        load_drawn(**{"per_class": 1, "size": 8, **options})


def test_draw_image_refuses_a_class_that_does_not_exist():
    with pytest.raises(IndexError, match=r"target is 10; expected a class index in \[0, 10\)"):
        draw_image(10, 16, np.random.default_rng(0))
