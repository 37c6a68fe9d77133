"""Every picture the project draws: numbers in, a Matplotlib ``Figure`` out.

Nothing here computes what it shows, opens a window or writes a file; save a figure with its own
``savefig``. Importing this room does not import Matplotlib; drawing does.
"""

from tinysmooth.plots.benchmark import benchmark_ratios
from tinysmooth.plots.bumpiness import (
    certainty_and_generalisation,
    compare_trainings,
    probability_on_line,
    worst_pixels,
)
from tinysmooth.plots.comparison import comparison
from tinysmooth.plots.confidence import gap_for_nines, loss_between_bounds, rounded_away
from tinysmooth.plots.convolution import (
    channel_histograms,
    filter_results,
    kernel_times,
    linear_map,
    pooling_winners,
)
from tinysmooth.plots.definitions import mistaken_losses, weighted_optimum
from tinysmooth.plots.gradients import (
    gradient_check_errors,
    gradient_lengths,
    hessian_eigenvalues,
    logit_forces,
    walk_lengths,
)
from tinysmooth.plots.graph import graph
from tinysmooth.plots.inside import (
    first_layer_filters,
    gap_bands,
    sensitivity_maps,
    template_clusters,
    weight_norms,
)
from tinysmooth.plots.march import gap_march, time_for_nines, wrong_logits_meet
from tinysmooth.plots.pictures import confident_mistakes, predictions
from tinysmooth.plots.rest import distance_to_rest, gap_settles, network_gaps, resting_gaps
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
from tinysmooth.plots.softening import loss_along_gap, loss_parts, penalty_forces, target_bars
from tinysmooth.plots.style import LIMIT, ONE_HOT, SMOOTHED, new_figure, run_colour
from tinysmooth.plots.surprise import (
    expected_surprise,
    monte_carlo_errors,
    simplex_loss,
    surprise_curve,
)
from tinysmooth.plots.unlearning import bounded_or_vanishing, flip_after_training, flip_cost
from tinysmooth.plots.verdict import (
    compare_curves,
    compare_gaps,
    compare_reliability,
    compare_runs,
    examples,
    verdict_counts,
)

__all__ = [
    "LIMIT",
    "ONE_HOT",
    "SMOOTHED",
    "benchmark_ratios",
    "bounded_or_vanishing",
    "certainty_and_generalisation",
    "channel_histograms",
    "compare_curves",
    "compare_gaps",
    "compare_reliability",
    "compare_runs",
    "compare_trainings",
    "comparison",
    "confident_mistakes",
    "confusion_matrix",
    "distance_to_rest",
    "examples",
    "expected_surprise",
    "filter_results",
    "first_layer_filters",
    "flip_after_training",
    "flip_cost",
    "gap_bands",
    "gap_for_nines",
    "gap_histogram",
    "gap_march",
    "gap_settles",
    "gradient_check_errors",
    "gradient_lengths",
    "graph",
    "hessian_eigenvalues",
    "kernel_times",
    "linear_map",
    "logit_forces",
    "loss_along_gap",
    "loss_between_bounds",
    "loss_parts",
    "mistaken_losses",
    "monte_carlo_errors",
    "network_gaps",
    "new_figure",
    "penalty_forces",
    "pooling_winners",
    "predictions",
    "probability_on_line",
    "reliability_diagram",
    "resting_gaps",
    "rounded_away",
    "run_colour",
    "sensitivity_maps",
    "sigmoid_curve",
    "simplex_loss",
    "smooth_maximum",
    "softmax_errors",
    "softmax_steps",
    "surprise_curve",
    "target_bars",
    "temperature_curves",
    "template_clusters",
    "time_for_nines",
    "training_curves",
    "verdict_counts",
    "walk_lengths",
    "weight_norms",
    "weighted_optimum",
    "worst_pixels",
    "wrong_logits_meet",
]
