"""The same small network in other teaching libraries on NumPy, where they are installed.

Two 3x3 convolutions (3 to 32 to 64 channels), each with BatchNorm, ReLU and 2x2 max-pooling, then a
global mean and a linear layer; plain cross-entropy, forward and backward. Losses and the first
layer's gradient are compared before anything is timed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tinysmooth import losses, nn
from tinysmooth.bench.timing import alternate, check_equal
from tinysmooth.graph import Array
from tinysmooth.tensor import Tensor

__all__ = ["rival_rows"]

Side = Callable[[], tuple[float, Array]]


def rival_rows(torch: Any = None, *, batch_size: int = 32, size: int = 64) -> list[dict[str, Any]]:
    """Time forward and backward of the small network in every library that is installed.

    Returns
    -------
    list of dict
        name, shape, version, ms, times_ours.
    """
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.standard_normal((batch_size, 3, size, size), np.float32),
        "w1": rng.standard_normal((32, 3, 3, 3), np.float32) * np.float32(0.27),
        "w2": rng.standard_normal((64, 32, 3, 3), np.float32) * np.float32(0.08),
        "w3": rng.standard_normal((64, 10), np.float32) * np.float32(0.12),
    }
    targets = rng.integers(0, 10, batch_size)
    sides: dict[str, Side] = {"tinysmooth": _ours(arrays, targets)}
    versions = {"tinysmooth": ""}
    for name, build in (("torch", _torch), ("mygrad", _mygrad), ("autograd", _autograd)):
        try:
            library = torch if name == "torch" else importlib.import_module(name)
        except ImportError:
            continue
        if library is not None:
            sides[name] = build(arrays, targets)
            versions[name] = str(getattr(library, "__version__", ""))
    loss, grad = sides["tinysmooth"]()
    for name, side in sides.items():
        other_loss, other_grad = side()
        check_equal(f"{name}: loss", np.array(other_loss), np.array(loss), 1e-4)
        check_equal(f"{name}: gradient of the first layer", other_grad, grad, 2e-3)
    times = alternate(sides, rounds=3)
    ours = times["tinysmooth"].median
    return [
        {
            "name": name,
            "version": versions[name],
            "shape": f"{batch_size} x 3 x {size} x {size}",
            "ms": time.median * 1e3,
            "times_ours": time.median / ours,
        }
        for name, time in times.items()
    ]


def _ours(arrays: dict[str, Array], targets: Array) -> Side:
    x = Tensor(np.ascontiguousarray(arrays["x"].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))
    model = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        nn.MaxPool2d(2),
        *(nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(64, 10, bias=False)),
    )
    weights = {"0.weight": arrays["w1"], "4.weight": arrays["w2"], "10.weight": arrays["w3"].T}
    model.load_state_dict({**model.state_dict(), **weights})
    first = next(model.parameters())

    def step() -> tuple[float, Array]:
        model.zero_grad()
        loss = losses.cross_entropy(model(x), targets)
        loss.backward()
        assert first.grad is not None
        return float(loss.item()), first.grad

    return step


def _torch(arrays: dict[str, Array], targets: Array) -> Side:
    import torch
    from torch.nn import functional

    order = torch.channels_last
    x = torch.from_numpy(arrays["x"]).to(memory_format=order)
    w1, w2, w3 = (torch.from_numpy(arrays[n].copy()).requires_grad_() for n in ("w1", "w2", "w3"))
    labels = torch.from_numpy(targets)
    t = torch.nn
    block1, block2 = (t.Sequential(t.BatchNorm2d(c), t.ReLU(), t.MaxPool2d(2)) for c in (32, 64))

    def step() -> tuple[float, Array]:
        for w in (w1, w2, w3):
            w.grad = None
        h = block1(functional.conv2d(x, w1, padding=1))
        h = block2(functional.conv2d(h, w2, padding=1))
        loss = functional.cross_entropy(h.mean(dim=(2, 3)) @ w3, labels)
        loss.backward()
        return float(loss.detach()), w1.grad.numpy()

    return step


def _mygrad(arrays: dict[str, Array], targets: Array) -> Side:
    import mygrad
    from mygrad.nnet.activations import relu
    from mygrad.nnet.layers import batchnorm, conv_nd, max_pool
    from mygrad.nnet.losses import softmax_crossentropy

    w1, w2, w3 = (mygrad.tensor(arrays[name]) for name in ("w1", "w2", "w3"))
    scales = [(mygrad.ones(c, np.float32), mygrad.zeros(c, np.float32)) for c in (32, 64)]

    def step() -> tuple[float, Array]:
        h = conv_nd(arrays["x"], w1, stride=1, padding=1)
        h = max_pool(relu(batchnorm(h, gamma=scales[0][0], beta=scales[0][1], eps=1e-5)), (2, 2), 2)
        h = conv_nd(h, w2, stride=1, padding=1)
        h = max_pool(relu(batchnorm(h, gamma=scales[1][0], beta=scales[1][1], eps=1e-5)), (2, 2), 2)
        logits = mygrad.matmul(mygrad.mean(h, axis=(2, 3)), w3)
        loss = softmax_crossentropy(logits, targets)
        loss.backward()
        return float(loss.item()), np.asarray(w1.grad)

    return step


def _autograd(arrays: dict[str, Array], targets: Array) -> Side:
    """HIPS autograd has no fast convolution; its users slice windows and multiply."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    def windows(h: Any) -> Any:
        padded = anp.pad(h, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="constant")
        height, width = h.shape[2:]
        parts = [padded[:, :, r : r + height, s : s + width] for r in range(3) for s in range(3)]
        return anp.stack(parts, axis=2)  # (N, C, 9, H, W)

    def conv(h: Any, w: Any) -> Any:
        flat = anp.reshape(w, (w.shape[0], w.shape[1], 9))
        return anp.einsum("ncrhw,kcr->nkhw", windows(h), flat, optimize=True)

    def pool(h: Any) -> Any:
        n, c, height, width = h.shape
        return anp.max(anp.reshape(h, (n, c, height // 2, 2, width // 2, 2)), axis=(3, 5))

    def norm(h: Any) -> Any:
        centred = h - anp.mean(h, axis=(0, 2, 3), keepdims=True)
        return centred / anp.sqrt(anp.mean(centred**2, axis=(0, 2, 3), keepdims=True) + 1e-5)

    def loss(w1: Any, w2: Any, w3: Any) -> Any:
        h = pool(anp.maximum(norm(conv(arrays["x"], w1)), 0))
        h = pool(anp.maximum(norm(conv(h, w2)), 0))
        z = anp.dot(anp.mean(h, axis=(2, 3)), w3)
        shifted = z - anp.max(z, axis=1, keepdims=True)
        log_probs = shifted - anp.log(anp.sum(anp.exp(shifted), axis=1, keepdims=True))
        return -anp.mean(log_probs[anp.arange(len(targets)), targets])

    differentiate = value_and_grad(loss, argnum=(0, 1, 2))

    def step() -> tuple[float, Array]:
        value, grads = differentiate(arrays["w1"], arrays["w2"], arrays["w3"])
        return float(value), grads[0]

    return step
