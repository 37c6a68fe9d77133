# %% [markdown]
# # 08 The slow march to infinity
#
# **How fast do the logits run away when the target is one-hot?**
#
# The last chapter showed that one-hot training has no finite goal. This one watches it walk. You
# will find an exact law for the gap, and it has a surprise in it: the march never ends, but it is
# so slow that ten times the training adds only 2.3.
#
# You need chapters 03 (the gradient) and 07 (the gap). Runs in about three seconds.

# %%
import math

import numpy as np

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import record, show

# %% [markdown]
# ## The simplest possible learner
#
# Take the network away. One training example, $K$ classes, and the logits $z$ themselves are what
# is learnt: *free logits*. All start at 0. Gradient descent with learning rate $\eta$ does
# $z \leftarrow z - \eta\,(p - q)$. Whatever happens here is the loss's own doing, not that of
# layers, data or noise.
#
# By hand it is three lines. The library's gradient must lead to the same place.


# %%
def naive_descent(num_classes, target, lr, steps):
    """Gradient descent on free logits, everything spelt out."""
    logits = np.zeros(num_classes)
    one_hot = np.eye(num_classes)[target]
    for _ in range(steps):
        probs = np.exp(logits) / np.exp(logits).sum()
        logits = logits - lr * (probs - one_hot)
    return logits


def descend(logits, target, lr, steps, label_smoothing=0.0):
    """Gradient descent on free logits with the library's gradient."""
    logits = np.array(logits, dtype=np.float64)
    for _ in range(steps):
        logits -= lr * ts.cross_entropy_gradient(logits, target, label_smoothing=label_smoothing)
    return logits


by_hand = naive_descent(10, 3, 0.1, 500)
assert np.abs(by_hand - descend(np.zeros(10), 3, 0.1, 500)).max() < 1e-12
print("after 500 steps:", by_hand.round(3))

# %% [markdown]
# Two things to see in that row. The nine wrong logits are equal: they started equal and feel equal
# forces, so one gap $G$ describes everything. And the logits still add up to 0, because the entries
# of $p - q$ do (chapter 03): what the right logit gains, the wrong ones lose together.

# %%
wrong = np.delete(by_hand, 3)
assert np.ptp(wrong) < 1e-12
assert abs(by_hand.mean()) < 1e-10

# %% [markdown]
# ## The law of the gap
#
# Make the steps small and count *time* as $t = \eta \times \text{steps}$. Then the logits follow a
# smooth flow, $\dot z = -(p - q)$. The right logit rises at the rate $1 - p_y$; each wrong one
# falls at the rate $p_k$, and as the $K - 1$ of them share what is left, $1 - p_y = (K-1)\,p_k$.
# The gap therefore grows at the rate
#
# $$\dot G = (1 - p_y) + p_k = K\,p_k = \frac{K}{e^G + K - 1}.$$
#
# Always positive; that is the claim that training pulls the logits apart. But the denominator grows
# exponentially. Multiply it across, $(e^G + K - 1)\,\dot G = K$, and integrate both sides from
# $t = 0$, $G = 0$:
#
# $$e^G - 1 + (K-1)\,G = K\,t.$$
#
# This is the whole story in one line. Read from right to left it tells you the gap at a given time;
# from left to right, the time that a gap takes.


# %%
def time_for_gap(gap, num_classes):
    """Return the time at which the flow reaches ``gap``."""
    return (np.expm1(gap) + (num_classes - 1) * gap) / num_classes


def gap_at(time, num_classes):
    """Solve the law for the gap by Newton's method, from above, where it converges steadily."""
    gap = math.log1p(num_classes * time)
    for _ in range(60):
        excess = math.expm1(gap) + (num_classes - 1) * gap - num_classes * time
        gap -= excess / (math.exp(gap) + num_classes - 1)
    return gap


times = np.logspace(0, 6, 7)
table = {k: [gap_at(t, k) for t in times] for k in (2, 10, 1000)}
print("       t" + "".join(f"{f'K = {k}':>12}" for k in table))
for i, t in enumerate(times):
    print(f"{t:8.0f}" + "".join(f"{table[k][i]:12.6f}" for k in table))
for k in table:
    assert np.abs(time_for_gap(np.array(table[k]), k) / times - 1.0).max() < 1e-12

