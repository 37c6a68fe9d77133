# %% [markdown]
# # 02 Cross-entropy is expected surprise
#
# **Why does a classifier learn from minus the logarithm of a probability, and what is that number
# on average?**
#
# You need softmax and log-sum-exp (chapter 01). Runs in about three seconds.

# %%
import numpy as np

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import record, show

# %% [markdown]
# ## Surprise
#
# Somebody gives a probability $p$ to an event, and it happens. How wrong were they? If $p = 1$,
# not at all. The smaller $p$, the more the event contradicts them. And if two independent events
# happen, whose probabilities multiply, the two surprises should simply add up. Minus the
# logarithm does all of this, and up to the choice of a unit nothing else does:
#
# $$\text{surprise} = -\log p, \qquad -\log(p_1 p_2) = -\log p_1 - \log p_2.$$
#
# With the natural logarithm the unit is the **nat**. (With the logarithm to base 2 it would be
# the bit, and one nat is $1 / \log 2 \approx 1.4427$ bits. An event of probability $1/8$
# surprises you by 3 bits, as much as three coins that all show heads.)

# %%
marked = np.array([0.9, 0.5, 0.1, 0.01])
surprise = -np.log(marked)
assert np.allclose(surprise, [0.105361, 0.693147, 2.302585, 4.605170], atol=1e-6)
assert np.isclose(1 / np.log(2), 1.4427, atol=1e-4)
assert np.isclose(-np.log(1 / 8) / np.log(2), 3.0)
assert np.isclose(-np.log(0.9 * 0.01), surprise[0] + surprise[3])

p = np.linspace(0.003, 1.0, 400)
show(plots.surprise_curve(p, -np.log(p), marked, surprise), "surprise")

# %% [markdown]
# The curve is nearly flat on the right and endlessly steep on the left. Going from 0.9 to 1 saves
# a tenth of a nat; an event declared impossible costs infinitely much when it happens.
#
# ## The loss of one picture
#
# A picture shows class $y$. The network's logits $z$ give the probabilities
# $p = \operatorname{softmax}(z)$. The loss of that picture is the surprise at its label,
# $-\log p_y$. Chapter 01 gives a formula that never forms the probability:
# $\log p_y = z_y - \operatorname{LSE}(z)$, so
#
# $$L = \operatorname{LSE}(z) - z_y.$$


# %%
def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


logits = np.array([2.0, 1.0, 0.0, -1.0, 0.5])
by_hand = -log_softmax(logits)[0]
print(f"the right class is 0: {by_hand:.6f} nats")
assert np.isclose(by_hand, 2.574438 - 2.0, atol=1e-6)  # LSE from chapter 01, minus the logit
assert np.isclose(ts.cross_entropy(logits, 0).item(), by_hand, rtol=1e-14)

# %% [markdown]
# A batch of $N$ pictures has $N$ losses; the library returns their mean unless you ask for all of
# them.

# %%
rng = np.random.default_rng(2)
batch = rng.normal(0.0, 2.0, (6, 10))
targets = np.array([3, 0, 9, 9, 1, 4])
losses = -log_softmax(batch)[np.arange(6), targets]
assert np.allclose(ts.cross_entropy(batch, targets, reduction="none").data, losses, rtol=1e-13)
assert np.isclose(ts.cross_entropy(batch, targets).item(), losses.mean(), rtol=1e-13)

# %% [markdown]
# ## Surprise on average
#
# Now suppose that labels come at random: class $k$ with probability $q_k$. (Think of a blurred
# picture that people label differently.) You predict $p$. Class $k$ happens a share $q_k$ of the
# time and then costs $-\log p_k$, so on average you pay
#
# $$H(q, p) = -\sum_{k} q_k \log p_k.$$
#
# This is the **cross-entropy**. It is nothing but an expected value: of the surprise under $p$ at
# a label drawn from $q$. Here is an example that you can do in your head. The prediction is made
# of halves, so that surprises are 1 or 2 times $\log 2$:

# %%
q = np.array([0.7, 0.2, 0.1])
p = np.array([0.5, 0.25, 0.25])
cross_entropy = -(q * np.log(p)).sum()
print(f"H(q, p) = {cross_entropy:.6f} nats = {cross_entropy / np.log(2):.1f} log 2")
assert np.isclose(cross_entropy, (0.7 * 1 + 0.2 * 2 + 0.1 * 2) * np.log(2), rtol=1e-14)
assert np.isclose(cross_entropy, 1.3 * np.log(2), rtol=1e-14)

