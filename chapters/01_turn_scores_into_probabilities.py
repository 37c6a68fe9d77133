# %% [markdown]
# # 01 From scores to probabilities
#
# **How does a network's list of arbitrary scores become probabilities, and how does a computer do
# it without tripping over the exponential?**
#
# *You need:* Python, a little NumPy, and from school the exponential function and the natural
# logarithm. *Running time:* about two seconds.
#
# This is where the argument of the book begins. Everything that is later said about
# over-confidence, gradients and smoothed labels is said about the numbers that you meet here.

# %%
import numpy as np

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import record, show

rng = np.random.default_rng(1)

# %% [markdown]
# ## Scores
#
# A classifier that knows $K$ classes ends with $K$ numbers, one for each class, and nothing holds
# them in check: they may be negative, or large, and they add up to nothing in particular. They
# are called **logits**, and we write them $z_1, \dots, z_K$. Here are five, the scores of one
# picture:

# %%
logits = np.array([2.0, 1.0, 0.0, -1.0, 0.5])

# %% [markdown]
# We want probabilities $p_1, \dots, p_K$ instead: none negative, adding up to 1, and a higher
# score must mean a higher probability. Two steps do it. The exponential $e^{z}$ is positive
# whatever $z$ is, and it keeps the order. Dividing by the sum makes the total 1:
#
# $$p_k = \frac{e^{z_k}}{e^{z_1} + \dots + e^{z_K}}.$$
#
# This is the **softmax**. In NumPy it is one line for one picture; with `axis=-1` the same line
# serves a whole batch, one picture a row.


# %%
def naive_softmax(logits):
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


probs = naive_softmax(logits)
print(probs.round(4))

# Worked out with a pocket calculator from e^2, e^1, e^0, e^-1 and e^0.5:
total = 7.389056 + 2.718282 + 1.0 + 0.367879 + 1.648721
assert np.allclose(
    probs, np.array([7.389056, 2.718282, 1.0, 0.367879, 1.648721]) / total, atol=1e-6
)
assert np.isclose(probs.sum(), 1.0, atol=1e-15)
assert (np.argsort(probs) == np.argsort(logits)).all()

# %%
show(plots.softmax_steps(logits, np.exp(logits), probs), "softmax_steps")

# %% [markdown]
# ## What a logit means
#
# Why the exponential, when squaring also makes numbers positive? Because of what it does to
# *differences*. Divide two probabilities: the sum cancels, and
#
# $$\frac{p_k}{p_j} = e^{z_k - z_j}, \qquad \log p_k - \log p_j = z_k - z_j.$$
#
# A difference of two logits is a log-ratio of probabilities. If one score is ahead by 1, its
# class is $e \approx 2.718$ times as likely, wherever the two scores are. That makes a logit a
# *log-probability up to a constant*: all $z_k$ equal $\log p_k$ plus one and the same number.

# %%
batch = rng.normal(0.0, 3.0, (50, 10))  # fifty pictures, ten classes
logs = np.log(naive_softmax(batch))
log_ratios = logs[:, :, None] - logs[:, None, :]
differences = batch[:, :, None] - batch[:, None, :]
ratio_error = np.abs(log_ratios - differences).max()
constant = logits - np.log(probs)
assert ratio_error < 1e-13
assert np.ptp(constant) < 1e-14
assert np.isclose(probs[0] / probs[1], np.e, rtol=1e-14)
print(f"logits minus log-probabilities: {constant[0]:.6f} for every class")

# %% [markdown]
# That constant is not determined by the probabilities. Add any number $c$ to all the logits:
# every exponential is multiplied by $e^c$, so is their sum, and the fraction stays as it was.
# Softmax is **shift invariant**. A single logit therefore means nothing; only *gaps* between
# logits do.

# %%
for shift in (-3.0, 0.1, 100.0):
    assert np.allclose(naive_softmax(logits + shift), probs, rtol=1e-13)

record(
    claim="P2",
    verdict="holds",
    measured=f"log p_k - log p_j equals z_k - z_j within {ratio_error:.1e}, "
    "and a common shift of the logits changes no probability",
)

# %% [markdown]
# Multiplying is another matter. If all logits are multiplied by a factor $c$, all gaps grow by
# that factor: the winner's probability moves towards 1, the others' towards 0. With $c$ near 0
# the probabilities become uniform, $1/K$ each. ($1/c$ is called the *temperature*: hot is
# undecided, cold is certain.) What never changes is the order, so the *decision* of the
# classifier is the same at every temperature. Remember this figure: one network can be made as
# confident as you like without changing one of its answers.

