# %% [markdown]
# # 07 The maximum nobody reaches
#
# **Can a softmax ever give the right class a probability of exactly 1?**
#
# This is where the paper's argument for label smoothing begins: with one-hot targets there is a
# best possible prediction, and it lies infinitely far away. You will prove that, find out how far
# "nearly there" is, and then meet the one place where the statement is false: your computer.
#
# You need softmax (chapter 01), cross-entropy (chapter 02) and its gradient (chapter 03).
# Runs in about two seconds.

# %%
import math

import numpy as np

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import record, show

# %% [markdown]
# ## What is being maximised
#
# There are $K$ classes. The network gives a vector of scores, the *logits* $z = (z_1, \dots, z_K)$;
# the softmax makes probabilities of them, $p_k = e^{z_k} / \sum_j e^{z_j}$. One class, $y$, is
# right. With a one-hot target the loss is $L = -\log p_y$, in nats, so making the loss small is
# making the *log-likelihood* $\log p_y$ large.
#
# Here is the loss written as naively as possible, and the library's, on random logits.

# %%
rng = np.random.default_rng(7)


def naive_loss(logits, target):
    """-log of the right probability, with the formula as it stands."""
    probs = np.exp(logits) / np.exp(logits).sum()
    return -np.log(probs[target])


logits = rng.normal(0.0, 2.0, size=(200, 10))
targets = rng.integers(0, 10, size=200)
by_hand = np.array([naive_loss(z, y) for z, y in zip(logits, targets, strict=True)])
library = ts.cross_entropy(logits, targets, reduction="none").data
assert np.abs(by_hand - library).max() < 1e-12
print(f"200 losses, largest difference from the library: {np.abs(by_hand - library).max():.1e}")

# %% [markdown]
# ## Reading the sentence carefully
#
# The paper says that the log-likelihood is largest when a certain distribution is the point mass on
# $y$: the vector with a 1 at $y$ and 0 elsewhere. Two small slips make it harder to read than it
# is. The formula names $q$, the *target*; but the target already is the point mass, so the
# sentence only says something if you read $p$, the *prediction*. And the point mass on a finite set
# of classes is Kronecker's delta, not Dirac's. Real papers contain slips. Being able to say "this
# letter must be a $p$" is a good sign that you have understood the sentence.
#
# Read with $p$, it is true: among all probability vectors, none gives a larger
# $\log p_y$ than the point mass, whose value is $\log 1 = 0$.
#
# The book that quotes the paper explains "this maximum" as the label's value, 1. The picture is
# right and the letter is not: the maximum is the largest *log-likelihood*, and it is 0. It is
# attained where $p_y = 1$.

# %%
some_probs = rng.dirichlet(np.ones(10), size=100_000)
point_mass = np.eye(10)[0]
assert np.log(some_probs[:, 0]).max() < np.log(point_mass[0]) == 0.0
best = np.log(some_probs[:, 0]).max()
record(
    "P9",
    "holds under a condition",
    f"the best of 100000 random predictions has log-likelihood {best:.3f}, the point mass 0",
    condition="the paper's formula names the target q where the prediction p is meant, and calls "
    "Kronecker's delta Dirac's",
)
record(
    "B3",
    "fails as stated",
    f"the largest log-likelihood is {np.log(point_mass[0]):g}; 1 is the probability at which it "
    "is attained",
)

# %% [markdown]
# ## Only gaps matter
#
# Divide numerator and denominator of $p_y$ by $e^{z_y}$:
#
# $$p_y = \frac{1}{1 + \sum_{k \neq y} e^{-(z_y - z_k)}}.$$
#
# Everything hangs on the *gaps* $g_k = z_y - z_k$, how far the right logit stands above each of the
# others. The size of $z_y$ alone says nothing: add a thousand to every logit and no gap moves. So
# when you read "the right activation must be very large", put "compared with the others" behind
# it.

# %%
gaps = logits[np.arange(200), targets][:, None] - logits
others = np.arange(10)[None, :] != targets[:, None]
from_gaps = 1.0 / (1.0 + np.where(others, np.exp(-gaps), 0.0).sum(axis=1))
softmax = ts.softmax(logits).data[np.arange(200), targets]
assert np.abs(from_gaps - softmax).max() < 1e-14

huge_but_close = ts.softmax(np.array([1000.0, 999.0, 999.0])).data[0]
small_but_clear = ts.softmax(np.array([5.0, 0.0, 0.0])).data[0]
assert huge_but_close < 0.58 and small_but_clear > 0.98
print(f"logits (1000, 999, 999): p = {huge_but_close:.4f}")
print(f"logits (   5,   0,   0): p = {small_but_clear:.4f}")
record(
    "B5",
    "holds",
    f"a logit of 1000 with gaps of 1 gives p = {huge_but_close:.3f}, a logit of 5 with gaps of 5 "
    f"gives {small_but_clear:.3f}: it is the gap that counts",
)

