# %% [markdown]
# # 11 Soften the target
#
# **What exactly does label smoothing change?**
#
# One line of code: the one-hot target gives away a little of its mass. This chapter looks at that
# line from five sides: as a row of numbers, as labels that are redrawn at random, as a second loss,
# as a charge on the gap, and as a loss that never reaches 0. All five are the same number, and you
# will check that they are.
#
# You need chapters 02 (cross-entropy), 03 (its gradient) and 07 (the gap). Runs in about three
# seconds.

# %%
import math

import numpy as np

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import record, show

# %% [markdown]
# ## A row of numbers
#
# There are $K$ classes and $y$ is the right one. Let $q$ be the one-hot target and $u$ a fixed
# distribution over the classes, here the uniform one, $u_k = 1/K$. The smoothed target keeps
# $1 - \varepsilon$ of $q$ and takes $\varepsilon$ from $u$:
#
# $$q'_k = (1-\varepsilon)\,q_k + \varepsilon\,u_k .$$
#
# The zeros become $\varepsilon/K$; the one becomes $1 - \varepsilon + \varepsilon/K$, because the
# right class also gets its share of the uniform part. For ten classes and $\varepsilon = 0.1$: 0.01
# nine times and 0.91 once.


# %%
def naive_smooth(target, num_classes, label_smoothing):
    """Build the one-hot row, then mix it with the uniform one."""
    one_hot = np.zeros(num_classes)
    one_hot[target] = 1.0
    uniform = np.full(num_classes, 1.0 / num_classes)
    return (1.0 - label_smoothing) * one_hot + label_smoothing * uniform


row = naive_smooth(3, 10, 0.1)
assert np.abs(row - ts.smooth_targets(3, 10, 0.1)).max() < 1e-15
assert abs(row[3] - 0.91) < 1e-15 and np.abs(np.delete(row, 3) - 0.01).max() < 1e-15
assert abs(row.sum() - 1.0) < 1e-15
show(plots.target_bars(np.eye(10)[3], row), "target_bars")
record("B1", "holds", f"N = 10, eps = 0.1: {row[0]:.2f} nine times and {row[3]:.2f} once")
record(
    "P17",
    "holds",
    f"(1 - eps) q + eps u adds up to {row.sum():.6f}, no entry below eps/K = {row.min():.2f}",
)

# %% [markdown]
# ## Labels that are redrawn
#
# The paper has a story for this row. Take the right label. With probability $1 - \varepsilon$ keep
# it; otherwise throw it away and draw a new one from $u$. The new label is $k$ with exactly the
# probability $q'_k$. Note that a redraw may give the old label back, so a label really *changes*
# only with the probability $\varepsilon(1 - 1/K) = 0.09$.
#
# Cross-entropy is linear in the target. So the average loss over redrawn labels is the loss of the
# average label, $\mathbb{E}[L] = H(q', p)$, and the same is true of the gradient: the average of
# $p - \tilde q$, with $\tilde q$ the one-hot row of a redrawn label, is $p - q'$. Smoothing is what
# training with randomly replaced labels does *on average*, without the noise. The noise that is
# saved has a size: the gradients of redrawn labels scatter about their mean with a total variance
# of $1 - \sum_k q_k'^2 = 0.171$.
#
# Draw two hundred thousand labels and see.

# %%
rng = np.random.default_rng(11)
draws = 200_000
logits = np.array([2.0, 1.0, 0.0, -1.0, 0.5, 0.3, -0.7, 1.5, -2.0, 0.1])
target, smoothed = 0, ts.smooth_targets(0, 10, 0.1)

redraw = rng.random(draws) < 0.1
labels = np.where(redraw, rng.integers(0, 10, size=draws), target)
changed = (labels != target).mean()
frequency = np.bincount(labels, minlength=10) / draws