# %%
scales = np.geomspace(0.03, 30.0, 200)
by_scale = naive_softmax(scales[:, None] * logits)
assert (by_scale.argmax(axis=1) == 0).all()
assert np.allclose(naive_softmax(1e-9 * logits), 1 / 5, atol=1e-8)
assert naive_softmax(30.0 * logits)[0] > 1 - 1e-12
show(plots.temperature_curves(scales, by_scale, logits), "temperature")

# %% [markdown]
# ## Two classes: the sigmoid
#
# With two classes one probability says all, for the other is what is left of 1. Divide numerator
# and denominator of $p_1$ by $e^{z_1}$:
#
# $$p_1 = \frac{e^{z_1}}{e^{z_1} + e^{z_2}} = \frac{1}{1 + e^{-(z_1 - z_2)}} = \sigma(z_1 - z_2),
# \qquad \sigma(x) = \frac{1}{1 + e^{-x}}.$$
#
# $\sigma$ is the **sigmoid**. So the sigmoid is not another invention for two classes but the
# softmax of two scores, and it too sees the gap only. Two facts follow at once and come in handy
# later: $\sigma(x) + \sigma(-x) = 1$ (swap the classes), and $p_1 - p_2 = \tanh((z_1 - z_2)/2)$.


# %%
def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


pairs = rng.normal(0.0, 2.0, (12, 2))
gap = pairs[:, 0] - pairs[:, 1]
two = naive_softmax(pairs)
assert np.abs(two[:, 0] - sigmoid(gap)).max() < 1e-15
assert np.abs(sigmoid(gap) + sigmoid(-gap) - 1.0).max() < 1e-15
assert np.abs(two[:, 0] - two[:, 1] - np.tanh(gap / 2)).max() < 1e-15
assert np.abs(ts.sigmoid(gap).data - sigmoid(gap)).max() < 1e-15

line = np.linspace(-7.0, 7.0, 200)
show(plots.sigmoid_curve(line, sigmoid(line), gap, two[:, 0]), "sigmoid")

# %% [markdown]
# ## The formula breaks
#
# On paper we are done. A computer stores a number in 32 or 64 bits (`float32`, `float64`), and
# the largest `float32` is about $3.4 \cdot 10^{38}$. The exponential gets there quickly. Let us
# search for the last `float32` whose exponential is still finite, by halving an interval until
# its ends are neighbours.


# %%
def last_finite_exp(dtype):
    low, high = dtype(0.0), dtype(1000.0)
    with np.errstate(over="ignore"):
        while np.nextafter(low, high) < high:
            middle = low + (high - low) / dtype(2)
            low, high = (middle, high) if np.isfinite(np.exp(middle)) else (low, middle)
    return low


overflow = {dtype: float(last_finite_exp(dtype)) for dtype in (np.float32, np.float64)}
print(f"exp overflows above {overflow[np.float32]:.5f} in float32, ", end="")
print(f"above {overflow[np.float64]:.6f} in float64")
assert abs(overflow[np.float32] - 88.72283) < 1e-5
assert abs(overflow[np.float64] - 709.782712893384) < 1e-9
assert abs(overflow[np.float32] - np.log(float(np.finfo(np.float32).max))) < 1e-5

# %% [markdown]
# So at a logit of 89, the naive softmax computes $\infty/\infty$, which is NaN, "not a number".
# At the other end, three logits of $-200$ all have the exponential 0 in `float32`, and $0/0$ is
# NaN as well. Neither is far-fetched: nothing holds logits in check.

# %%
high = np.array([100.0, 99.0, 98.0], np.float32)
low = np.full(3, -200.0, np.float32)
with np.errstate(over="ignore", invalid="ignore"):
    assert np.isnan(naive_softmax(high)).all()
    assert np.isnan(naive_softmax(low)).all()

# %% [markdown]
# ## The repair is a shift
#
# Softmax does not notice a common shift, so we may choose one that suits the computer: subtract
# the largest logit, $m = \max_k z_k$. Now every exponent is 0 or negative and no exponential
# overflows; one of them is exactly $e^0 = 1$, so the sum lies between 1 and $K$ and is never 0.
# On paper, nothing has changed. That is all there is to a "numerically stable softmax".


# %%
def stable_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


assert np.allclose(stable_softmax(high), stable_softmax(high - 100), rtol=1e-6)
assert np.allclose(stable_softmax(low), 1 / 3, rtol=1e-6)

# %% [markdown]
# The library's `ts.softmax` is the same function, for any axis and with a gradient:

# %%
assert np.abs(ts.softmax(batch).data - stable_softmax(batch)).max() < 1e-15
assert np.abs(ts.softmax(batch.T, axis=0).data.T - stable_softmax(batch)).max() < 1e-15