# %% [markdown]
# If it is an average, then averaging must find it. Draw labels from $q$, look up their surprise
# under $p$, take the mean. Probability theory says how far off the mean of $N$ draws will be: by
# about $s / \sqrt{N}$, where $s$ is the standard deviation of one draw, here
# $\sqrt{0.21} \log 2 \approx 0.3176$. We do it with 20 different seeds, so that you see the
# spread and not one lucky run.

# %%
deviation = np.sqrt((q * np.log(p) ** 2).sum() - cross_entropy**2)
assert np.isclose(deviation, np.sqrt(0.21) * np.log(2), rtol=1e-12)
assert abs(deviation - 0.3176) < 1e-4

counts = np.array([30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000])
errors = []
for seed in range(20):
    labels = np.random.default_rng(seed).choice(3, size=counts[-1], p=q)
    running_mean = np.cumsum(-np.log(p)[labels])[counts - 1] / counts
    errors.append(np.abs(running_mean - cross_entropy))
errors = np.array(errors)
standard_error = deviation / np.sqrt(counts)
show(plots.monte_carlo_errors(counts, errors, standard_error), "monte_carlo")

# %%
in_standard_errors = errors[:, -1] / standard_error[-1]
slope = np.polyfit(np.log(counts), np.log(np.sqrt((errors**2).mean(axis=0))), 1)[0]
print(f"100,000 labels: off by {np.median(in_standard_errors):.2f} standard errors in the median,")
print(f"by {in_standard_errors.max():.2f} in the worst of 20 seeds; error ~ N^{slope:.3f}")
assert (in_standard_errors < 4).all()
assert abs(slope + 0.5) < 0.1

# %% [markdown]
# ## Likelihood
#
# There is an older way to say the same. The *likelihood* of a row of labels is the probability
# that your prediction gave to all of them together, a product. Its logarithm is a sum of
# logarithms, that is, minus the total surprise. So making the mean surprise small and making the
# likelihood large are one and the same wish. With many labels drawn from $q$, the log-likelihood
# per label is $-H(q, p)$.

# %%
labels = np.array([0, 0, 1, 0, 2, 0, 0, 1])
likelihood = np.prod(p[labels])
assert np.isclose(likelihood, 0.5**5 * 0.25**3)
assert np.isclose(-np.log(likelihood), (-np.log(p[labels])).sum(), rtol=1e-14)

record(
    claim="P4",
    verdict="holds",
    measured="mean surprise of 100,000 sampled labels within "
    f"{in_standard_errors.max():.2f} standard errors of the sum, in 20 of 20 seeds; "
    f"error falls as N^{slope:.2f}",
)

# %% [markdown]
# If the label is certain, $q$ is **one-hot**: $q_y = 1$ and 0 elsewhere. Of the sum, one term is
# left, and the cross-entropy is the surprise $-\log p_y$ that we started from.

# %%
one_hot = np.eye(10)[targets]
assert np.allclose(-(one_hot * log_softmax(batch)).sum(axis=1), losses, rtol=1e-15)
library = ts.cross_entropy(batch, one_hot, reduction="none").data
difference = np.abs(library - losses).max()
assert difference < 1e-13
record(
    claim="P8",
    verdict="holds",
    measured=f"cross-entropy of one-hot rows equals -log p_y within {difference:.0e}",
)

# %% [markdown]
# The library takes both kinds of targets: class numbers, or rows of probabilities, any
# distribution you like. It insists that a row adds up to 1, and we can see why it should. With
# $\log p_k = z_k - \operatorname{LSE}(z)$ the cross-entropy becomes
#
# $$H(q, p) = \Big(\sum_k q_k\Big) \operatorname{LSE}(z) - \sum_k q_k z_k
# \;=\; \operatorname{LSE}(z) - q \cdot z \quad \text{if the } q_k \text{ add up to 1}.$$
#
# The first part knows nothing of the target; the target only enters through $q \cdot z$, a
# *tilt*. Keep this form in mind: all that label smoothing ever does is to change the tilt.