log_probs = ts.log_softmax(logits).data
losses = -log_probs[labels]
expected = ts.cross_entropy(logits, target, label_smoothing=0.1).item()
error = losses.std() / math.sqrt(draws)
mean_gradient = np.exp(log_probs) - frequency
variance = frequency @ (1.0 - frequency)  # trace of the covariance of the one-hot rows
print(f"labels changed: {changed:.4f} (0.09)")
print(f"mean loss: {losses.mean():.5f} +- {error:.5f}, smoothed loss {expected:.5f}")
print(f"variance that smoothing removes: {variance:.4f}")
assert abs(changed - 0.09) < 4 * math.sqrt(0.09 * 0.91 / draws)
assert np.abs(frequency - smoothed).max() < 4 * math.sqrt(0.09 * 0.91 / draws)
assert abs(losses.mean() - expected) < 4 * error
analytic = ts.cross_entropy_gradient(logits, target, label_smoothing=0.1)
assert np.abs(mean_gradient - analytic).max() < 4 * math.sqrt(0.09 * 0.91 / draws)
assert abs(variance - 0.171) < 0.004 and abs(1 - (smoothed**2).sum() - 0.171) < 1e-12
record(
    "P18",
    "holds",
    f"of {draws} labels redrawn with eps = 0.1, {changed:.4f} changed; eps (1 - 1/K) = 0.09",
)
record(
    "P1",
    "holds",
    f"mean loss over {draws} redrawn labels {losses.mean():.4f} +- {error:.4f}, smoothed loss "
    f"{expected:.4f}; mean gradient within {np.abs(mean_gradient - analytic).max():.0e} of p - q'",
)

# %% [markdown]
# The story can be read from its end. Labels that somebody redrew uniformly with probability $\rho$
# are noisy labels, and their distribution is a target smoothed by $\rho$: symmetric noise and
# smoothing are the same map, $q \mapsto (1-\rho)\,q + \rho\,u$. Its inverse has the same form,
# with the amount $\varepsilon = -\rho/(1-\rho)$: for $\rho = 0.1$, smoothing by $-1/9$. The single
# targets then have negative entries; but the loss with them, averaged over the noise, is the loss
# with the clean label. This is known as backward correction.

# %%
classes, undo = np.arange(10), -0.1 / 0.9
noise = 0.9 * np.eye(10) + 0.1 / 10  # row y: the distribution of the label that replaces y
assert np.abs(noise - ts.smooth_targets(classes, 10, 0.1)).max() < 1e-15
backward = ts.smooth_targets(classes, 10, undo, allow_negative=True)
assert np.abs(noise @ backward - np.eye(10)).max() < 1e-14
rows = np.tile(logits, (10, 1))
corrected = ts.cross_entropy(
    rows, classes, label_smoothing=undo, allow_negative=True, reduction="none"
).data
averaged, clean = noise[target] @ corrected, ts.cross_entropy(logits, target).item()
print(f"smoothing by {undo:.4f}, averaged over noisy labels: {averaged:.6f}; clean: {clean:.6f}")
assert abs(averaged - clean) < 1e-12

# %% [markdown]
# ## Which distribution to mix in
#
# Any $u$ will do as far as the mathematics is concerned. The paper suggests the distribution of the
# labels in the training set, which for balanced classes is the uniform one. With a skewed $u$ each
# wrong class gets its own share. Wherever the loss is smallest, $p = q'$ (chapter 02), so the
# logits there are $\log q'$ up to a constant, whatever $u$ is.

# %%
prior = np.array([0.5, 0.3, 0.2])
mixed = ts.smooth_targets(1, 3, 0.1, prior=prior)
assert np.abs(mixed - (0.9 * np.eye(3)[1] + 0.1 * prior)).max() < 1e-15
resting = np.log(mixed)
assert np.abs(ts.softmax(resting).data - mixed).max() < 1e-15
gradient = ts.cross_entropy_gradient(resting, mixed)
assert np.abs(gradient).max() < 1e-15
gaps = resting[1] - resting[[0, 2]]
assert abs(gaps[0] - 2.923162) < 1e-6 and abs(gaps[1] - 3.839452) < 1e-6
record(
    "P19",
    "holds",
    f"a choice: with u = (0.5, 0.3, 0.2) the loss is smallest at gaps of {gaps[0]:.3f} and "
    f"{gaps[1]:.3f}, with a uniform u at equal gaps of {ts.resting_gap(3, 0.1):.3f}",
)

