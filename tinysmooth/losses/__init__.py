"""The loss: softmax, smoothed targets, cross-entropy and its gradient, and what explains them.

==================  =============================================================================
room                idea
==================  =============================================================================
`softmax`           softmax, log-softmax, log-sum-exp
`targets`           smoothed targets in three definitions, conversions, mixup targets
`cross_entropy`     the loss and its analytic gradient
`understanding`     the smallest loss, the resting gap, the parts of a loss
`remedies`          other cures for overconfidence: penalties, noise corrections
`inputs`, `fused`   the front door, and the recorded call of the kernel
==================  =============================================================================

All losses are in nats. Classes are on axis 1 of the logits, or on axis 0 of a single vector.
"""

from tinysmooth.losses.cross_entropy import cross_entropy, cross_entropy_gradient
from tinysmooth.losses.remedies import (
    backward_correction,
    confidence_penalty,
    forward_correction,
    logit_penalty,
)
from tinysmooth.losses.softmax import log_softmax, logsumexp, softmax
from tinysmooth.losses.targets import (
    equivalent_label_smoothing,
    mixup_label_smoothing,
    mixup_targets,
    smooth_targets,
)
from tinysmooth.losses.understanding import LossParts, decompose_loss, loss_floor, resting_gap

__all__ = [
    "LossParts",
    "backward_correction",
    "confidence_penalty",
    "cross_entropy",
    "cross_entropy_gradient",
    "decompose_loss",
    "equivalent_label_smoothing",
    "forward_correction",
    "log_softmax",
    "logit_penalty",
    "logsumexp",
    "loss_floor",
    "mixup_label_smoothing",
    "mixup_targets",
    "resting_gap",
    "smooth_targets",
    "softmax",
]
