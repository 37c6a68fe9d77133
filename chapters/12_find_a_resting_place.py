# %% [markdown]
# # 12 A resting place
#
# **Where does the gap settle under label smoothing, and how fast?**
#
# One-hot training marches for ever (chapter 08). With a softened target the march has an end, and
# you can say in advance where: for ten classes and a smoothing of 0.1 at $\log 91 = 4.5109$. This
# chapter derives the number, times the way there, and then checks whether a real network knows
# about it.
#
# You need chapters 08 (free logits), 09 (what a gap costs) and 11 (the smoothed target). Runs in
# about fifteen seconds.

# %%
import math

import numpy as np

import tinysmooth as ts
from tinysmooth import metrics, nn, optim, plots
from tinysmooth.chapters import record, show
from tinysmooth.data import load_drawn

# %% [markdown]
# ## Where
#
# Free logits again: $z$ itself is learnt, by $z \leftarrow z - \eta\,(p - q')$ with the learning
# rate $\eta$. The step is 0 when $p = q'$, and a softmax can do that, because no entry of $q'$ is
# 0: take $z = \log q'$. The wrong entries are all $q_o = \varepsilon/K$, the right one is
# $q_y = 1 - \varepsilon + \varepsilon/K$, so the gap at rest is
#
# $$G^* = \log\frac{q_y}{q_o} = \log\frac{K(1-\varepsilon)+\varepsilon}{\varepsilon}.$$
#
# For $K = 10$, $\varepsilon = 0.1$ it is $\log 91$. Let descent find it, by hand first.


# %%
def naive_descent(num_classes, label_smoothing, lr, steps):
    """Gradient descent on free logits, the smoothed target written out."""
    target = np.full(num_classes, label_smoothing / num_classes)
    target[0] += 1.0 - label_smoothing
    logits = np.zeros(num_classes)
    for _ in range(steps):
        probs = np.exp(logits) / np.exp(logits).sum()
        logits = logits - lr * (probs - target)
    return logits


logits = naive_descent(10, 0.1, 1.0, 300)
gap = logits[0] - logits[1]
print(f"gap after 300 steps: {gap:.12f}, log 91 = {math.log(91):.12f}")
assert abs(gap - math.log(91)) < 1e-9
assert abs(ts.resting_gap(10, 0.1) - math.log(91)) < 1e-12

library = np.zeros(10)
for _ in range(300):
    library -= ts.cross_entropy_gradient(library, 0, label_smoothing=0.1)
assert np.abs(library - logits).max() < 1e-12

# %% [markdown]
# The same for other settings. The table has the gap at rest, the rate at which it is approached
# (derived below), the smallest loss $H(q')$, and the part of it that is plain cross-entropy,
# $-\log q_y$.
#
# | $K$ | $\varepsilon$ | $G^*$ | rate $\varepsilon q_y$ | $H(q')$ | $-\log q_y$ |
# |---|---|---|---|---|---|
# | 2 | 0.1 | 2.944439 | 0.095 | 0.198515 | 0.051293 |
# | 5 | 0.1 | 3.828641 | 0.092 | 0.389673 | 0.083382 |
# | 10 | 0.05 | 5.252273 | 0.04775 | 0.282396 | 0.046044 |
# | 10 | 0.1 | 4.510860 | 0.091 | 0.500288 | 0.094311 |
# | 10 | 0.2 | 3.713572 | 0.164 | 0.866894 | 0.198451 |
# | 100 | 0.1 | 6.803505 | 0.0901 | 0.777797 | 0.104250 |
# | 1000 | 0.1 | 9.105091 | 0.09001 | 1.014848 | 0.105249 |