# %% [markdown]
# ## A second loss
#
# Put $q' = (1-\varepsilon) q + \varepsilon u$ into the cross-entropy and use its linearity again:
#
# $$H(q', p) = (1-\varepsilon)\,H(q, p) + \varepsilon\,H(u, p).$$
#
# The first term is the old loss. The second is a cross-entropy against the uniform distribution; it
# grows without bound as the prediction becomes certain of anything. Relative to the first its
# weight is $\varepsilon/(1-\varepsilon)$, one ninth for $\varepsilon = 0.1$. And since
# $H(u, p) = \mathrm{KL}(u \,\|\, p) + H(u)$, where $H(u) = \log K$ does not depend on the
# prediction, it measures how far the prediction is from saying nothing.

# %%
parts = ts.decompose_loss(logits, target, 0.1)
old_loss = -log_probs[target]
against_uniform = -log_probs.mean()
divergence = (0.1 * (math.log(0.1) - log_probs)).sum()  # KL(u || p): u_k = 0.1 for ten classes
assert abs(0.9 * old_loss + 0.1 * against_uniform - expected) < 1e-12
assert (
    abs(parts.hard - 0.9 * old_loss) < 1e-12 and abs(parts.uniform - 0.1 * against_uniform) < 1e-12
)
assert abs(against_uniform - (divergence + math.log(10))) < 1e-12
print(f"(1-eps) H(q,p) = {parts.hard:.6f}, eps H(u,p) = {parts.uniform:.6f}, sum {parts.total:.6f}")
record(
    "P21",
    "holds",
    f"{parts.hard:.6f} + {parts.uniform:.6f} = {expected:.6f}, difference below 1e-12",
)
record("P22", "holds", f"eps = 0.1: {0.1 / 0.9:.6f}, one ninth")
record(
    "P23",
    "holds",
    f"H(u, p) = {against_uniform:.6f} = KL {divergence:.6f} + log 10, difference below 1e-12",
)

# %% [markdown]
# ## A charge on the gap
#
# Here is the form to remember. Write $\bar z$ for the mean of the logits. With
# $-\log p_k = \mathrm{LSE}(z) - z_k$ the second loss is $\mathrm{LSE}(z) - \bar z$, and everything
# collapses to
#
# $$H(q', p) = \underbrace{-\log p_y}_{\text{the old loss}} + \;\varepsilon\,(z_y - \bar z).$$
#
# Smoothing is plain cross-entropy plus a charge, at the rate $\varepsilon$, on how far the right
# logit stands above the average logit: on the very "differences between the largest logit and all
# others" that the paper complains about. The charge is linear, so its pull is always the same,
# while the pull of the old loss fades. At some gap they balance, and chapter 12 is about that
# place.
#
# Five formulas for one number, on a thousand random examples:

# %%
many = rng.normal(0.0, 3.0, size=(1000, 10))
classes = rng.integers(0, 10, size=1000)
rows = np.arange(1000)
log_p = ts.log_softmax(many).data
rows_smoothed = ts.smooth_targets(classes, 10, 0.1)
lse = ts.logsumexp(many).data
entropy = ts.loss_floor(10, 0.1)
forms = {
    "definition": -(rows_smoothed * log_p).sum(axis=1),
    "two losses": 0.9 * -log_p[rows, classes] + 0.1 * -log_p.mean(axis=1),
    "floor + divergence": entropy + (rows_smoothed * (np.log(rows_smoothed) - log_p)).sum(axis=1),
    "log-sum-exp": lse - 0.9 * many[rows, classes] - 0.1 * many.mean(axis=1),
    "charge on the gap": -log_p[rows, classes] + 0.1 * (many[rows, classes] - many.mean(axis=1)),
}
library = ts.cross_entropy(many, classes, label_smoothing=0.1, reduction="none").data
for name, values in forms.items():
    print(f"{name:20} largest difference from the library {np.abs(values - library).max():.1e}")
    assert np.abs(values - library).max() < 1e-12

