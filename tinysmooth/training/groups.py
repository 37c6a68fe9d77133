"""Which parameters are decayed."""

from __future__ import annotations

from typing import Any

from tinysmooth.nn import Module

__all__ = ["decay_groups"]


def decay_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters for the optimiser: weight decay on weights, none on the rest.

    Biases and the scales and shifts of BatchNorm have one axis and are spared: decaying them
    does not simplify the function (He et al. 2019, "Bag of tricks", section 3.1).

    Parameters
    ----------
    model : Module
    weight_decay : float

    Returns
    -------
    list of dict
        Groups for ``tinysmooth.optim.SGD`` or ``AdamW``.
    """
    parameters = list(model.parameters())
    weights = [parameter for parameter in parameters if parameter.ndim > 1]
    spared = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