# %%
table = (
    (2, 0.1, 2.944439, 0.095, 0.198515, 0.051293),
    (5, 0.1, 3.828641, 0.092, 0.389673, 0.083382),
    (10, 0.05, 5.252273, 0.04775, 0.282396, 0.046044),
    (10, 0.1, 4.510860, 0.091, 0.500288, 0.094311),
    (10, 0.2, 3.713572, 0.164, 0.866894, 0.198451),
    (100, 0.1, 6.803505, 0.0901, 0.777797, 0.104250),
    (1000, 0.1, 9.105091, 0.09001, 1.014848, 0.105249),
)
for num_classes, epsilon, rest, rate, floor, plain in table:
    target = ts.smooth_targets(0, num_classes, epsilon)
    resting_logits = np.log(target)  # computed without the formula for the gap
    assert abs(resting_logits[0] - resting_logits[1] - rest) < 1e-6
    assert abs(ts.resting_gap(num_classes, epsilon) - rest) < 1e-6
    assert abs(epsilon * target[0] - rate) < 1e-9
    assert abs(-(target * np.log(target)).sum() - floor) < 1e-6
    at_rest = ts.cross_entropy(resting_logits, 0, label_smoothing=epsilon).item()
    assert abs(at_rest - ts.loss_floor(num_classes, epsilon)) < 1e-12
    assert abs(ts.cross_entropy(resting_logits, 0).item() - plain) < 1e-6

epsilons = np.logspace(-3, math.log10(0.9), 60)
show(
    plots.resting_gaps(
        epsilons,
        {k: [ts.resting_gap(k, e) for e in epsilons] for k in (2, 10, 100, 1000)},
        (0.1, ts.resting_gap(10, 0.1)),
    ),
    "resting_gaps",
)

# %% [markdown]
# Look at the last rows: the cap on the gap *grows with the number of classes*, by about $\log K$.
# For a thousand classes, the paper's case, it is 9.1. One-hot training with ten classes needs a
# time of about 900 for such a gap (chapter 08). "Smoothing keeps logits small" is a statement to be
# made with the number of classes in it.

# %%
assert abs((math.exp(9.105091) - 1 + 9 * 9.105091) / 10 - 908) < 1

# %% [markdown]
# ## What holds it there
#
# The paper's reason: the target of every class has a positive floor, $\varepsilon/K$, so driving a
# wrong probability to 0 would cost an infinite loss. (Again the text writes $q$ where the
# prediction must be meant: for the wrong classes it is $p$ that would go to 0.) Far out the
# smoothed loss rises by $\varepsilon(K-1)/K = 0.09$ for each unit of gap; the one-hot loss falls
# towards
# 0. Watch both from the same start.

# %%
stops = np.unique(np.round(np.logspace(0, 5, 60)).astype(int))


def gaps_at(stops, label_smoothing, lr=0.1, num_classes=10):
    """Gap of free logits after each number of steps; equal wrong logits need one number only."""
    gap, found, step = 0.0, [], 0
    for stop in stops:
        while step < stop:
            up = math.exp(gap)
            gap += lr * ((1 - label_smoothing) - (up - 1) / (up + num_classes - 1))
            step += 1
        found.append(gap)
    return np.array(found)


paths = {epsilon: gaps_at(stops, epsilon) for epsilon in (0.0, 0.05, 0.1, 0.2)}
vector = naive_descent(10, 0.1, 0.1, int(stops[30]))
assert abs(vector[0] - vector[1] - paths[0.1][30]) < 1e-12
resting = {epsilon: ts.resting_gap(10, epsilon) for epsilon in (0.05, 0.1, 0.2)}
assert all(abs(paths[epsilon][-1] - value) < 1e-9 for epsilon, value in resting.items())
assert paths[0.0][-1] > 11
smoothed_paths = {epsilon: paths[epsilon] for epsilon in resting}
show(plots.gap_settles(stops, paths[0.0], smoothed_paths, resting), "gap_settles")
record(
    "P20",
    "holds",
    f"K = 10, 100000 steps: the one-hot gap is {paths[0.0][-1]:.2f} and growing, the smoothed one "
    f"{paths[0.1][-1]:.6f} = log 91 and at rest",
)