# %% [markdown]
# ## A loss that never reaches 0
#
# $H(q', p) = H(q') + \mathrm{KL}(q' \,\|\, p)$, and the divergence is 0 at best. So the smallest
# possible loss is the entropy of the target itself: **0.500288** for ten classes and
# $\varepsilon = 0.1$, 1.014848 for a thousand classes. A training loss of 0.5003 is perfect. Only
# 0.0943 of it, $-\log 0.91$, is plain cross-entropy; the rest is the price of having asked for a
# soft target.
#
# Two habits follow. Never compare losses that were computed with different $\varepsilon$. And
# always report the plain cross-entropy on validation data as well, as this library does.

# %%
assert abs(entropy - 0.500288035) < 1e-9
assert abs(ts.loss_floor(1000, 0.1) - 1.014848) < 1e-6
assert abs(-math.log(0.91) - 0.0943) < 1e-4


def loss_at(gap, label_smoothing, num_classes=10):
    """Smoothed loss where the right logit is ``gap`` above the others, which are equal."""
    vector = np.zeros(num_classes)
    vector[0] = gap
    return ts.cross_entropy(vector, 0, label_smoothing=label_smoothing).item()


grid = np.linspace(0.0, 12.0, 241)
fine = np.linspace(1.0, 8.0, 70_001)
curves, minima = {}, {}
for epsilon in (0.0, 0.05, 0.1, 0.2):
    curves[epsilon] = np.array([loss_at(gap, epsilon) for gap in grid])
    if epsilon:
        right = 1 - epsilon + epsilon / 10
        valley = np.log(np.exp(fine) + 9) - right * fine
        best = int(valley.argmin())
        minima[epsilon] = (fine[best], valley[best])
        assert abs(fine[best] - ts.resting_gap(10, epsilon)) < 2e-4
        assert abs(valley[best] - ts.loss_floor(10, epsilon)) < 1e-8
assert abs(minima[0.1][0] - 4.5109) < 2e-4
show(plots.loss_along_gap(grid, curves, minima), "loss_along_gap")

hard = np.array([0.9 * loss_at(gap, 0.0) for gap in grid])
uniform = curves[0.1] - hard
assert (np.diff(hard) < 0).all() and (np.diff(uniform) > 0).all()
show(plots.loss_parts(grid, hard, uniform, entropy), "loss_parts")

slope = (loss_at(41.0, 0.1) - loss_at(39.0, 0.1)) / 2.0
assert abs(slope - 0.09) < 1e-6
print(f"far out the smoothed loss rises by {slope:.6f} for each unit of gap")

# %% [markdown]
# The one-hot curve falls for ever, as chapter 07 proved. The others turn round. Far to the right
# they rise by $\varepsilon(K-1)/K = 0.09$ for each unit of gap.
#
# ## No one-hot rows needed
#
# The row of numbers explains the idea; a computer need not build it. For each example the loss
# takes two sums over the log-probabilities, and the gradient is the softmax with $\varepsilon/K$
# taken off everywhere and $1-\varepsilon$ taken off at $y$. With a vocabulary of 50 000 classes
# that matters.
#
# Here is a value to test your own code against: logits $(2, 1, 0, -1, 0.5)$, right class 0,
# $\varepsilon = 0.1$, loss 0.7244379396.


