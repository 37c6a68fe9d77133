# %% [markdown]
# # 13 A drop-in loss
#
# **What must a label-smoothed loss get right before others can rely on it?**
#
# The formula fits on one line. What fills the rest of a real implementation is everything the line
# leaves open: class weights, ignored labels, how to average, which of three definitions is meant,
# logits of minus infinity. This chapter goes through them, compares with frozen values from PyTorch
# 2.13.0, and ends with a gallery of mistakes that were found in public code.
#
# You need chapters 11 (the smoothed target) and 12 (where it rests). No PyTorch is needed to run
# it. Runs in about three seconds.

# %%
import math

import numpy as np

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import show

# %% [markdown]
# ## A table to agree with
#
# Five rows of logits for four classes, class weights $w$, and what
# `torch.nn.functional.cross_entropy` of PyTorch 2.13.0 (CPU, float64) returned for them. The
# numbers were computed once and are kept here, so that the comparison needs no installation. In the
# second list of targets the first row is $-100$: PyTorch's sign for "this row has no label, leave
# it out".

# %%
LOGITS = np.array(
    [
        [2.0, 1.0, 0.0, -1.0],
        [0.5, 0.5, -0.5, 3.0],
        [-1.0, 2.0, 0.25, 0.0],
        [1.5, -2.0, 1.0, 0.5],
        [0.0, 0.0, 4.0, -3.0],
    ]
)
TARGETS = np.array([0, 3, 2, 1, 2])
PARTLY_IGNORED = np.array([-100, 3, 2, 1, 2])
PROBABILITIES = np.array(
    [
        [0.7, 0.1, 0.1, 0.1],
        [0.0, 0.0, 0.5, 0.5],
        [0.25, 0.25, 0.25, 0.25],
        [0.0, 1.0, 0.0, 0.0],
        [0.1, 0.2, 0.3, 0.4],
    ]
)
WEIGHT = np.array([1.0, 2.0, 0.5, 4.0])

# targets, smoothing, weights, reduction: PyTorch 2.13.0
FROZEN = (
    (TARGETS, 0.0, None, "mean", 1.3813566045794023),
    (TARGETS, 0.1, None, "mean", 1.4826066045794024),
    (TARGETS, 0.1, None, "sum", 7.413033022897012),
    (TARGETS, 0.0, WEIGHT, "mean", 1.3235396335932685),
    (TARGETS, 0.1, WEIGHT, "mean", 1.5030633973330902),
    (TARGETS, 0.1, WEIGHT, "sum", 12.024507178664722),
    (PARTLY_IGNORED, 0.1, None, "mean", 1.705710831083954),
    (PARTLY_IGNORED, 0.1, None, "sum", 6.822843324335816),
    (PARTLY_IGNORED, 0.1, WEIGHT, "mean", 1.5958286973542035),
    (PROBABILITIES, 0.0, None, "mean", 2.638856604579402),
    (PROBABILITIES, 0.1, None, "mean", 2.6143566045794024),
    (PROBABILITIES, 0.1, WEIGHT, "mean", 5.644570168652972),
)
FROZEN_ROWS = np.array(
    [0.0, 0.9039730870516633, 1.2798789243508104, 7.963453442920714, 1.023495427156236]
)

for targets, epsilon, weight, reduction, value in FROZEN:
    ours = ts.cross_entropy(
        LOGITS, targets, label_smoothing=epsilon, weight=weight, reduction=reduction
    ).item()
    assert abs(ours - value) < 1e-12
rows = ts.cross_entropy(
    LOGITS, PARTLY_IGNORED, label_smoothing=0.1, weight=WEIGHT, reduction="none"
).data
assert np.abs(rows - FROZEN_ROWS).max() < 1e-12
print(f"{len(FROZEN)} values and one list of rows agree with PyTorch 2.13.0 to 1e-12")

# %% [markdown]
# ## Weights and ignored rows, spelt out
#
# With an integer target $y$ and weights $w$, a row costs
#
# $$\ell = (1-\varepsilon)\,w_y\,(-\log p_y) + \frac{\varepsilon}{K} \sum_k w_k\,(-\log p_k),$$
#
# which is $-\sum_k w_k q'_k \log p_k$: every class's share is weighted, the wrong ones' too. A row
# to be ignored costs 0. And the *mean* divides by the summed weights of the **true classes** of the
# rows that count, $\sum_n w_{y_n}$. Not by the number of rows; and not by the weights that were
# used in the second term, although one might expect it.