# %% [markdown]
# ## How fast
#
# With small steps and $t = \eta \times \text{steps}$, the gap grows at the rate by which the pull
# on the right logit exceeds the pull on a wrong one. Write $A = e^{G^*}$:
#
# $$\dot G = (1-\varepsilon) - \frac{e^G - 1}{e^G + K - 1} =
# \varepsilon\,\frac{A - e^G}{e^G + K - 1}.$$
#
# Separate and integrate from 0, as in chapter 08 (partial fractions do it), and you get the time to
# any gap below $G^*$:
#
# $$t(G) = \frac1\varepsilon\left[\frac{(K-1)\,G}{A} +
# \frac{1}{q_y}\,\log\frac{A - 1}{A - e^G}\right].$$
#
# Near the end only the logarithm matters, and it says $G^* - G \propto e^{-\varepsilon q_y t}$: an
# exponential approach with the rate $\varepsilon q_y = 0.091$. Compare that with one-hot, where
# what is left shrinks like $1/t$.


# %%
def time_to_gap(gap, num_classes, label_smoothing):
    """Return the time of the flow from equal logits to ``gap``."""
    ceiling = math.exp(ts.resting_gap(num_classes, label_smoothing))
    right = 1 - label_smoothing + label_smoothing / num_classes
    rise = np.log((ceiling - 1) / (ceiling - np.exp(gap))) / right
    return ((num_classes - 1) * gap / ceiling + rise) / label_smoothing


def flow(times, num_classes, label_smoothing, step=0.01):
    """Follow the rate of the gap with a Runge-Kutta method; independent of the formula above."""

    def rate(gap):
        up = math.exp(gap)
        return (1 - label_smoothing) - (up - 1) / (up + num_classes - 1)

    gap, found = 0.0, {}
    for number in range(1, round(max(times) / step) + 1):
        k1 = rate(gap)
        k2 = rate(gap + step / 2 * k1)
        k3 = rate(gap + step / 2 * k2)
        k4 = rate(gap + step * k3)
        gap += step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        time = round(number * step, 9)
        if time in times:
            found[time] = gap
    return found


marks = (1.0, 5.0, 10.0, 20.0, 50.0, 100.0)
for (time, value), expected in zip(
    flow(marks, 10, 0.1).items(),
    (0.845729, 2.846478, 3.700232, 4.243282, 4.495073, 4.510694),
    strict=True,
):
    print(f"t = {time:5.0f}: gap {value:.6f}, formula's time {time_to_gap(value, 10, 0.1):.6f}")
    assert abs(value - expected) < 1e-6 and abs(time_to_gap(value, 10, 0.1) - time) < 1e-5

# %% [markdown]
# The rate can be read off the second derivative as well. The Hessian of the loss is
# $\mathrm{diag}(p) - p p^\top$ (chapter 03), the same with and without smoothing. At $p = q'$ its
# eigenvalues are 0 (the common shift), $\varepsilon/K = 0.01$ (eight times: differences between
# wrong logits) and $\varepsilon q_y = 0.091$ (once: the gap). A step of gradient descent multiplies
# what is left of each by $1 - \eta\lambda$. For the gap that is 0.9909, 0.909 and 0.818 with $\eta$
# = 0.1, 1 and 2; for a difference between two wrong logits 0.99 with $\eta = 1$. At the one-hot
# "optimum" all the eigenvalues go to 0: there is nothing to hold on to.

# %%
target = ts.smooth_targets(0, 10, 0.1)
eigenvalues = np.linalg.eigvalsh(np.diag(target) - np.outer(target, target))
assert np.abs(eigenvalues - np.array([0.0, *[0.01] * 8, 0.091])).max() < 1e-12