# %%
def loss_and_gradient(logits, target, label_smoothing):
    """Smoothed loss and gradient with no array of targets."""
    shifted = logits - logits.max()
    log_probs = shifted - np.log(np.exp(shifted).sum())
    loss = -(1 - label_smoothing) * log_probs[target] - label_smoothing * log_probs.mean()
    gradient = np.exp(log_probs) - label_smoothing / len(logits)
    gradient[target] -= 1 - label_smoothing
    return loss, gradient


reference = np.array([2.0, 1.0, 0.0, -1.0, 0.5])
loss, gradient = loss_and_gradient(reference, 0, 0.1)
assert abs(loss - 0.7244379396277962) < 1e-13
assert abs(loss - ts.cross_entropy(reference, 0, label_smoothing=0.1).item()) < 1e-13
library = ts.cross_entropy_gradient(reference, 0, label_smoothing=0.1)
assert np.abs(gradient - library).max() < 1e-15
assert (
    ts.gradcheck(
        lambda z: ts.cross_entropy(z, 0, label_smoothing=0.1), reference
    ).max_relative_error
    < 1e-6
)
record(
    "B2",
    "holds",
    f"loss {loss:.10f} and gradient from log-probabilities alone, equal to those of the "
    "written-out target",
)

# %% [markdown]
# ## Two relatives
#
# **The negative entropy.** The paper mentions, without trying it, that one could instead punish low
# entropy of the prediction, by adding $-\beta H(p)$. As $-H(p) = \mathrm{KL}(p \,\|\, u) - \log K$,
# this is the same divergence with its arguments swapped, and that is not a detail. Look at the
# force with which each closes the gap: $\mathrm{KL}(u \,\|\, p)$ pulls with nearly 1 at every large
# gap, because the wrong classes still want their share. $\mathrm{KL}(p \,\|\, u)$ asks the
# prediction itself for its opinion, and a prediction that is nearly certain hardly feels it: at a
# gap of 8 its force is 0.0267, at 12 it is 0.00074. Similar, not the same.


# %%
def force(function, gap):
    """How fast the gradient closes the gap: its entry at the right logit minus a wrong one."""
    vector = ts.Tensor(np.r_[gap, np.zeros(9)], requires_grad=True)
    function(vector).backward()
    return vector.grad[0] - vector.grad[1]


def against_uniform_loss(z):
    return ts.cross_entropy(z, 0, label_smoothing=1.0)  # epsilon 1 is H(u, p)


def negative_entropy(z):
    return ts.confidence_penalty(z, 1.0)


for gap, smoothing_force, entropy_force in (
    (2.0, 0.390, 0.550),
    (4.51086, 0.900, 0.411),
    (8.0, 0.997, 0.0267),
    (12.0, 0.99994, 0.00074),
):
    assert abs(force(against_uniform_loss, gap) - smoothing_force) < 6e-4
    assert abs(force(negative_entropy, gap) / entropy_force - 1) < 6e-3
axis_gaps = np.linspace(0.0, 12.0, 100)
forces = [
    np.array([force(function, gap) for gap in axis_gaps])
    for function in (against_uniform_loss, negative_entropy)
]
show(plots.penalty_forces(axis_gaps, *forces), "penalty_forces")
record(
    "P24",
    "holds",
    f"-H(p) = KL(p, u) - log K has the arguments swapped: at a gap of 8 it pulls with "
    f"{force(negative_entropy, 8.0):.4f}, the uniform loss with "
    f"{force(against_uniform_loss, 8.0):.3f}",
)