# %% [markdown]
# ## Why 1 is out of reach
#
# An exponential of a finite number is positive. The sum in the denominator therefore is positive,
# the denominator is larger than 1, and $p_y$ is smaller than 1. That is the whole proof. It leaves
# the loss, $L = \log\bigl(1 + \sum_{k\neq y} e^{-g_k}\bigr)$, above 0 for all finite logits.
#
# How close can you get? Let $g$ be the smallest gap. Keeping only that term makes the sum smaller,
# replacing every gap by $g$ makes it larger, so
#
# $$\log(1 + e^{-g}) \;\le\; L \;\le\; \log\bigl(1 + (K-1)\,e^{-g}\bigr).$$
#
# Both ends go to 0 as $g$ grows: "approached, if the right logit is far above every other" has
# become a pair of inequalities. Draw twenty thousand logit vectors and see whether one escapes.

# %%
scale = rng.uniform(0.1, 8.0, size=(20_000, 1))
many = rng.normal(size=(20_000, 10)) * scale
many[:, 0] = many[:, 1:].max(axis=1) + rng.uniform(-2.0, 20.0, size=20_000)
smallest = many[:, 0] - many[:, 1:].max(axis=1)
losses = ts.cross_entropy(many, np.zeros(20_000, int), reduction="none").data


def bounds(gap, num_classes):
    """Return the least and the greatest loss that a smallest gap allows."""
    return np.log1p(np.exp(-gap)), np.log1p((num_classes - 1) * np.exp(-gap))


lower, upper = bounds(smallest, 10)
assert (losses > 0).all()
assert (losses >= lower * (1 - 1e-12)).all() and (losses <= upper * (1 + 1e-12)).all()

grid = np.linspace(-2.0, 20.0, 100)
shown = slice(0, 2000)
show(
    plots.loss_between_bounds(smallest[shown], losses[shown], grid, *bounds(grid, 10)),
    "loss_between_bounds",
)
record(
    "P11",
    "holds",
    f"20000 random logit vectors, K = 10: log(1+e^-g) <= loss <= log(1+9e^-g) in every one; at "
    f"g = 20 the loss is at most {bounds(20.0, 10)[1]:.1e}",
)

# %% [markdown]
# ## How far is "nearly"
#
# Let all wrong logits be equal, so that there is one gap $G$. Solve $p_y = 1/(1 + (K-1) e^{-G})$
# for it:
#
# $$G = \log\frac{(K-1)\,p_y}{1 - p_y}.$$
#
# | $p_y$ | $K=2$ | $K=10$ | $K=1000$ |
# |---|---|---|---|
# | 0.5 | 0 | 2.197225 | 6.906755 |
# | 0.9 | 2.197225 | 4.394449 | 9.103979 |
# | 0.99 | 4.595120 | 6.792344 | 11.501875 |
# | 0.999 | 6.906755 | 9.103979 | 13.813510 |
# | 0.9999 | 9.210240 | 11.407465 | 16.116995 |
#
# Going from one nine to the next divides $1 - p_y$ by ten and so adds $\log 10 \approx 2.303$ to
# the gap (a little more at the beginning). There is always a next nine.

# %%
printed = {
    0.5: (0.0, 2.197225, 6.906755),
    0.9: (2.197225, 4.394449, 9.103979),
    0.99: (4.595120, 6.792344, 11.501875),
    0.999: (6.906755, 9.103979, 13.813510),
    0.9999: (9.210240, 11.407465, 16.116995),
}


def gap_for(prob, num_classes):
    """Return the gap of equal wrong logits that gives the right class ``prob``."""
    return math.log((num_classes - 1) * prob / (1.0 - prob))


for prob, row in printed.items():
    for num_classes, value in zip((2, 10, 1000), row, strict=True):
        assert abs(gap_for(prob, num_classes) - value) < 1e-6
        # Independent of the formula: put the gap into a logit vector, ask the library's softmax.
        vector = np.zeros(num_classes)
        vector[0] = gap_for(prob, num_classes)
        assert abs(ts.softmax(vector).data[0] - prob) < 1e-12

nines = np.arange(1, 7)
needed = {k: [gap_for(1.0 - 10.0**-n, k) for n in nines] for k in (2, 10, 1000)}
assert all(abs(np.diff(row)[-1] - math.log(10.0)) < 1e-4 for row in needed.values())
show(plots.gap_for_nines(nines, needed), "gap_for_nines")

# %% [markdown]
# ## The pull never ends
#
# From chapter 03 you know the gradient, $\partial L/\partial z_k = p_k - q_k$. At the right class
# of a one-hot target it is $p_y - 1$: negative at every finite $z$, so raising $z_y$ always lowers
# the loss, and no finite point is a minimum. Check it where the network is already *very* sure,
# against a slope measured with a finite difference.