# %%
def by_hand(logits, targets, label_smoothing, weight, ignore_index=-100):
    """Return the losses of the rows, and three numbers that one might divide their sum by."""
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    num_classes = logits.shape[1]
    losses, by_true_class, by_used = [], 0.0, 0.0
    for row, target in zip(log_probs, targets, strict=True):
        if target == ignore_index:
            losses.append(0.0)
            continue
        share = np.full(num_classes, label_smoothing / num_classes)
        share[target] += 1.0 - label_smoothing
        losses.append(-(weight * share * row).sum())
        by_true_class += weight[target]
        by_used += (weight * share).sum()
    return np.array(losses), by_true_class, by_used


losses, by_true_class, by_used = by_hand(LOGITS, PARTLY_IGNORED, 0.1, WEIGHT)
assert np.abs(losses - FROZEN_ROWS).max() < 1e-12
wanted = FROZEN[8][4]
print(f"divided by the true classes' weights: {losses.sum() / by_true_class:.6f}  <- PyTorch")
print(f"divided by the rows that count:       {losses.sum() / 4:.6f}")
print(f"divided by all weights used:          {losses.sum() / by_used:.6f}")
assert abs(losses.sum() / by_true_class - wanted) < 1e-12
assert abs(losses.sum() / 4 - wanted) > 0.1 and abs(losses.sum() / by_used - wanted) > 0.01

# %% [markdown]
# Targets may also be probabilities, one row of the logits' shape for each example. Then there is no
# "true class", and the mean divides by the number of rows, *whatever the weights*. So one-hot rows
# and the integers they stand for give the same unweighted mean and different weighted ones; the
# quotient is $N / \sum_n w_{y_n}$.

# %%
one_hot = np.eye(4)[TARGETS]
options = {"label_smoothing": 0.1, "weight": WEIGHT}
as_integers = ts.cross_entropy(LOGITS, TARGETS, **options).item()
as_rows = ts.cross_entropy(LOGITS, one_hot, **options).item()
print(f"integers {as_integers:.6f}, the same labels as one-hot rows {as_rows:.6f}")
assert abs(as_rows - 2.4049014357329446) < 1e-12  # PyTorch 2.13.0
assert abs(as_integers / as_rows - 5 / WEIGHT[TARGETS].sum()) < 1e-12
plain = [ts.cross_entropy(LOGITS, t, label_smoothing=0.1).item() for t in (TARGETS, one_hot)]
assert abs(plain[0] - plain[1]) < 1e-14

# %% [markdown]
# The gradient of the mean has the same divisor, $(s_n\,p - w \circ q')/\sum w_y$ with
# $s_n = \sum_k w_k q'_k$. Check it as always: with finite differences, and with the rule that each
# row adds up to 0.

# %%
gradient = ts.cross_entropy_gradient(LOGITS, PARTLY_IGNORED, **options)
report = ts.gradcheck(lambda z: ts.cross_entropy(z, PARTLY_IGNORED, **options), LOGITS)
assert report.max_relative_error < 1e-6
assert np.abs(gradient.sum(axis=1)).max() < 1e-15
assert (gradient[0] == 0).all()  # the ignored row
probs = ts.softmax(LOGITS).data
pulls = WEIGHT * ts.smooth_targets(TARGETS, 4, 0.1)
expected = (pulls.sum(axis=1, keepdims=True) * probs - pulls) / WEIGHT[[3, 2, 1, 2]].sum()
expected[0] = 0.0
assert np.abs(gradient - expected).max() < 1e-15

# %% [markdown]
# ## A surprise in the weights
#
# Where is the weighted loss of one example smallest? Where $s\,p = w \circ q'$, that is at
# $p_k \propto w_k q'_k$. A heavy class $r$ that is *not* the right one has $w_r\,\varepsilon/K$
# against the right one's $w_y\,(1 - \varepsilon + \varepsilon/K)$. It overtakes as soon as
# $w_r/w_y$ exceeds
#
# $$\frac{q_y}{q_o} = \frac{K(1-\varepsilon)+\varepsilon}{\varepsilon} = e^{G^*},$$
#
# the exponential of the resting gap: 91 for ten classes and $\varepsilon = 0.1$, 46 for five. From
# then on the best prediction for *every* example of every other class is the rare class. At 90 it
# is not yet so, at 91 there is a tie, at 92 it has happened. Users of PyTorch have met this; it is
# what the definition says, and nothing warns of it. (Weights as large as that are common when
# classes are weighted by their inverse frequency.)


