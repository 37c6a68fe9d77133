"""Write cross_entropy.json: what PyTorch answers, in float64, for cases the tests always run.

python tests/frozen/make_cross_entropy.py
"""

import itertools
import json
from pathlib import Path

import numpy as np
import torch

SHAPES = [(5,), (4, 3), (3, 1), (2, 10), (2, 3, 4), (2, 3, 2, 2)]
SMOOTHINGS = [0.0, 0.1, 1.0]
REDUCTIONS = ["mean", "sum", "none"]


def answers():
    rng = np.random.default_rng(2016)
    for shape, eps, reduction in itertools.product(SHAPES, SMOOTHINGS, REDUCTIONS):
        axis = 0 if len(shape) == 1 else 1
        classes = shape[axis]
        rows = shape[:axis] + shape[axis + 1 :]
        kind = ["indices", "weighted", "ignored", "probabilities"][rng.integers(4)]
        logits = np.round(3 * rng.standard_normal(shape), 3)
        case = {"eps": eps, "reduction": reduction, "kind": kind, "logits": logits.tolist()}
        targets = rng.integers(0, classes, rows)
        weight = None
        if kind in ("weighted", "probabilities"):
            weight = np.round(rng.uniform(0.2, 3.0, classes), 2)
            case["weight"] = weight.tolist()
        if kind == "ignored" and targets.ndim:
            targets.flat[0] = -100
        if kind == "probabilities":
            targets = np.moveaxis(rng.dirichlet(np.ones(classes), rows), -1, axis)
        case["targets"] = targets.tolist()
        tensor = torch.tensor(logits, requires_grad=True)
        value = torch.nn.functional.cross_entropy(
            tensor,
            torch.tensor(targets),
            weight=None if weight is None else torch.tensor(weight),
            label_smoothing=eps,
            reduction=reduction,
        )
        value.sum().backward()
        yield {**case, "value": value.tolist(), "gradient": tensor.grad.tolist()}


if __name__ == "__main__":
    text = json.dumps({"torch": torch.__version__, "cases": list(answers())}, indent=0)
    Path(__file__).with_name("cross_entropy.json").write_text(text + "\n", encoding="utf-8")