# %% [markdown]
# ## Log-sum-exp, a maximum without a corner
#
# The denominator deserves a name of its own. Its logarithm
#
# $$\operatorname{LSE}(z) = \log\left(e^{z_1} + \dots + e^{z_K}\right)$$
#
# is the constant that we met above: $\log p_k = z_k - \operatorname{LSE}(z)$. It is a rounded-off
# maximum. The sum has $K$ terms, of which the largest is $e^m$: it is at least $e^m$ and at most
# $K e^m$. Take logarithms:
#
# $$m \;\le\; \operatorname{LSE}(z) \;\le\; m + \log K.$$
#
# It is computed with the same shift, $\operatorname{LSE}(z) = m + \log \sum_k e^{z_k - m}$.


# %%
def stable_logsumexp(logits):
    largest = logits.max(axis=-1)
    return largest + np.log(np.exp(logits - largest[..., None]).sum(axis=-1))


assert np.isclose(stable_logsumexp(logits), constant[0], rtol=1e-15)
assert np.abs(ts.logsumexp(batch).data - stable_logsumexp(batch)).max() < 1e-14
spread = stable_logsumexp(batch) - batch.max(axis=1)
assert (spread >= 0).all() and (spread <= np.log(10)).all()

with np.errstate(divide="ignore"):
    naive = np.log(np.exp(low).sum())
print(f"log-sum-exp of three times -200: naive {naive}, stable {stable_logsumexp(low):.4f}")
assert naive == -np.inf
assert abs(stable_logsumexp(low) - (-198.9014)) < 1e-4
assert abs(ts.logsumexp(low).item() - (-200 + np.log(3.0))) < 2e-5

# %%
x = np.linspace(-5.0, 5.0, 201)
hard = np.maximum(x, 0.0)
smooth = stable_logsumexp(np.stack([x, np.zeros_like(x)], axis=-1))
assert (hard <= smooth).all() and (smooth <= hard + np.log(2)).all()
show(plots.smooth_maximum(x, hard, smooth, hard + np.log(2)), "smooth_maximum")

# %% [markdown]
# One more property, which chapter 03 builds on. If you push the logit $z_k$ up a little, how fast
# does $\operatorname{LSE}$ grow? Differentiating gives $e^{z_k} / \sum_j e^{z_j}$: the slopes of
# log-sum-exp *are* the softmax. A maximum would follow its largest entry at slope 1 and ignore
# the others; the rounded-off maximum listens to each in proportion to its probability. Check it
# by pushing:

# %%
step = 1e-5
for k in range(5):
    push = step * np.eye(5)[k]
    slope = (stable_logsumexp(logits + push) - stable_logsumexp(logits - push)) / (2 * step)
    assert abs(slope - probs[k]) < 1e-9

# %% [markdown]
# ## Three formulas, one on paper
#
# If $\log p_k = z_k - \operatorname{LSE}(z)$, then $p_k = e^{z_k - \operatorname{LSE}(z)}$,
# without any division. Is that as good? Let us take 200 rows of ten random logits in `float32`,
# add a growing shift to all of them, and compare with a computation in `float64`, which carries
# nine digits more.


# %%
def divisionless_softmax(logits):
    return np.exp(logits - stable_logsumexp(logits)[..., None])


formulas = {
    "naive": naive_softmax,
    "exp(z - LSE)": divisionless_softmax,
    "shift, then divide": stable_softmax,
}
shifts = np.array([1.0, 3.0, 10.0, 30.0, 80.0, 100.0, 300.0, 1e3, 3e3, 1e4])
rows = rng.standard_normal((200, 10))
errors = {name: [] for name in formulas}
for shift in shifts:
    shifted = (rows + shift).astype(np.float32)
    exact = stable_softmax(shifted.astype(np.float64))
    for name, formula in formulas.items():
        with np.errstate(over="ignore", invalid="ignore"):
            errors[name].append(np.abs(formula(shifted) / exact - 1).max())
errors = {name: np.array(values) for name, values in errors.items()}
unit = np.finfo(np.float32).eps / 2
show(plots.softmax_errors(shifts, errors, overflow[np.float32], unit), "softmax_errors")

# %% [markdown]
# The naive formula is exact enough until it is useless. The division-free one degrades with the
# shift: $\operatorname{LSE}(z)$ is about as large as the shift, it is rounded to 24 binary
# digits, and the exponential turns that absolute error into a relative one. Shifting first and
# dividing last keeps the error at a few roundings, whatever the shift (Blanchard, Higham and
# Higham prove such bounds).