# %% [markdown]
# **Mixup** mixes two pictures, $\lambda$ of one and $1 - \lambda$ of the other, and mixes their
# labels likewise; $\lambda$ is drawn from a Beta distribution with a parameter $\alpha$. On average
# the larger part is $\mathbb{E}\max(\lambda, 1-\lambda)$, so the label loses as much mass as
# smoothing with $\varepsilon = 1 - \mathbb{E}\max(\lambda, 1-\lambda)$ would take to a random
# partner. For $\alpha = 0.2$ this is 0.1012, almost exactly the usual 0.1.
#
# The book says that mixup removes the problem because its labels are rarely 0 or 1. Exactly 0 or 1
# they are only where both pictures show the same class. But for $\alpha = 0.2$ four in ten of the
# weights are within 0.01 of it: they are U-shaped. It is the average target that is bounded away
# from 1, and that is what gives the loss a finite best answer.

# %%
weights = rng.beta(0.2, 0.2, size=400_000)
main = np.maximum(weights, 1 - weights)
effective = 1 - main.mean()
assert abs(effective - ts.mixup_label_smoothing(0.2)) < 4 * main.std() / math.sqrt(400_000)
assert abs(ts.mixup_label_smoothing(0.2) - 0.1012) < 1e-4
almost = (main > 0.99).mean()
assert abs(almost - 0.42) < 0.01
print(
    f"mixup, alpha 0.2: takes {effective:.4f} off the main label; {almost:.2f} of the weights "
    "above 0.99"
)
record(
    "B14",
    "holds under a condition",
    f"alpha = 0.2 takes {effective:.4f} off the main label on average where the partner has "
    f"another one, like eps = 0.1; but {100 * almost:.0f} % of the weights are within 0.01 of 1",
    condition="on average over the mixtures; with a small alpha many labels are nearly one-hot",
)

# %% [markdown]
# ## What you have learnt
#
# - $q' = (1-\varepsilon)q + \varepsilon u$; with uniform $u$ the zeros become $\varepsilon/K$.
# - It is the average of randomly redrawn labels, with the noise taken out.
# - $H(q',p)$ is the old loss plus $\varepsilon(z_y - \bar z)$: a linear charge on the mean gap.
# - Its smallest value is $H(q')$, 0.5003 for ten classes and $\varepsilon = 0.1$, and it is reached
#   at a finite gap.
# - No target array is needed, neither for the loss nor for the gradient.
#
# ## Questions
#
# 1. With $\varepsilon = 0.1$ and four classes, what does the right class get?
#
# :::{dropdown} Answer
# $0.9 + 0.1/4 = 0.925$. Each other class gets 0.025.
# :::
#
# 2. A training run with $\varepsilon = 0.1$ on ten classes reports a loss of 0.49. What do you
#    conclude?
#
# :::{dropdown} Answer
# A bug: the loss cannot be below $H(q') = 0.5003$. Chapter 13 shows one that does this.
# :::
#
# 3. Does smoothing change the curvature of the loss at given logits?
#
# :::{dropdown} Answer
# No. The charge $\varepsilon(z_y - \bar z)$ is linear, so the second derivatives are those of the
# plain loss.
# :::
#
# 4. What is $\varepsilon = 1$?
#
# :::{dropdown} Answer
# The target is uniform for every example. The label plays no part, and the best prediction says
# nothing.
# :::
#
# ## Exercises
#
# Fill in `chapters/exercises/11.py` and run `tinysmooth chapters check 11`.
#
# 1. `smooth_row`: the smoothed target of one example.
# 2. `smoothed_loss`: the loss, with no target built.
# 3. `smoothed_gradient`: its gradient.
# 4. `redraw_labels`: the paper's story about labels.
#
# ## Sources
#
# - C. Szegedy and others, *Rethinking the Inception Architecture for Computer Vision*, 2016, arXiv
#   1512.00567, section 7.
# - J. Howard, S. Gugger, *Deep Learning for Coders with fastai and PyTorch*, 2020, chapter 7.
# - G. Pereyra and others, *Regularizing Neural Networks by Penalizing Confident Output
#   Distributions*, 2017, arXiv 1701.06548: the entropy penalty, tried.
# - L. Carratino and others, *On Mixup Regularization*, 2022, arXiv 2006.06049: what mixup does to
#   labels.
