"""The data set object and its split for tuning."""

import numpy as np
import pytest

from tinysmooth.data import CLASS_NAMES, WNIDS, holdout_split, load_drawn


@pytest.fixture(scope="module")
def drawn():
    return load_drawn(per_class=10, size=8, noise=25)


def keys(data):
    return {image.tobytes() for image in data.images}


def test_a_holdout_takes_its_share_of_every_true_class(drawn):
    training, holdout = holdout_split(drawn, 0.2, np.random.default_rng(0))
    assert np.bincount(training.clean_targets).tolist() == [8] * 10
    assert np.bincount(holdout.clean_targets).tolist() == [2] * 10
    assert keys(training) | keys(holdout) == keys(drawn)
    assert not keys(training) & keys(holdout)


def test_images_keep_their_targets_and_their_order(drawn):
    where = {image.tobytes(): i for i, image in enumerate(drawn.images)}
    for part in holdout_split(drawn, 0.5, np.random.default_rng(1)):
        rows = [where[image.tobytes()] for image in part.images]
        assert rows == sorted(rows)
        np.testing.assert_array_equal(part.targets, drawn.targets[rows])
        np.testing.assert_array_equal(part.clean_targets, drawn.clean_targets[rows])
        assert part.images.transpose(0, 2, 3, 1).flags.c_contiguous


def test_the_split_is_decided_by_the_generator(drawn):
    first, second, other = (
        holdout_split(drawn, 0.3, np.random.default_rng(seed))[1] for seed in (2, 2, 3)
    )
    assert keys(first) == keys(second) != keys(other)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"fraction": 0}, ValueError, r"fraction is 0; expected a number in \(0, 1\)"),
        ({"fraction": 1.0}, ValueError, "fraction is 1"),
        ({"fraction": 0.99}, ValueError, "takes all 10 images of class 'tench'"),
        ({"fraction": "half"}, TypeError, "fraction is 'half'"),
        ({"rng": 0}, TypeError, "rng is 0"),
        ({"dataset": ([], [])}, TypeError, "dataset is a tuple; expected a Dataset"),
    ],
)
def test_bad_arguments_are_refused(drawn, arguments, error, words):
    with pytest.raises(error, match=f"holdout_split: .*{words}|holdout_split: {words}"):
        holdout_split(
            **{"dataset": drawn, "fraction": 0.2, "rng": np.random.default_rng(0), **arguments}
        )


def test_there_are_ten_names_for_ten_folders():
    assert len(CLASS_NAMES) == len(WNIDS) == 10
    assert list(WNIDS) == sorted(WNIDS)
    assert CLASS_NAMES[WNIDS.index("n03394916")] == "French horn"
