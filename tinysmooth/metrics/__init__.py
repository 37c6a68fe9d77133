"""What the chapters and reports measure: accuracy, calibration, logit gaps, and the inside.

NumPy arrays in, floats and arrays out; everything is computed in float64. Logits and
probabilities have shape (N, K) with classes on axis 1, targets are (N,) class indices. Losses are
in nats.

Two different gaps are measured, and they differ by a factor of two under one-hot training, so
every report says which one it shows:

- the **mean gap** ``z_y - mean of the other logits``, the one whose resting value under label
  smoothing is ``tinysmooth.resting_gap``;
- the **top-two gap** ``z_y - largest other logit``, which is negative exactly when the
  prediction is wrong.
"""

from tinysmooth.metrics.calibration import (
    ReliabilityBins,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
    softmax,
)
from tinysmooth.metrics.classification import (
    accuracy,
    brier_score,
    confusion_matrix,
    negative_log_likelihood,
)
from tinysmooth.metrics.gaps import logit_gap
from tinysmooth.metrics.inside import (
    TemplatePlane,
    WeightNorm,
    one_pixel_changes,
    penultimate_features,
    saliency,
    template_plane,
    weight_norms,
)

__all__ = [
    "ReliabilityBins",
    "TemplatePlane",
    "WeightNorm",
    "accuracy",
    "brier_score",
    "confusion_matrix",
    "expected_calibration_error",
    "fit_temperature",
    "logit_gap",
    "negative_log_likelihood",
    "one_pixel_changes",
    "penultimate_features",
    "reliability_bins",
    "saliency",
    "softmax",
    "template_plane",
    "weight_norms",
]
