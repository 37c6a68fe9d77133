"""Every picture the project draws: numbers in, a Matplotlib ``Figure`` out.

Nothing here computes what it shows, opens a window or writes a file; save a figure with its own
``savefig``. Importing this room does not import Matplotlib; drawing does.
"""

from tinysmooth.plots.confidence import gap_for_nines, loss_between_bounds, rounded_away
from tinysmooth.plots.march import gap_march, time_for_nines, wrong_logits_meet
from tinysmooth.plots.pictures import confident_mistakes, predictions
from tinysmooth.plots.runs import (
    confusion_matrix,
    gap_histogram,
    reliability_diagram,
    training_curves,
)
from tinysmooth.plots.scores import (
    sigmoid_curve,
    smooth_maximum,
    softmax_errors,
    softmax_steps,
    temperature_curves,
)
from tinysmooth.plots.style import LIMIT, ONE_HOT, SMOOTHED, new_figure, run_colour

__all__ = [
    "LIMIT",
    "ONE_HOT",
    "SMOOTHED",
    "confident_mistakes",
    "confusion_matrix",
    "gap_for_nines",
    "gap_histogram",
    "gap_march",
    "loss_between_bounds",
    "new_figure",
    "predictions",
    "reliability_diagram",
    "rounded_away",
    "run_colour",
    "sigmoid_curve",
    "smooth_maximum",
    "softmax_errors",
    "softmax_steps",
    "temperature_curves",
    "time_for_nines",
    "training_curves",
    "wrong_logits_meet",
]