for lr, factor, steps_to_99 in ((0.1, 0.9909, 384), (1.0, 0.909, 36), (2.0, 0.818, 17)):
    gap, count, left, first = 0.0, 0, [], None
    while count < round(100 / lr):
        up = math.exp(gap)
        gap += lr * (0.9 - (up - 1) / (up + 9))
        count += 1
        left.append(math.log(91) - gap)
        first = count if first is None and gap >= 0.99 * math.log(91) else first
    late = next(i for i, value in enumerate(left) if abs(value) < 1e-3)
    seen = left[late] / left[late - 1]
    print(f"eta {lr}: factor {seen:.5f} a step, 99 % of the way after {first} steps")
    assert abs(seen - factor) < 1e-3 and first == steps_to_99

logits = np.log(target) + np.array([0.0, 0.5, -0.5, *[0.0] * 7])
apart = []
for _ in range(800):
    logits -= ts.cross_entropy_gradient(logits, 0, label_smoothing=0.1)
    apart.append(logits[1] - logits[2])
print(f"two wrong logits: factor {apart[-1] / apart[-2]:.6f} a step")
assert abs(apart[-1] / apart[-2] - 0.99) < 1e-4

steps = np.arange(10, 1801, 10)
even = math.log(91) - gaps_at(steps, 0.1)
logits = np.zeros(10)
logits[1] = 1.0  # one wrong class starts ahead
uneven = []
for step in range(1, steps[-1] + 1):
    logits -= 0.1 * ts.cross_entropy_gradient(logits, 0, label_smoothing=0.1)
    if step % 10 == 0:
        uneven.append(logits[1] - logits[2])
law = even[100] * np.exp(-0.091 * 0.1 * (steps - steps[100]))
assert np.abs(even[80:] / law[80:] - 1).max() < 0.05  # finite steps are slightly faster
curves = {"from the gap to its resting value": even, "between two wrong logits": uneven}
show(plots.distance_to_rest(0.1 * steps, curves, law, 0.091), "distance_to_rest")

# %% [markdown]
# Two speeds, then. The gap settles quickly; wrong logits that started apart are drawn together nine
# times more slowly, but exponentially, where the one-hot loss took $t^{-1/K}$. In the end all wrong
# classes look equally wrong. Whatever the network knew about which mistakes are *nearly* right is
# charged for and, slowly, erased.
#
# ## Does a network know?
#
# Free logits are one example with nothing else to learn. A network has a thousand examples that
# share its weights. If it can fit them all, though, the lowest loss it can have is reached only
# when every example has $p = q'$, so the mean gap over the training pictures should come out near
# 4.51. Train three layers of 144, 64, 64 and 10 units on the drawings of chapter 09: one-hot, and
# smoothed by 0.1 and 0.3. Five seeds each.

# %%
train_set = load_drawn(per_class=100, size=12, grey=True, variation=0.5)
noisy_set = load_drawn(per_class=100, size=12, grey=True, variation=0.5, noise=25)
new_set = load_drawn(per_class=100, size=12, split="val", grey=True, variation=0.5)


def pixels(data):
    return (data.images.reshape(len(data.images), -1).astype(np.float32) / 255.0 - 0.5) * 4.0


x, new_x = pixels(train_set), pixels(new_set)
assert (pixels(noisy_set) == x).all()  # the same pictures, some with another label


@ts.no_grad()
def logits_of(model, inputs):
    return model(ts.Tensor(inputs)).data


def train(targets, label_smoothing, seed, epochs=60):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Linear(144, 64, rng=rng),
        nn.ReLU(),
        nn.Linear(64, 64, rng=rng),
        nn.ReLU(),
        nn.Linear(64, 10, rng=rng),
    )
    optimiser = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(epochs):
        for rows in rng.permutation(len(x)).reshape(-1, 50):
            optimiser.zero_grad()
            logits = model(ts.Tensor(x[rows]))
            ts.cross_entropy(logits, targets[rows], label_smoothing=label_smoothing).backward()
            optimiser.step()
    return model


def examine(model, targets):
    seen, unseen = logits_of(model, x), logits_of(model, new_x)
    probs = metrics.softmax(unseen)
    return (
        metrics.logit_gap(seen, targets),
        metrics.negative_log_likelihood(seen, targets),
        metrics.accuracy(unseen, new_set.targets),
        metrics.negative_log_likelihood(unseen, new_set.targets),
        metrics.expected_calibration_error(probs, new_set.targets),
    )