# %%
sure = np.zeros(10)
sure[0] = 12.0
slope = ts.cross_entropy_gradient(sure, 0)[0]
step = np.zeros(10)
step[0] = 1e-3
measured = (
    ts.cross_entropy(sure + step, 0).item() - ts.cross_entropy(sure - step, 0).item()
) / 2e-3
assert slope < 0 and abs(slope / measured - 1.0) < 1e-6
prob = ts.softmax(sure).data[0]
assert abs(slope - (prob - 1.0)) < 1e-15
print(f"p = {prob:.6f}, slope along z_y: formula {slope:.6e}, measured {measured:.6e}")

# %% [markdown]
# ## The place where 1 *is* reached
#
# So far the logits were real numbers. A `float32` has 24 binary digits. Between 1 and the next
# smaller float32 there is nothing, and the next *larger* one is $1 + 2^{-23}$. With two classes and
# a gap $G$, softmax computes $1/(1 + e^{-G})$. When $e^{-G}$ falls to $2^{-24}$, half the distance
# to the next float, the sum $1 + e^{-G}$ is rounded to 1 exactly, and then $p_y$ *is* 1. That
# happens at
#
# $$G = 24 \log 2 \approx 16.6355 \text{ (float32)}, \qquad G = 53 \log 2 \approx 36.7368
# \text{ (float64)}.$$
#
# Find both by bisection, without using the formula.


# %%
def plain_loss(gap, dtype):
    """Two logits, the right one ``gap`` higher: shift, exponentials, sum, logarithm, in dtype."""
    shifted = np.array([0.0, -gap], dtype=dtype)
    return np.log(np.exp(shifted).sum(dtype=dtype))


def first_zero(dtype):
    """Find the smallest gap at which `plain_loss` is exactly 0."""
    low, high = 1.0, 100.0
    while high - low > 1e-4:
        middle = (low + high) / 2.0
        low, high = (low, middle) if plain_loss(middle, dtype) == 0 else (middle, high)
    return high


threshold32, threshold64 = first_zero(np.float32), first_zero(np.float64)
print(f"float32: {threshold32:.4f} (24 log 2 = {24 * math.log(2):.4f})")
print(f"float64: {threshold64:.4f} (53 log 2 = {53 * math.log(2):.4f})")
assert abs(threshold32 - 24 * math.log(2)) < 1e-3
assert abs(threshold64 - 53 * math.log(2)) < 1e-3

one = np.float32(1.0)
assert one / (one + np.exp(np.float32(-16.64))) == 1.0  # a sigmoid: the same sum
assert one / (one + np.exp(np.float32(-16.0))) < 1.0
record(
    "P10",
    "holds under a condition",
    f"p_y < 1 for all finite real logits; in float32 the plain softmax is exactly 1 from a gap of "
    f"{threshold32:.2f} on, in float64 from {threshold64:.2f} (K = 2)",
    condition="real numbers; rounded arithmetic does reach 1",
)
record(
    "B4",
    "holds under a condition",
    "sigmoid(16.64) == 1 in float32; in exact arithmetic it is 1 - 5.9e-08",
    condition="real numbers; in float32 a finite activation of 16.64 is enough",
)
assert abs(1.0 / (1.0 + math.exp(-16.64)) - (1 - 5.9e-8)) < 1e-9

# %% [markdown]
# It is not only the probability. Where the plain formula gives a loss of exactly 0, the gradient's
# entry at the right class, $p_y - 1$, is exactly 0 as well: **the right logit stops by rounding**,
# not because anything was learnt. The wrong logits still feel their $p_k = e^{-G}$, so the entries
# of the gradient do not even add up to 0 any more.
#
# :::{admonition} Keeping the tail
# :class: tip
# Nothing forces that loss of accuracy. The 1 in $1 + \sum e^{-g_k}$ is the winner's own $e^0$, and
# it is what drowns the rest. Leave it out of the sum and hand the rest to `log1p`, which computes
# $\log(1 + x)$ accurately for small $x$: the loss keeps all its digits however confident the
# prediction. For the gradient, $p_y - 1$ is minus the sum of the other probabilities, so add those
# up instead of subtracting from 1. The library does both: at a gap of 17 in float32 its loss is
# 4.1399e-8 and its gradient at the right logit minus the same, where the plain form returns 0 for
# both.
# :::