# %%
def best_prediction(ratio, num_classes=10, label_smoothing=0.1):
    """Descend to the smallest weighted loss of an example of class 0; class 1 has the weight."""
    weight = np.ones(num_classes)
    weight[1] = ratio
    logits = np.zeros(num_classes)
    for _ in range(4000):
        logits -= ts.cross_entropy_gradient(
            logits, 0, label_smoothing=label_smoothing, weight=weight, reduction="sum"
        )
    return ts.softmax(logits).data


for ratio, ahead in ((90.0, "right"), (91.0, "tie"), (92.0, "rare")):
    found = best_prediction(ratio)
    print(f"weight {ratio:.0f}: right {found[0]:.4f}, rare {found[1]:.4f}")
    lead = found[0] - found[1]
    assert {"right": lead > 1e-4, "tie": abs(lead) < 1e-9, "rare": lead < -1e-4}[ahead]
assert abs(math.exp(ts.resting_gap(10, 0.1)) - 91) < 1e-12
assert abs(math.exp(ts.resting_gap(5, 0.1)) - 46) < 1e-12

ratios = np.logspace(0, 3, 200)
pull = np.array([[0.91, ratio * 0.01, 8 * 0.01] for ratio in ratios])
pull /= pull.sum(axis=1, keepdims=True)
assert abs(pull[0, 0] - 0.91) < 1e-12
show(plots.weighted_optimum(ratios, pull[:, 0], pull[:, 1], 91.0), "weighted_optimum")

# %% [markdown]
# ## Three definitions under one name
#
# "Label smoothing of 0.1" does not mean the same everywhere.
#
# | definition | right class | each wrong class | used by |
# |---|---|---|---|
# | over all | $1-\varepsilon+\varepsilon/K$ | $\varepsilon/K$ | paper, PyTorch, Keras, fastai |
# | over the wrong | $1-\varepsilon$ | $\varepsilon/(K-1)$ | fairseq, tensor2tensor |
# | with a prior $u$ | $1-\varepsilon+\varepsilon u_y$ | $\varepsilon u_k$ | the paper, in general |
#
# The first two are one family with different names for its members:
# $\varepsilon_\text{all} = \varepsilon_\text{wrong}\,K/(K-1)$. For ten classes, 0.1 over the wrong
# ones is 0.1111 over all, and the gap rests at $\log 81 = 4.394$, not at $\log 91$.

# %%
everywhere = ts.smooth_targets(0, 10, 0.1)
wrong_only = ts.smooth_targets(0, 10, 0.1, variant="others")
with_prior = ts.smooth_targets(0, 10, 0.1, prior=np.full(10, 0.1))
assert abs(everywhere[0] - 0.91) < 1e-12 and abs(wrong_only[0] - 0.9) < 1e-12
assert np.abs(with_prior - everywhere).max() < 1e-15
converted = ts.equivalent_label_smoothing(0.1, 10, source="others", target="all")
assert abs(converted - 0.1 * 10 / 9) < 1e-15
assert np.abs(ts.smooth_targets(0, 10, converted) - wrong_only).max() < 1e-15
assert abs(math.log(wrong_only[0] / wrong_only[1]) - math.log(81)) < 1e-12
loss_wrong_only = ts.cross_entropy(LOGITS, ts.smooth_targets(TARGETS, 4, 0.1, variant="others"))
four = ts.equivalent_label_smoothing(0.1, 4, source="others", target="all")
loss_converted = ts.cross_entropy(LOGITS, TARGETS, label_smoothing=four)
assert abs(loss_wrong_only.item() - loss_converted.item()) < 1e-12
print(f"0.1 over the wrong classes is {converted:.6f} over all ten, {four:.6f} over all four")