# %% [markdown]
# Does gradient descent, with its finite steps, obey it? At $t = 1000$ the law says 9.202125 for ten
# classes and 7.597598 for two. With $\eta = 0.1$ that is ten thousand steps, with $\eta = 1$ a
# thousand. The steps run slightly ahead of the flow, by about $\log(n)/(2n)$ after $n$ steps at
# $\eta = 1$.

# %%
assert abs(gap_at(1000.0, 10) - 9.202125) < 1e-6 and abs(gap_at(1000.0, 2) - 7.597598) < 1e-6
points = {}
for num_classes in (2, 10):
    logits, seen_at, seen = np.zeros(num_classes), [], []
    done = 0
    for stop in (10, 30, 100, 300, 1000, 3000, 10_000):
        logits = descend(logits, 0, 0.1, stop - done)
        done = stop
        seen_at.append(0.1 * stop)
        seen.append(logits[0] - logits[1])
    points[num_classes] = (seen_at, seen)
    coarse = descend(np.zeros(num_classes), 0, 1.0, 1000)
    ahead = coarse[0] - coarse[1] - gap_at(1000.0, num_classes)
    fine_ahead = seen[-1] - gap_at(1000.0, num_classes)
    print(f"K = {num_classes}: eta 0.1 is ahead by {fine_ahead:.6f}, eta 1 by {ahead:.6f}")
    assert 0 < fine_ahead < ahead < 5e-3
    assert abs(ahead - math.log(1000) / 2000) < 3e-4

# %% [markdown]
# ## Ten times longer, 2.3 further
#
# For large $t$ the exponential outweighs everything else in the law: $e^G \approx K t$, so
#
# $$G \approx \log(K\,t).$$
#
# On a logarithmic time axis the gap becomes a straight line of slope 1. Multiplying the training
# time by ten adds $\log 10 = 2.303$, at first a little more: from $t = 10$ to 100 it is 2.69, from
# 1000 to 10 000 it is 2.31. It never stops and it hardly moves.

# %%
slopes = {k: (gap_at(1e6, k) - gap_at(1e3, k)) / (math.log(1e6) - math.log(1e3)) for k in (2, 10)}
print("slope of the gap against log t:", {k: round(value, 5) for k, value in slopes.items()})
assert all(abs(value - 1.0) < 5e-3 for value in slopes.values())
tenfold = {t: gap_at(10.0 * t, 10) - gap_at(t, 10) for t in (10.0, 1e3, 1e5)}
print("ten times longer, K = 10:", {t: round(value, 3) for t, value in tenfold.items()})
assert abs(tenfold[10.0] - 2.69) < 5e-3 and abs(tenfold[1e3] - 2.31) < 5e-3
assert abs(tenfold[1e5] - math.log(10)) < 1e-3

grid = np.logspace(-1, 6, 200)
exact = {k: [gap_at(t, k) for t in grid] for k in (2, 10, 1000)}
assert all(np.diff(values).min() > 0 for values in exact.values())
tangents = {k: np.log(k * grid) for k in exact}
show(plots.gap_march(grid, exact, tangents, points), "gap_march")
record(
    "P13",
    "holds",
    f"free logits, K = 10: the gap is {gap_at(10.0, 10):.2f}, {gap_at(1e3, 10):.2f} and "
    f"{gap_at(1e5, 10):.2f} at t = 10, 1000 and 100000 and its rate K/(e^G + K - 1) is never 0",
)
record(
    "B10",
    "holds under a condition",
    f"ten times the training adds {gap_at(1e4, 10) - gap_at(1e3, 10):.3f} to the gap "
    f"(slope against log t {slopes[10]:.4f})",
    condition="more extreme, but only by the logarithm of the training time",
)

# %% [markdown]
# ## The price of a nine
#
# A gap of $\log\bigl((K-1)p/(1-p)\bigr)$ makes the right class $p$ likely (chapter 07). Put it into
# the law to see how long a probability takes: 11.955 for 0.9 with ten classes, 95.113 for 0.99,
# 907.19 for 0.999 and 9009.27 for 0.9999. Each nine costs about ten times as much as the one
# before.
#
# And at 0.999 there is still a gradient: its entries are $-0.001$ at the right class and $0.001$
# spread over the others, 0.002 in all. Small, but not zero, and so training keeps pushing, as the
# book says.

# %%
nines = np.arange(1, 5)
probs = 1.0 - 10.0**-nines
waits = time_for_gap(np.log(9.0 * probs / (1.0 - probs)), 10)
for wait, value in zip(waits, (11.955, 95.113, 907.19, 9009.27), strict=True):
    assert abs(wait / value - 1.0) < 1e-4