# %%
soft = rng.dirichlet(np.ones(10), size=6)
expected = -(soft * log_softmax(batch)).sum(axis=1)
lse = ts.logsumexp(batch).data
soft_error = np.abs(ts.cross_entropy(batch, soft, reduction="none").data - expected).max()
tilt_error = np.abs(lse - (soft * batch).sum(axis=1) - expected).max()
assert soft_error < 1e-13
assert tilt_error < 1e-13
# Twice the distribution: the first part doubles, too.
doubled = -(2 * soft * log_softmax(batch)).sum(axis=1)
assert np.allclose(doubled, 2 * lse - 2 * (soft * batch).sum(axis=1))

try:
    ts.cross_entropy(batch, 2 * soft)
except ValueError as error:
    print(error)
else:
    raise AssertionError("a row that adds up to 2 should have been refused")

record(
    claim="P3",
    verdict="holds",
    measured=f"random distributions as targets: loss equals LSE(z) - q.z within {tilt_error:.0e}; "
    "for rows that add up to s it is s LSE(z) - q.z",
)

# %% [markdown]
# ## The best prediction is the truth
#
# You know $q$ and want to pay as little as possible. Which $p$ should you announce? Put $q$
# itself in: the price is
#
# $$H(q) = -\sum_k q_k \log q_k,$$
#
# the **entropy** of $q$, which is the surprise that nobody can avoid. Any other $p$ costs more.
# The difference has a name, the Kullback-Leibler **divergence**:
#
# $$H(q, p) = H(q) + \operatorname{KL}(q \,\|\, p), \qquad
# \operatorname{KL}(q \,\|\, p) = \sum_k q_k \log \frac{q_k}{p_k} \ge 0.$$
#
# *Proof that it is never negative.* The logarithm lies below its tangent at 1:
# $\log x \le x - 1$, with equality only at $x = 1$. Put $x = p_k / q_k$, multiply by $q_k$, and
# add up: $-\operatorname{KL} = \sum_k q_k \log (p_k / q_k) \le \sum_k (p_k - q_k) = 1 - 1 = 0$.
# Equality needs $p_k = q_k$ everywhere. This is Gibbs' inequality, and it is what makes
# cross-entropy an honest teacher.

# %%
x = np.geomspace(1e-3, 1e3, 1001)
tangent_gap = x - 1 - np.log(x)
assert (tangent_gap >= 0).all()
assert x[tangent_gap == 0] == np.array([1.0])

many_q = rng.dirichlet(np.ones(10), size=2000)
many_p = rng.dirichlet(np.ones(10), size=2000)
entropy = -(many_q * np.log(many_q)).sum(axis=1)
divergence = (many_q * np.log(many_q / many_p)).sum(axis=1)
identity_error = np.abs(-(many_q * np.log(many_p)).sum(axis=1) - entropy - divergence).max()
print(f"2000 random pairs: identity off by {identity_error:.1e},", end=" ")
print(f"least divergence {divergence.min():.3f}")
assert identity_error < 1e-12
assert (divergence > 0).all()

# %% [markdown]
# A proof is better with a picture. Three classes: every prediction is a point in a triangle. We
# compute the cross-entropy with $q = (0.7, 0.2, 0.1)$ on a fine grid of them and look for the
# lowest point.

# %%
steps = 100
first, second = np.meshgrid(np.arange(1, steps), np.arange(1, steps), indexing="ij")
inside = first + second < steps
grid = np.stack([first[inside], second[inside], steps - first[inside] - second[inside]], axis=1)
grid = grid / steps
grid_loss = -(q * np.log(grid)).sum(axis=1)
lowest = grid[grid_loss.argmin()]
floor = -(q * np.log(q)).sum()
print(
    f"lowest of {len(grid)} predictions: {lowest}, {grid_loss.min():.6f} nats; H(q) = {floor:.6f}"
)
assert np.allclose(lowest, q, atol=1e-12)
assert np.isclose(grid_loss.min(), floor, rtol=1e-14)
show(plots.simplex_loss(grid, grid_loss, q, floor), "simplex")

# %% [markdown]
# Notice two things that matter later. The lowest point is *inside* the triangle as soon as no
# $q_k$ is 0. And the floor is not 0 but the entropy: with such labels, no network will ever show
# a loss below it.
#
# ## The price of overconfidence
#
# With two classes the triangle shrinks to a line, and we can draw the expected surprise for
# several truths at once. An event happens with probability 0.95, and you forecast $p$:

# %%
shares = (0.95, 0.7, 0.5)
forecast = np.linspace(0.001, 0.999, 999)