# %% [markdown]
# Even with the same definition the details differ. fastai's loss weights only its first term, and
# its second term also counts rows that are to be ignored. Written out on our table:

# %%
log_probs = ts.log_softmax(LOGITS).data
smooth_term = (-log_probs.sum(axis=1)).mean() / 4
counted = PARTLY_IGNORED != -100
nll = -log_probs[np.arange(5), np.where(counted, PARTLY_IGNORED, 0)]
plain_term = nll[counted].mean()
weights = WEIGHT[PARTLY_IGNORED[counted]]
weighted_term = (weights * nll[counted]).sum() / weights.sum()
fastai_plain = 0.1 * smooth_term + 0.9 * plain_term
fastai_weighted = 0.1 * smooth_term + 0.9 * weighted_term
print(f"with an ignored row: fastai's formula {fastai_plain:.6f}, PyTorch {FROZEN[6][4]:.6f}")
print(f"and with weights:    fastai's formula {fastai_weighted:.6f}, PyTorch {FROZEN[8][4]:.6f}")
assert abs(fastai_plain - FROZEN[6][4]) > 1e-3 and abs(fastai_weighted - FROZEN[8][4]) > 1e-3
no_gaps = 0.1 * smooth_term + 0.9 * -log_probs[np.arange(5), TARGETS].mean()
assert abs(no_gaps - FROZEN[1][4]) < 1e-12  # with neither, both are the same

# %% [markdown]
# ## At the edges
#
# What happens where the formula says little? This library follows PyTorch where PyTorch has an
# answer, and refuses where PyTorch silently computes something else.
#
# | input | PyTorch 2.13 | here |
# |---|---|---|
# | one class | 0 | 0 |
# | $\varepsilon = 1$ | mean of $-\log p$, label ignored | the same |
# | $\varepsilon < 0$ or NaN | silently 0 | `ValueError` |
# | wrong logit $-\infty$, $\varepsilon = 0$ | finite | the same |
# | wrong logit $-\infty$, $\varepsilon > 0$ | $+\infty$ | the same |
# | probabilities that do not add up to 1 | accepted | `ValueError` |
# | target $K$ or $-1$ | `IndexError` | `IndexError`, naming row and value |
# | no rows, or all ignored; mean | NaN | NaN |
# | NaN in an ignored row | its gradient is NaN | its gradient is 0 |
# | 8-bit integer targets, signed | error | accepted |


# %%
def refuses(error, *arguments, **options):
    """Tell whether the loss raises ``error``."""
    try:
        ts.cross_entropy(*arguments, **options)
    except error:
        return True
    return False


masked = np.array([1.0, 2.0, -np.inf])
assert ts.cross_entropy(np.array([[3.0]]), [0], label_smoothing=0.3).item() == 0.0
uniform = ts.cross_entropy(LOGITS, TARGETS, label_smoothing=1.0).item()
assert abs(uniform + log_probs.mean()) < 1e-12
assert refuses(ValueError, LOGITS, TARGETS, label_smoothing=-0.1)
assert refuses(ValueError, LOGITS, TARGETS, label_smoothing=math.nan)
assert abs(ts.cross_entropy(masked, 0).item() - 1.3132616875182228) < 1e-12
assert ts.cross_entropy(masked, 0, label_smoothing=0.1).item() == math.inf
assert refuses(ValueError, LOGITS, 2 * PROBABILITIES)
assert refuses(IndexError, LOGITS, [0, 1, 2, 3, 4])
assert refuses(IndexError, LOGITS, [0, 1, 2, 3, -1])
assert math.isnan(ts.cross_entropy(np.zeros((0, 4)), np.zeros(0, int)).item())
assert math.isnan(ts.cross_entropy(LOGITS, np.full(5, -100)).item())
assert ts.cross_entropy(LOGITS, np.full(5, -100), reduction="sum").item() == 0.0
broken = LOGITS.copy()
broken[0, 0] = math.nan
assert (ts.cross_entropy_gradient(broken, PARTLY_IGNORED)[0] == 0).all()
assert math.isfinite(ts.cross_entropy(broken, PARTLY_IGNORED).item())
assert ts.cross_entropy(LOGITS, TARGETS.astype(np.int8)).item() == FROZEN[0][4]

