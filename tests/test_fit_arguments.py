"""What ``fit`` refuses before it takes a step."""

import math

import numpy as np
import pytest
from test_training import assert_same_bits, easy_images, tiny_model

from tinysmooth import nn
from tinysmooth.training import fit


def labels(value):
    images, targets = easy_images(24, 9)
    targets[5] = value
    return images, targets


def floats(value=0.5, width=4):
    points = np.zeros((6, width), np.float32)
    points[3, 2] = value
    return points, np.arange(6) % 3


def with_shape(*shape):
    return np.zeros((6, *shape), np.uint8), np.arange(6) % 3


def refuse(error, words, model, *data, **options):
    """Expect the error before any callback and without a change of the model."""
    calls = []
    options = {"callbacks": [lambda *args: calls.append(args)], **options}
    before = model.state_dict()
    with pytest.raises(error, match=f"^fit: {words}"):
        fit(model, *data, **{"epochs": 1, "batch_size": 16, "progress": False, **options})
    assert calls == []
    assert_same_bits(model.state_dict(), before)


@pytest.mark.parametrize("value", [3, 10, -1, -100])
def test_targets_that_are_no_class_are_named_with_their_set_before_the_first_step(value):
    words = f"targets holds {value}; expected class indices"
    model = tiny_model(np.random.default_rng(0))
    refuse(ValueError, rf"val\.{words}", model, easy_images(), labels(value))
    refuse(ValueError, rf"train\.{words}", model, labels(value), easy_images())
    refuse(ValueError, rf"train\.{words}", model, labels(value), mixup=0.4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_float_images_that_are_not_finite_are_named(value):
    model = nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(0)))
    words = "holds NaN or infinity; expected finite numbers"
    refuse(ValueError, rf"train\.images {words}", model, floats(value), augment=False)
    refuse(ValueError, rf"val\.images {words}", model, floats(), floats(value), augment=False)


def test_validation_images_have_to_be_like_the_training_images_and_to_be_mirrored():
    rng = np.random.default_rng(0)
    line, pictures = nn.Sequential(nn.Linear(4, 3, rng=rng)), tiny_model(rng)
    refuse(ValueError, r"test_flip is True and val\.images is .* expected \(N, C, H, W\)", line,
           floats(), floats(), augment=False, test_flip=True)  # fmt: skip
    for model, train, val in (
        (line, floats(), floats(width=5)),
        (line, floats(), with_shape(3, 8, 8)),
        (pictures, easy_images(), with_shape(1, 8, 8)),
    ):
        refuse(ValueError, r"val\.images is .* beside train\.images", model, train, val,
               augment=False)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"callbacks": [5]}, TypeError, r"callbacks\[0\] is 5 \(int\); expected a function"),
        ({"callbacks": None}, TypeError, r"callbacks is None .* expected a list of functions"),
        ({"callbacks": print}, TypeError, "callbacks is <built-in.* Put a single one into a list"),
        ({"progress": "no"}, TypeError, "progress is 'no'"),
        ({"lr": math.inf}, ValueError, "lr is inf; expected a finite number"),
        ({"mixup": math.inf}, ValueError, "mixup is inf; expected a finite number"),
        ({"weight_decay": math.inf}, ValueError, "weight_decay is inf"),
        ({"start_size": 9}, ValueError, "start_size is 9 for .* expected at most their own side"),
    ],
)
def test_options_that_would_fail_later_or_never_are_refused(change, error, words):
    refuse(error, words, tiny_model(np.random.default_rng(0)), easy_images(), **change)


def test_images_cannot_begin_larger_than_they_end():
    model, data = tiny_model(np.random.default_rng(0)), with_shape(3, 16, 16)
    words = "start_size is 12; expected at most end_size, 8"
    refuse(ValueError, words, model, data, start_size=12, end_size=8)
    rows = fit(model, data, epochs=1, start_size=8, end_size=8, progress=False)
    assert len(rows) == 1