def expected_loss(share, prob):
    return -share * np.log(prob) - (1 - share) * np.log(1 - prob)


curves = np.array([expected_loss(share, forecast) for share in shares])
floors = np.array([expected_loss(share, share) for share in shares])
assert np.allclose(forecast[curves.argmin(axis=1)], shares, atol=1e-9)
show(plots.expected_surprise(forecast, curves, shares, floors), "forecast")

# %%
for prob, cost in [(0.95, 0.198515), (0.99, 0.239806), (0.999, 0.346338)]:
    print(f"forecast {prob}: {expected_loss(0.95, prob):.6f} nats")
    assert abs(expected_loss(0.95, prob) - cost) < 1e-6
assert expected_loss(0.95, 1 - 1e-12) > 1.3
assert expected_loss(0.95, 0.999) > expected_loss(0.95, 0.8)

# %% [markdown]
# Saying 0.999 of a thing that is true 95 times in 100 costs more than modestly saying 0.8, and
# certainty costs without bound. On fresh pictures, then, cross-entropy punishes over-confidence
# hard. The trouble that this book is about starts because on the *training* pictures, labelled
# one-hot, it rewards it.
#
# One warning. The divergence is not a distance: swap its arguments and it changes. It is an
# average *over the first one*, so it asks how surprised the truth is by the prediction, and not
# the other way round.

# %%
even, sure = np.array([0.5, 0.5]), np.array([0.9, 0.1])
forward = (even * np.log(even / sure)).sum()
backward = (sure * np.log(sure / even)).sum()
print(f"KL(even || sure) = {forward:.6f}, KL(sure || even) = {backward:.6f}")
assert abs(forward - 0.510826) < 1e-6
assert abs(backward - 0.368064) < 1e-6

# %% [markdown]
# ## What you have learnt
#
# - Surprise is $-\log p$, in nats. It adds up over independent events.
# - Cross-entropy $H(q, p)$ is the expected surprise at a label from $q$ for somebody who predicts
#   $p$.
# - With a one-hot target it is $-\log p_y$; minimising it is maximising the likelihood.
# - It equals $\operatorname{LSE}(z) - q \cdot z$: the target only tilts a bowl that is always the
#   same.
# - $H(q, p) = H(q) + \operatorname{KL}(q \,\|\, p)$: it is smallest at $p = q$, and there it is
#   the entropy, not 0.
#
# ## Questions
#
# 1. A classifier of 10 classes knows nothing and predicts 1/10 for each. What is its loss?
#
# :::{dropdown} Answer
# log 10 = 2.303 nats, whatever the labels are. A new network's first loss should be about that.
# :::
#
# 2. What is the loss of a network that is always right and always says 0.9?
#
# :::{dropdown} Answer
# -log 0.9 = 0.105 nats.
# :::
#
# 3. Can the cross-entropy of a batch be smaller than the entropy of its target distribution?
#
# :::{dropdown} Answer
# The expected value cannot (Gibbs). The mean over a handful of sampled labels can, by luck.
# :::
#
# 4. A label is wrong in 2 % of all cases, for any picture. Why is it foolish to predict 0.9999?
#
# :::{dropdown} Answer
# The two surprises in a hundred cost -log(0.0001) = 9.2 nats each, 0.184 on average. The honest
# 0.98 costs 0.098 in total.
# :::
#
# 5. Why does the first part of LSE(z) - q.z not depend on the target?
#
# :::{dropdown} Answer
# Because the target's entries add up to 1: LSE(z) is the same for every class and is multiplied
# by that sum.
# :::
#
# ## Exercises
#
# Write these in `chapters/exercises/02.py`, then run `tinysmooth chapters check 2`.
#
# 1. `entropy(q)`: the unavoidable surprise, with zeros treated rightly.
# 2. `cross_entropy(logits, q)`: from logits, for a batch, without overflow.
# 3. `best_constant_prediction(labels, num_classes)`: one prediction for all, as cheap as
#    possible.
#
# ## Sources
#
# - C. E. Shannon, *A Mathematical Theory of Communication*, Bell System Technical Journal 27,
#   1948: entropy, and why the logarithm.
# - S. Kullback, R. A. Leibler, *On Information and Sufficiency*, Annals of Mathematical
#   Statistics 22, 1951.
# - C. Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016,
#   section 7: the loss and the target distribution as used here.