# %% [markdown]
# :::{admonition} What float32 keeps
# :class: tip
# Two logits, the right one higher by 17, in float32: PyTorch returns a loss of 0.0 and a gradient
# of exactly 0 at the right logit; this library returns 4.1399e-8 for the loss, and minus as much
# for that entry of the gradient. The difference is one decision, explained in chapter 07: the
# winner's 1 is kept out of the sum of exponentials, and `log1p` takes the rest. It costs nothing,
# and it means that a loss curve on a logarithmic axis does not drop off a cliff at a gap of 16.64.
# :::

# %%
pair = np.array([17.0, 0.0], dtype=np.float32)
assert abs(ts.cross_entropy(pair, 0).item() - 4.1399e-8) < 5e-13
assert abs(ts.cross_entropy_gradient(pair, 0)[0] + 4.1399e-8) < 5e-13
shifted = np.exp(np.array([0.0, -17.0], dtype=np.float32))
assert np.log(shifted.sum()) == 0.0  # the plain formula in float32

# %% [markdown]
# ## A gallery of mistakes
#
# Mistakes of these kinds are found in public code. They train, the loss falls, and nothing crashes.
# What gives them away is a number that you know in advance: targets add up to 1; the smallest loss
# is $H(q') = 0.5003$; it lies at a probability of 0.91; the reference vector of chapter 11 costs
# 0.7244.
#
# 1. *Counted twice*: $(1-\varepsilon)\,\text{nll} + \frac{\varepsilon}{K-1}\sum_k -\log p_k$. The
#    sum runs over all classes, the right one included, so the target's mass is 1.0111 and the best
#    probability 0.9011.
# 2. *The other definition's constant*: the loss over all classes, minus the entropy of the target
#    over the wrong ones, meant to make the minimum 0. It is $-0.0445$.
# 3. *A slip in the algebra*: $(1-\varepsilon)/K$ for every class instead of $\varepsilon/K$. The
#    reference vector costs 2.384.
# 4. *Softmax twice*: probabilities passed where logits belong. Then they act as logits between 0
#    and 1, the gap is at most 1, the best probability of the right class is $e/(e+9) = 0.232$, and
#    the one-hot loss cannot go below 1.461.


# %%
def counted_twice(logits, target, epsilon=0.1):
    surprise = -ts.log_softmax(logits).data
    return (1 - epsilon) * surprise[target] + epsilon / (len(logits) - 1) * surprise.sum()


def wrong_constant(logits, target, epsilon=0.1):
    other = ts.smooth_targets(target, len(logits), epsilon, variant="others")
    loss = ts.cross_entropy(logits, target, label_smoothing=epsilon).item()
    return loss + (other * np.log(other)).sum()


def slip_in_the_algebra(logits, target, epsilon=0.1):
    surprise = -ts.log_softmax(logits).data
    return (1 - epsilon) * surprise[target] + (1 - epsilon) / len(logits) * surprise.sum()


def softmax_twice(logits, target, epsilon=0.1):
    probs = ts.softmax(logits).data
    return ts.cross_entropy(probs, target, label_smoothing=epsilon).item()


grid = np.linspace(0.0, 10.0, 1001)
vectors = np.c_[grid, np.zeros((1001, 9))]
right = np.array([ts.cross_entropy(z, 0, label_smoothing=0.1).item() for z in vectors])
gallery = {
    "counted twice": counted_twice,
    "wrong constant": wrong_constant,
    "slip in the algebra": slip_in_the_algebra,
    "softmax twice": softmax_twice,
}
curves = {name: np.array([code(z, 0) for z in vectors]) for name, code in gallery.items()}
show(plots.mistaken_losses(grid, right, curves), "mistaken_losses")

best = grid[right.argmin()]
assert abs(best - math.log(91)) < 0.01 and abs(right.min() - 0.500288) < 1e-5

mass = 0.9 + 10 * 0.1 / 9
assert abs(mass - 1.0111) < 1e-4
twice = vectors[curves["counted twice"].argmin()]
assert abs(ts.softmax(twice).data[0] - 0.9011) < 1e-3
assert abs((0.9 + 0.1 / 9) / mass - 0.9011) < 1e-4

assert abs(curves["wrong constant"].min() + 0.0445) < 1e-4