# %%
assert np.isnan(errors["naive"][shifts > 88]).all()
assert (errors["naive"][shifts < 88] < 1e-6).all()
assert (errors["shift, then divide"] < 1e-6).all()
assert errors["exp(z - LSE)"][-1] > 1e-4
shifted = (rows + 1e4).astype(np.float32)
library = np.abs(ts.softmax(shifted).data / stable_softmax(shifted.astype(np.float64)) - 1).max()
print(f"at a shift of 10,000: {errors['exp(z - LSE)'][-1]:.1e} without division,", end=" ")
print(f"{errors['shift, then divide'][-1]:.1e} with it, {library:.1e} in the library")
assert library < 1e-6

# %% [markdown]
# ## Logarithms of probabilities
#
# The loss of the next chapter needs $\log p_k$. Taking the logarithm of a finished softmax is a
# trap: a class that trails by 104 has a probability too small for `float32`, it is stored as 0,
# and the logarithm is $-\infty$. The true value is $-104$, nothing special. `ts.log_softmax`
# never forms the probability: it computes $(z_k - m) - \log \sum_j e^{z_j - m}$, in this order.

# %%
trailing = np.array([0.0, -104.0], np.float32)
with np.errstate(divide="ignore"):
    through_probabilities = np.log(stable_softmax(trailing))
print("log of softmax:", through_probabilities, "  log-softmax:", ts.log_softmax(trailing).data)
assert through_probabilities[1] == -np.inf
assert ts.log_softmax(trailing).data[1] == -104.0

# %% [markdown]
# At the winner's end there is a subtler loss. With a gap of 20 the winner's log-probability is
# $-\log(1 + e^{-20}) \approx -2 \cdot 10^{-9}$. In `float32`, $1 + e^{-20}$ *is* 1, and the plain
# formula answers 0. The library leaves the winner's 1 out of the sum and uses `log1p`, the
# function $\log(1 + x)$ that keeps its digits for small $x$. Pedantry? In chapter 07 it
# decides whether learning stops.

# %%
ahead = np.array([0.0, -20.0], np.float32)
plain = (ahead - ahead.max()) - np.log(np.exp(ahead - ahead.max()).sum())
careful = ts.log_softmax(ahead).data
truth = -np.log1p(np.exp(-20.0))
print(f"plain {plain[0]}, library {careful[0]:.6e}, exact {truth:.6e}")
assert plain[0] == 0.0
assert abs(careful[0] / truth - 1) < 1e-6

# %% [markdown]
# ## What you have learnt
#
# - Softmax makes probabilities of scores: exponentials, divided by their sum.
# - Only gaps between logits matter. A gap is a log-ratio of two probabilities; a common shift is
#   invisible; a common factor changes the certainty and never the decision.
# - The sigmoid is the softmax of two scores.
# - Log-sum-exp is a smooth maximum, between $m$ and $m + \log K$, and its slopes are the softmax.
# - One formula on paper is several in floating point. Subtract the largest logit first, divide
#   last, and never take the logarithm of a finished softmax.
#
# ## Questions
#
# 1. The logits of three classes are $5, 5, 5$. What are the probabilities, and what are they for
#    $-5, -5, -5$?
#
# :::{dropdown} Answer
# One third each, both times: only the gaps count, and they are 0.
# :::
#
# 2. A classifier gives class A a probability of 0.6 and class B 0.3. How far apart are their
#    logits?
#
# :::{dropdown} Answer
# log(0.6 / 0.3) = log 2 = 0.693. The other classes do not matter for this gap.
# :::
#
# 3. Somebody multiplies the last layer's weights and biases by 10. What happens to the accuracy?
#
# :::{dropdown} Answer
# Nothing. All logits are multiplied by 10, which keeps their order. The probabilities become more
# extreme.
# :::
#
# 4. Why is there no division by zero in the stable softmax?
#
# :::{dropdown} Answer
# The largest logit contributes exp(0) = 1 to the sum, so the sum is at least 1.
# :::
#
# 5. Can a softmax of finite logits contain an exact 0?
#
# :::{dropdown} Answer
# Not on paper: exponentials are positive. In floating point it can: exp(-104) is 0 in float32.
# :::
#
# ## Exercises
#
# Write these in `chapters/exercises/01.py`, then run `tinysmooth chapters check 1`.
#
# 1. `softmax(logits, axis)`: a softmax that survives large logits, along any axis.
# 2. `recover_logits(probs)`: the way back, as far as there is one.
# 3. `tempered_softmax(logits, temperature)`: softmax at a temperature, the temperatures 0 and
#    infinity included.
#
# ## Sources
#
# - C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, *Rethinking the Inception
#   Architecture for Computer Vision*, CVPR 2016, arXiv 1512.00567, section 7: logits and softmax
#   as used here.
# - P. Blanchard, D. J. Higham, N. J. Higham, *Accurately computing the log-sum-exp and softmax
#   functions*, IMA Journal of Numerical Analysis 41(4), 2021: error bounds of the formulas
#   compared above.