pulls = []
for prob in probs:
    logits = np.zeros(10)
    logits[0] = math.log(9.0 * prob / (1.0 - prob))
    pulls.append(np.abs(ts.cross_entropy_gradient(logits, 0)).sum())
assert np.abs(np.array(pulls) / (2.0 * (1.0 - probs)) - 1.0).max() < 1e-9
show(plots.time_for_nines(nines, waits, pulls), "time_for_nines")
record(
    "B9",
    "holds",
    f"at p = 0.999 the absolute gradient entries add up to {pulls[2]:.4f}; the next nine takes "
    f"{waits[3] / waits[2]:.1f} times as long",
)

# %% [markdown]
# ## What happens among the wrong ones
#
# Start the wrong logits apart. The likelier of two wrong classes is pushed down harder, so their
# difference $D$ shrinks. How fast? When the gap is large, each wrong class has a probability of
# about $1/(Kt)$ and the difference of two of them is about $D/(Kt)$, so $\dot D \approx -D/(Kt)$.
# The solution is a power: $D$ falls like $t^{-1/K}$. With three classes that is a cube root, with a
# thousand practically a standstill. One-hot training does make the wrong classes equal in the end,
# but no training lasts that long. Smoothing will do it at a steady pace (chapter 12).

# %%
logits = np.array([0.0, 1.0, 0.0])
marks = np.unique(np.round(np.logspace(0, 4.5, 40)).astype(int))
when, apart = [], []
done = 0
for stop in marks:
    logits = descend(logits, 0, 0.5, stop - done)
    done = stop
    when.append(0.5 * stop)
    apart.append(logits[1] - logits[2])
assert abs(logits.sum() - 1.0) < 1e-10  # descent keeps the mean, wherever it starts
local = np.diff(np.log(apart[-8:])) / np.diff(np.log(when[-8:]))
print("local exponents at the end:", local.round(4))
assert np.abs(local + 1.0 / 3.0).max() < 5e-3
law = np.array(apart[-1]) * (np.array(when) / when[-1]) ** (-1.0 / 3.0)
show(plots.wrong_logits_meet(when, apart, law, -1.0 / 3.0), "wrong_logits_meet")

# %% [markdown]
# ## What you have learnt
#
# - On free logits the gap obeys $e^G - 1 + (K-1)G = Kt$, exactly. It grows for ever, like
#   $\log(Kt)$.
# - Each further nine of probability takes about ten times as long; there is always some gradient
#   left.
# - The mean logit never moves; the wrong logits draw together like $t^{-1/K}$.
# - "More epochs, more extreme activations" is true, and logarithmic. Keep that in mind for the next
#   chapter, where the time to *undo* it is counted.
#
# ## Questions
#
# 1. You trained for 100 epochs and your friend for 1000. How much larger is your friend's gap?
#
# :::{dropdown} Answer
# About $\log 10 \approx 2.3$, if the logits were free and both were far along.
# :::
#
# 2. Where does the $K$ in $\log(Kt)$ come from? Does a gap of 10 mean the same for 2 and for 1000
# classes?
#
# :::{dropdown} Answer
# With more classes there is more wrong probability left at the same gap, so more pull. For 1000
# classes a gap of 10 gives the right class $1/(1 + 999\,e^{-10}) \approx 0.957$, for 2 classes
# 0.99995.
# :::
#
# 3. Why does the mean of the logits not move?
#
# :::{dropdown} Answer
# The entries of $p - q$ add up to $1 - 1 = 0$, so every step adds 0 to the sum.
# :::
#
# 4. A learning rate twice as large: what does it change in the long run?
#
# :::{dropdown} Answer
# It doubles $t$, which adds $\log 2 \approx 0.69$ to the gap.
# :::
#
# ## Exercises
#
# Fill in `chapters/exercises/08.py` and run `tinysmooth chapters check 8`.
#
# 1. `descend`: gradient descent on free logits.
# 2. `time_to_probability`: the price of a nine.
# 3. `gap_at_time`: solve the law for the gap.
#
# ## Sources
#
# - C. Szegedy and others, *Rethinking the Inception Architecture for Computer Vision*, 2016, arXiv
#   1512.00567, section 7: the claim that the differences between logits become large.
# - D. Soudry and others, *The Implicit Bias of Gradient Descent on Separable Data*, JMLR 19, 2018:
#   the same logarithm for the weights of a linear classifier.