reference = np.array([2.0, 1.0, 0.0, -1.0, 0.5])
assert abs(slip_in_the_algebra(reference, 0) - 2.384) < 1e-3
assert abs(ts.cross_entropy(reference, 0, label_smoothing=0.1).item() - 0.7244379396) < 1e-10

certain = ts.cross_entropy(np.eye(10)[0], 0)  # the most that probabilities can do as logits
assert abs(certain.item() - 1.46115) < 1e-5
assert abs(ts.softmax(np.eye(10)[0]).data[0] - 0.23197) < 1e-5
for name, values in curves.items():
    print(f"{name:20} lowest {values.min():8.4f} at a gap of {grid[values.argmin()]:.2f}")

# %% [markdown]
# ## Taking it to PyTorch
#
# You can check all of this against your own installation. Paste this into a file beside this one;
# it needs PyTorch and tinysmooth, and prints differences of the order of 1e-16.
#
# ```python
# import numpy as np
# import torch
# import torch.nn.functional as F
# import tinysmooth as ts
#
# rng = np.random.default_rng(0)
# logits = rng.normal(size=(32, 10))
# targets = rng.integers(0, 10, size=32)
# targets[::7] = -100
# weight = rng.uniform(0.5, 2.0, size=10)
#
# z = torch.tensor(logits, requires_grad=True)
# theirs = F.cross_entropy(
#     z, torch.tensor(targets), weight=torch.tensor(weight), label_smoothing=0.1
# )
# theirs.backward()
# options = {"weight": weight, "label_smoothing": 0.1}
# print(abs(ts.cross_entropy(logits, targets, **options).item() - theirs.item()))
# gradient = ts.cross_entropy_gradient(logits, targets, **options)
# print(np.abs(gradient - z.grad.numpy()).max())
# ```
#
# In a PyTorch training loop, `torch.nn.CrossEntropyLoss(label_smoothing=0.1)` is the same loss. Two
# habits are worth taking along: log the plain cross-entropy on validation data beside it, and write
# down the floor, `ts.loss_floor(num_classes, 0.1)`, next to your curve.
#
# ## What you have learnt
#
# - The weighted mean divides by the weights of the true classes; with probabilities as targets, by
#   the number of rows.
# - A class that weighs more than $e^{G^*}$ times as much as every other one, 91 times for ten
#   classes, becomes the best answer everywhere.
# - "0.1" means two different targets in different libraries; $K/(K-1)$ converts.
# - Know some numbers in advance (the floor, the resting gap, a reference value), and mistakes give
#   themselves away.
#
# ## Questions
#
# 1. Smoothing and masking with $-\infty$ do not go together. Why?
#
# :::{dropdown} Answer
# The smoothed target asks every class for $\varepsilon/K$. A class with the logit $-\infty$ cannot
# give it, and its $-\log p$ is infinite.
# :::
#
# 2. You move from fairseq with 0.1 to PyTorch, with 32 000 classes. Do you need to convert?
#
# :::{dropdown} Answer
# The factor is $32000/31999$. No.
# :::
#
# 3. Your training loss falls below `loss_floor`. Name a mistake of the gallery that could do it.
#
# :::{dropdown} Answer
# The wrong constant: something is subtracted that is not this target's entropy.
# :::
#
# 4. Class weights of $(1, 1, 50, 1, 1)$ and a smoothing of 0.1. What does the model predict?
#
# :::{dropdown} Answer
# Class 2, for every example: 50 is above the tie, 46 for five classes.
# :::
#
# ## Exercises
#
# Fill in `chapters/exercises/13.py` and run `tinysmooth chapters check 13`.
#
# 1. `weighted_mean_loss`: PyTorch's mean, with weights and ignored rows.
# 2. `weighted_optimum`: where the weighted loss is smallest.
# 3. `to_all_classes`: from one definition to the other.
#
# ## Sources
#
# - PyTorch 2.13.0, `torch.nn.functional.cross_entropy`, and the source of its kernel,
#   `aten/src/ATen/native/LossNLL.cpp`.
# - PyTorch issue 104776: class weights together with label smoothing.
# - fastai `losses.py`, timm `loss/cross_entropy.py`, Hugging Face `trainer_pt_utils.py`, Keras
#   `losses.py`: the definitions in the table; fairseq and tensor2tensor for the variant over the
#   wrong classes.