def study(targets, epsilons):
    found, example = {}, {}
    for epsilon in epsilons:
        models = [train(targets, epsilon, seed) for seed in range(5)]
        found[epsilon] = np.array([examine(model, targets) for model in models])
        example[epsilon] = metrics.logit_gap(logits_of(models[0], x), targets, reduction="none")
        gap, fit, accuracy, loss, error = found[epsilon].mean(axis=0)
        low, high = found[epsilon][:, 0].min(), found[epsilon][:, 0].max()
        print(
            f"eps {epsilon}: gap {gap:5.2f} ({low:.2f} to {high:.2f}), training loss {fit:.4f}; "
            f"new: accuracy {accuracy:.3f}, loss {loss:.3f}, calibration error {error:.3f}"
        )
    return found, example


clean, example = study(train_set.targets, (0.0, 0.1, 0.3))
derived = {epsilon: ts.resting_gap(10, epsilon) for epsilon in (0.1, 0.3)}
assert abs(derived[0.3] - 3.192) < 1e-3
assert np.abs(clean[0.1][:, 0] - derived[0.1]).max() < 0.25
assert np.abs(clean[0.3][:, 0] - derived[0.3]).max() < 0.1
assert clean[0.0][:, 0].min() > 20
assert abs(clean[0.1][:, 0].mean() - 4.62) < 0.06 and abs(clean[0.3][:, 0].mean() - 3.20) < 0.04
show(plots.network_gaps({e: example[e] for e in (0.0, 0.1, 0.3)}, derived), "network_gaps")

# %% [markdown]
# The network knows. With a smoothing of 0.1 its mean gap is 4.62 against a derived 4.51, with 0.3
# it is 3.20 against 3.19, and from seed to seed it moves by a few hundredths. The one-hot gap is
# above 20 and would be larger with every epoch. No number in this chapter was fitted to anything.
#
# ## What it buys, and what it does not
#
# Smoothing gives up likelihood on the training labels: at rest the plain cross-entropy is
# $-\log 0.91 = 0.0943$ and not 0, by design. In exchange it is said to regularise: to make the
# model generalise better and to bear wrong labels. The table above has the first, and a second
# study, with a quarter of the training labels wrong, the other.

# %%
noisy, _ = study(noisy_set.targets, (0.0, 0.1))
changed = (noisy_set.targets != noisy_set.clean_targets).mean()
print(f"labels that are wrong: {changed:.3f}")
assert 0.2 < changed < 0.3

gain = {name: s[0.1][:, 2] - s[0.0][:, 2] for name, s in (("clean", clean), ("noisy", noisy))}
print({name: value.round(3) for name, value in gain.items()})
for sheet in (clean, noisy):
    assert sheet[0.1][:, 3].max() < sheet[0.0][:, 3].min()  # a lower loss on new pictures
assert noisy[0.1][:, 4].max() < 0.5 * noisy[0.0][:, 4].min()  # and better calibrated with noise
assert all(-0.035 < value.mean() < 0.01 for value in gain.values())  # but not more often right
assert abs(clean[0.1][:, 1].mean() - 0.0943) < 0.02 and clean[0.0][:, 1].max() < 0.01

