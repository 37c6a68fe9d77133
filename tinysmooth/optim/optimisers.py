"""SGD with momentum and AdamW, with PyTorch's formulas and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_array, check_flag, check_real, describe
from tinysmooth.graph import Array
from tinysmooth.optim.flat import FlatParameters
from tinysmooth.tensor import Tensor

__all__ = ["SGD", "AdamW", "Optimiser"]

Groups = Iterable[Tensor] | Iterable[Mapping[str, Any]]


class Optimiser:
    """What the optimisers share: the flat buffers, ``zero_grad``, ``step`` and their state.

    An optimiser moves its parameters to memory of its own. Their ``.data``, ``.numpy()`` and
    ``.detach()`` of before keep the old numbers; ask for them again after it has been made.

    Parameters
    ----------
    parameters : iterable of Tensor, or of groups as ``SGD`` takes them
    lr, weight_decay : float
        At least 0.

    Attributes
    ----------
    lr : float
        Learning rate of the next step; a schedule sets it.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or ``parameters`` are not leaves that require gradients.
    """

    def __init__(self, parameters: Groups, lr: float, weight_decay: float) -> None:
        where = type(self).__name__
        self.lr = check_real(where, "lr", lr, low=0.0)
        check_real(where, "weight_decay", weight_decay, low=0.0)
        pairs = _flatten(where, parameters, weight_decay)
        by_dtype: dict[np.dtype[Any], list[tuple[Tensor, float]]] = {}
        for parameter, decay in pairs:
            by_dtype.setdefault(parameter.dtype, []).append((parameter, decay))
        self._flats = [
            FlatParameters([p for p, _ in group], [decay for _, decay in group])
            for group in by_dtype.values()
        ]
        self._slots: list[dict[str, Array]] = [
            {name: np.zeros_like(flat.values) for name in self._slot_names()}
            for flat in self._flats
        ]
        # Bias corrections count steps; a parameter that was left out of some has its own count.
        self._steps = [np.zeros(len(flat.parameters), np.int64) for flat in self._flats]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for flat in self._flats:
            for parameter in flat.parameters:
                parameter.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient; the others stay as they are.

        Raises
        ------
        ValueError
            If a gradient was replaced by one of another shape.
        """
        check_real(type(self).__name__, "lr", self.lr, low=0.0)
        for flat in self._flats:
            for parameter in flat.parameters:
                if parameter.grad is not None and np.shape(parameter.grad) != parameter.shape:
                    raise ValueError(
                        f"{type(self).__name__}.step: a gradient has shape "
                        f"{np.shape(parameter.grad)}; expected {parameter.shape}"
                    )
        for flat, slots, steps in zip(self._flats, self._slots, self._steps, strict=True):
            flat.gather()
            dtype = flat.values.dtype
            grads = [_contiguous(parameter.grad, dtype) for parameter in flat.parameters]
            present = [grad for grad in grads if grad is not None]
            if len(present) == len(grads) and (steps == steps[0]).all():
                steps += 1
                self._update(flat.values, present, slots, flat.decays, int(steps[0]))
                for parameter in flat.parameters:
                    parameter.mark_changed()
                continue
            for i, (parameter, piece) in enumerate(zip(flat.parameters, flat.pieces, strict=True)):
                grad = grads[i]
                if grad is None:
                    continue
                steps[i] += 1
                own = {name: slot[piece] for name, slot in slots.items()}
                values, decays = flat.values[piece], flat.decays[i : i + 1]
                self._update(values, [grad], own, decays, int(steps[i]))
                parameter.mark_changed()

    def state_dict(self) -> dict[str, Array]:
        """Copy what the optimiser remembers: flat arrays by name, and the learning rate."""
        state: dict[str, Array] = {"lr": np.array(self.lr)}
        for i, (slots, steps) in enumerate(zip(self._slots, self._steps, strict=True)):
            state[f"{i}.steps"] = steps.copy()
            state.update({f"{i}.{name}": slot.copy() for name, slot in slots.items()})
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over such a state; nothing changes if anything does not fit.

        Raises
        ------
        KeyError, TypeError, ValueError
            If names or shapes differ from those of this optimiser, or something is no number.
        """
        where, own = f"{type(self).__name__}.load_state_dict", self.state_dict()
        if not isinstance(state, Mapping):
            raise TypeError(f"{where}: state is {describe(state)}; expected what state_dict gives")
        if own.keys() != state.keys():
            raise KeyError(f"{where}: names are {sorted(state)}; expected {sorted(own)}")
        arrays = {name: check_array(where, name, value) for name, value in state.items()}
        for name, array in own.items():
            if arrays[name].shape != array.shape:
                raise ValueError(
                    f"{where}: {name} has shape {arrays[name].shape}; expected {array.shape}"
                )
        for i in range(len(self._steps)):
            steps = arrays[f"{i}.steps"]
            if not ((steps >= 0) & (steps < 2**53) & (steps == np.floor(steps))).all():
                raise ValueError(f"{where}: {i}.steps has {steps}; expected numbers of steps")
        self.lr = check_real(where, "lr", arrays["lr"], low=0.0)
        for i, (slots, steps) in enumerate(zip(self._slots, self._steps, strict=True)):
            steps[...] = arrays[f"{i}.steps"]
            for name, slot in slots.items():
                slot[...] = arrays[f"{i}.{name}"]

    def _slot_names(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _update(
        self, values: Array, grads: list[Array], slots: dict[str, Array], decays: Array, step: int
    ) -> None:
        raise NotImplementedError


class SGD(Optimiser):
    """Stochastic gradient descent with momentum, plain or Nesterov's.

    ``g = grad + weight_decay * p``, ``v = momentum * v + g``, then ``p -= lr * v``, or with
    ``nesterov`` ``p -= lr * (g + momentum * v)``: PyTorch's form, where the learning rate
    multiplies the velocity (Sutskever et al. 2013 put it inside).

    Parameters
    ----------
    parameters : iterable of Tensor, or of {"params": [...], "weight_decay": ...}
        What to learn; groups may have their own weight decay.
    lr : float
        Learning rate, at least 0.
    momentum : float in [0, 1)
    nesterov : bool
        Needs a momentum above 0.
    weight_decay : float
        At least 0; for groups that do not say.

    Raises
    ------
    TypeError, ValueError
        If there are no parameters, one comes twice or needs no gradient, or a number is out of
        range.
    """

    def __init__(
        self,
        parameters: Groups,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.momentum = check_real("SGD", "momentum", momentum, low=0.0, high=1.0, open_high=True)
        self.nesterov = check_flag("SGD", "nesterov", nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov=True came with momentum 0; expected a momentum above 0")
        super().__init__(parameters, lr, weight_decay)

    def _slot_names(self) -> tuple[str, ...]:
        return ("velocity",)

    def _update(
        self, values: Array, grads: list[Array], slots: dict[str, Array], decays: Array, step: int
    ) -> None:
        kernels.sgd_update(
            values, grads, slots["velocity"], decays, self.lr, self.momentum, self.nesterov
        )


class AdamW(Optimiser):
    """Adam with weight decay kept apart from the gradient (Loshchilov and Hutter 2019).

    Parameters
    ----------
    parameters : iterable of Tensor, or of {"params": [...], "weight_decay": ...}
        What to learn; groups may have their own weight decay.
    lr : float
        Learning rate, at least 0.
    betas : (float, float), each in [0, 1)
        How slowly the averages of the gradient and of its square forget.
    eps : float
        Positive; added to the root of the second average.
    weight_decay : float
        At least 0; each step also multiplies a parameter by ``1 - lr * weight_decay``.

    Raises
    ------
    TypeError, ValueError
        As for :class:`SGD`.
    """

    def __init__(
        self,
        parameters: Groups,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"AdamW: betas is {describe(betas)}; expected two numbers")
        self.betas = (
            check_real("AdamW", "betas", betas[0], low=0.0, high=1.0, open_high=True),
            check_real("AdamW", "betas", betas[1], low=0.0, high=1.0, open_high=True),
        )
        self.eps = check_real("AdamW", "eps", eps, low=0.0, open_low=True)
        super().__init__(parameters, lr, weight_decay)

    def _slot_names(self) -> tuple[str, ...]:
        return ("first", "second")

    def _update(
        self, values: Array, grads: list[Array], slots: dict[str, Array], decays: Array, step: int
    ) -> None:
        first, second = slots["first"], slots["second"]
        kernels.adamw_update(
            values, grads, first, second, decays, self.lr, *self.betas, self.eps, step
        )


def _contiguous(grad: Any, dtype: np.dtype[Any]) -> Array | None:
    """Return a gradient as kernels read it, itself if it lies so; None for none."""
    if grad is None or (isinstance(grad, np.ndarray) and grad.dtype == dtype and grad.flags.carray):
        return grad
    return np.array(grad, dtype, order="C")


def _flatten(where: str, parameters: Groups, weight_decay: float) -> list[tuple[Tensor, float]]:
    """Return every parameter with its weight decay."""
    if isinstance(parameters, Tensor | Mapping) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"{where}: parameters is {describe(parameters)}; expected a list of Tensors, as "
            "model.parameters() gives"
        )
    pairs: list[tuple[Tensor, float]] = []
    for item in parameters:
        if not isinstance(item, Mapping):
            pairs.append((item, weight_decay))
            continue
        unknown = set(item) - {"params", "weight_decay"}
        if "params" not in item or unknown:
            raise ValueError(
                f"{where}: a group has the keys {sorted(item)}; expected params and weight_decay"
            )
        decay = check_real(where, "weight_decay", item.get("weight_decay", weight_decay), low=0.0)
        inside = item["params"]
        inside = [inside] if isinstance(inside, Tensor) else inside
        if not isinstance(inside, Iterable):
            raise TypeError(
                f"{where}: params of a group is {describe(inside)}; expected a list of Tensors"
            )
        pairs.extend((parameter, decay) for parameter in inside)
    if not pairs:
        raise ValueError(f"{where}: parameters is empty; expected at least one Tensor")
    seen: set[int] = set()
    for i, (parameter, _) in enumerate(pairs):
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{where}: parameters[{i}] is {describe(parameter)}; expected a Tensor")
        if not parameter.requires_grad or parameter._node is not None:
            raise ValueError(
                f"{where}: parameters[{i}] is not a leaf that requires a gradient; expected "
                "Tensor(..., requires_grad=True)"
            )
        if parameter.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(
                f"{where}: parameters[{i}] has dtype {parameter.dtype}; expected float32 or float64"
            )
        if id(parameter) in seen:
            raise ValueError(f"{where}: parameters[{i}] comes twice; expected each once")
        seen.add(id(parameter))
    return pairs