# %%
pair = np.array([17.0, 0.0], dtype=np.float32)
kept = ts.cross_entropy(pair, 0).item()
kept_slope = ts.cross_entropy_gradient(pair, 0)[0]
assert plain_loss(17.0, np.float32) == 0.0
assert abs(kept - 4.1399e-8) < 5e-13 and abs(kept / math.log1p(math.exp(-17.0)) - 1.0) < 1e-6
assert abs(kept_slope / -math.exp(-17.0) - 1.0) < 1e-6
plain_probs = np.exp(np.array([0.0, -17.0], np.float32))
plain_probs /= plain_probs.sum()
assert plain_probs[0] - 1 == 0 and plain_probs[1] > 4e-8  # the row adds up to 4e-8, not to 0
assert abs(ts.cross_entropy_gradient(pair, 0).sum()) < 1e-14
print(f"gap 17, float32: plain 0, library loss {kept:.4e}, library slope {kept_slope:.4e}")

sweep = np.linspace(1.0, 45.0, 881)
pairs = np.stack([sweep, np.zeros_like(sweep)], axis=1)
zeros = np.zeros(len(sweep), int)
truth = np.log1p(np.exp(-sweep))
library = ts.cross_entropy(pairs, zeros, reduction="none").data
library_slopes = -ts.cross_entropy_gradient(pairs, zeros, reduction="none")[:, 0]
assert np.abs(library / truth - 1.0).max() < 1e-14
assert np.abs(library_slopes * (1.0 + np.exp(sweep)) - 1.0).max() < 1e-14
formats = {"float32, plain formula": np.float32, "float64, plain formula": np.float64}
plain = {name: [plain_loss(g, kind) for g in sweep] for name, kind in formats.items()}
shares = {
    name: [
        (1 - 1 / np.exp(np.array([0, -g], kind)).sum(dtype=kind)) * (1 + math.exp(g)) for g in sweep
    ]
    for name, kind in formats.items()
}
assert np.array(plain["float32, plain formula"])[sweep > threshold32].max() == 0.0
assert np.array(shares["float64, plain formula"])[sweep > threshold64].max() == 0.0
show(plots.rounded_away(sweep, library, plain, shares), "rounded_away")

# %% [markdown]
# Before the plain formula reaches 0 it loses one digit after the other, which is what the saw-tooth
# on the right shows: at a gap of 20 the float64 form has some eight correct digits left, at 30
# about three, at 36 one.

# %%
for gap, digits in ((20.0, 7.5), (30.0, 3.0), (36.0, 1.4)):
    error = abs(plain_loss(gap, np.float64) / math.log1p(math.exp(-gap)) - 1.0)
    print(f"gap {gap:g}: relative error of the plain float64 loss {error:.1e}")
    assert abs(-math.log10(error) - digits) < 0.7

# %% [markdown]
# ## What you have learnt
#
# - A softmax sees only gaps between logits, and with finite gaps $p_y < 1$: the one-hot loss has
#   0 as its infimum and never takes the value.
# - The smallest gap pins the loss between $\log(1+e^{-g})$ and $\log(1+(K-1)e^{-g})$.
# - Each further nine of probability costs another 2.3 of gap, and the gradient keeps pulling.
# - In float32 the unreachable *is* reached, at a gap of 16.64, and there the right logit stops by
#   accident. A loss written with `log1p` does not.
#
# ## Questions
#
# 1. You add 50 to every logit. What happens to the loss?
#
# :::{dropdown} Answer
# Nothing. All gaps stay as they are, and the loss depends on the gaps alone.
# :::
#
# 2. With 1000 classes, which gap gives the right class a probability of one half?
#
# :::{dropdown} Answer
# $\log 999 \approx 6.9$: the right class must outweigh 999 others together.
# :::
#
# 3. A training log in float32 shows a loss of exactly 0. Has the optimum been reached?
#
# :::{dropdown} Answer
# No: there is none at finite logits. The loss was rounded to 0, and with a plain implementation so
# was the pull on the right logit.
# :::
#
# 4. Why does the paper's sentence need a $p$ where it has a $q$?
#
# :::{dropdown} Answer
# $q$ is the target, which is one-hot by assumption. What can be varied, and what is best when it
# equals the point mass, is the prediction $p$.
# :::
#
# ## Exercises
#
# Fill in `chapters/exercises/07.py` and run `tinysmooth chapters check 7`.
#
# 1. `gap_for_probability`: how far above the others must a logit stand?
# 2. `confident_loss`: a one-hot loss that keeps its digits at any gap.
# 3. `first_rounded_gap`: at which gap does a number format give up?
#
# ## Sources
#
# - C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, *Rethinking the Inception Architecture
#   for Computer Vision*, 2016, arXiv 1512.00567, section 7.
# - J. Howard, S. Gugger, *Deep Learning for Coders with fastai and PyTorch*, 2020, chapter 7.
# - P. Blanchard, D. J. Higham, N. J. Higham, *Accurately computing the log-sum-exp and softmax
#   functions*, IMA Journal of Numerical Analysis 41, 2021: rounding errors of both.