one_hot, smoothed = clean[0.0].mean(axis=0), clean[0.1].mean(axis=0)
record(
    "P16",
    "holds under a condition",
    f"training cross-entropy {smoothed[1]:.3f} instead of {one_hot[1]:.3f} (limit "
    f"{-math.log(0.91):.4f}); loss on new pictures {smoothed[3]:.2f} instead of {one_hot[3]:.2f}, "
    f"accuracy {smoothed[2]:.3f} instead of {one_hot[2]:.3f}",
    condition="what is regularised here is the probabilities, not the number of right answers",
)
one_hot, smoothed = noisy[0.0].mean(axis=0), noisy[0.1].mean(axis=0)
record(
    "B13",
    "fails as stated",
    f"{100 * changed:.0f} % wrong labels, 5 seeds: accuracy {smoothed[2]:.3f} smoothed and "
    f"{one_hot[2]:.3f} one-hot, {100 * gain['noisy'].min():+.1f} to "
    f"{100 * gain['noisy'].max():+.1f} points (clean labels: {clean[0.1][:, 2].mean():.3f} and "
    f"{clean[0.0][:, 2].mean():.3f}); what improves is the loss, {smoothed[3]:.2f} for "
    f"{one_hot[3]:.2f}, and the calibration error, {smoothed[4]:.3f} for {one_hot[4]:.3f}",
)
record(
    "P25",
    "not tested here",
    "the paper's 1000 classes of ImageNet are out of reach of a laptop; on the drawings, accuracy "
    f"changed by {100 * gain['clean'].mean():+.1f} percentage points (5 seeds, "
    f"{100 * gain['clean'].min():+.1f} to {100 * gain['clean'].max():+.1f})",
)

# %% [markdown]
# On these drawings and with this small network, smoothing lowers the loss on new pictures
# considerably, with clean labels and with wrong ones, and with wrong labels it mends the
# calibration. It does not make the network right more often: in the mean of five seeds accuracy
# rises by less than a point, with clean labels and with wrong ones, and may fall by up to three and
# a half. The cell claims no more, because a processor that rounds differently trains other
# networks. Other data and larger networks have shown gains in accuracy; the paper reports about 0.2
# percentage points on ImageNet. What is universal is the resting place; what it is good for depends
# on the case, and has to be measured.
#
# ## What you have learnt
#
# - The smoothed gap rests at $\log\bigl((K(1-\varepsilon)+\varepsilon)/\varepsilon\bigr)$: 4.51 for
#   ten classes and 0.1, 9.1 for a thousand.
# - It gets there exponentially, at the rate $\varepsilon q_y$; differences between wrong logits
#   fade at $\varepsilon/K$.
# - A real network that fits its training data ends up at the same gap.
# - Smoothing gives a better loss on new data here, not more right answers.
#
# ## Questions
#
# 1. You want gaps of about 7 with 100 classes. Which smoothing do you choose?
#
# :::{dropdown} Answer
# Solve $e^7 = 100(1-\varepsilon)/\varepsilon + 1$: $\varepsilon = 100/(e^7 + 99) \approx 0.084$.
# :::
#
# 2. Why is 4.5109 independent of the learning rate?
#
# :::{dropdown} Answer
# It is where the gradient is 0. The learning rate decides how one gets there.
# :::
#
# 3. A network trained with $\varepsilon = 0.1$ has a mean training gap of 2. What do you suspect?
#
# :::{dropdown} Answer
# It has not fitted its training data: too few epochs, too small a network, or data that contradict
# themselves.
# :::
#
# 4. Which information gets lost at the rate $\varepsilon/K$?
#
# :::{dropdown} Answer
# Which of the wrong classes are nearly right. At rest all wrong logits of an example are equal.
# :::
#
# ## Exercises
#
# Fill in `chapters/exercises/12.py` and run `tinysmooth chapters check 12`.
#
# 1. `gap_at_rest`: the number of this chapter.
# 2. `epsilon_for_gap`: the other way round.
# 3. `rest_with_prior`: where logits rest when the mixed-in distribution is not uniform.
# 4. `time_to_gap`: how long the way is.
#
# ## Sources
#
# - C. Szegedy and others, *Rethinking the Inception Architecture for Computer Vision*, 2016, arXiv
#   1512.00567, section 7.
# - R. Müller, S. Kornblith, G. Hinton, *When Does Label Smoothing Help?*, 2019, arXiv 1906.02629:
#   calibration, and what is erased among the wrong classes.
# - M. Lukasik and others, *Does Label Smoothing Mitigate Label Noise?*, 2020, arXiv 2003.02819.
