# %% [markdown]
# # 09 The price of changing your mind
#
# **Does a large gap make a model slow to learn something new?**
#
# The paper's second complaint about one-hot targets: a large gap, together with a gradient that
# cannot exceed 1, leaves the model less able to adapt. This chapter tests that sentence three
# times: on free logits, where you can prove it; on one layer, where you can measure it; and on a
# deep network, where it turns out differently.
#
# You need chapter 08 (free logits and their gap), chapter 04 (networks and gradients) and, for the
# data, nothing: it is drawn by code. Runs in about twenty seconds.

# %%
import math

import numpy as np

import tinysmooth as ts
from tinysmooth import metrics, nn, optim, plots
from tinysmooth.chapters import record, show
from tinysmooth.data import load_drawn

# %% [markdown]
# ## A label changes
#
# Free logits once more: the logits $z$ themselves are learnt, by $z \leftarrow z - \eta\,(p - q)$,
# with learning rate $\eta$. A gap $G$ has been built for class $y$. Now the label becomes $y'$. How
# many steps pass until $y'$ has the largest logit?
#
# Follow the difference $D = z_y - z_{y'}$. The new target is 0 at $y$ and 1 at $y'$, so a step
# changes $D$ by
#
# $$-\eta\,\bigl[(p_y - 0) - (p_{y'} - 1)\bigr] = -\eta\,\bigl[1 + (p_y - p_{y'})\bigr].$$
#
# While $D > 0$ the old class is still the likelier one, so $0 < p_y - p_{y'} < 1$, and each step
# moves $D$ by more than $\eta$ and by less than $2\eta$. That is what "bounded" means here: no step
# can be larger, however wrong the model is. The number $n$ of steps obeys
#
# $$\frac{G}{2\eta} < n \le \Bigl\lceil\frac{G}{\eta}\Bigr\rceil .$$
#
# The chapter compares one-hot targets with *smoothed* ones throughout. All you need to know of
# smoothing here (chapter 11 takes it apart) is that a number $\varepsilon$, say 0.1, is spread
# evenly over the $K$ classes: the zeros of the target become $\varepsilon/K$ and the 1 becomes
# $1 - \varepsilon + \varepsilon/K$. The two entries then differ by $1 - \varepsilon$ instead of 1,
# and the same argument gives
# $G/((2-\varepsilon)\eta) < n \le \lceil G/((1-\varepsilon)\eta)\rceil$. Try three hundred random
# cases.


# %%
def steps_to_flip(logits, new_label, lr, label_smoothing=0.0):
    """Count steps of gradient descent until ``new_label`` has the largest logit."""
    logits = np.array(logits, dtype=np.float64)
    steps = 0
    while logits.argmax() != new_label:
        logits -= lr * ts.cross_entropy_gradient(logits, new_label, label_smoothing=label_smoothing)
        steps += 1
    return steps


rng = np.random.default_rng(9)
gaps, costs = [], []
for _ in range(300):
    num_classes = int(rng.integers(2, 30))
    gap, lr = rng.uniform(0.5, 20.0), rng.uniform(0.05, 1.0)
    epsilon = rng.choice([0.0, 0.1, 0.3])
    start = np.zeros(num_classes)
    start[0] = gap
    steps = steps_to_flip(start, 1, lr, epsilon)
    assert gap / ((2 - epsilon) * lr) < steps <= math.ceil(gap / ((1 - epsilon) * lr))
    if epsilon == 0.0:
        gaps.append(gap)
        costs.append(lr * steps)
show(plots.flip_cost(gaps, costs, np.linspace(0.0, 20.0, 50)), "flip_cost")

# %% [markdown]
# For two classes and small steps the time $t = \eta n$ can be had exactly. With
# $p_y - p_{y'} = 2p_y - 1$ and $p_y = 1/(1 + e^{-D})$ the flow is $\dot D = -2/(1 + e^{-D})$, hence
# $(1 + e^{-D})\,\dot D = -2$; integrate from $G$ down to 0:
#
# $$T = \tfrac12\,\bigl(G + 1 - e^{-G}\bigr).$$
#
# | $G$ | $K=2$ | $K=10$ | $K=1000$ |
# |---|---|---|---|
# | 1 | 0.816060 | 0.927521 | 0.999004 |
# | 4.51086 | 2.749935 | 2.929804 | 4.267983 |
# | 10 | 5.499977 | 5.517373 | 6.366160 |
# | 20 | 10.5 | 10.500121 | 10.514852 |
#
# The columns for more classes come from following the flow with a Runge-Kutta method. All of them
# are $G/2$ and a little: **unlearning is linear in the gap**.


# %%
def flow_time(gap, num_classes, step=0.002):
    """Follow the flow of (z_y, z_y') above the other logits until both are equal."""

    def speed(state):
        old, new = np.exp(state)
        total = old + new + num_classes - 2
        return np.array([(1.0 - old) / total, 1.0 + (1.0 - new) / total])

    state, time = np.array([gap, 0.0]), 0.0
    while True:
        k1 = speed(state)
        k2 = speed(state + step / 2 * k1)
        k3 = speed(state + step / 2 * k2)
        k4 = speed(state + step * k3)
        after = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        before_gap, after_gap = state[0] - state[1], after[0] - after[1]
        if after_gap <= 0:
            return time + step * before_gap / (before_gap - after_gap)
        state, time = after, time + step


printed = {
    1.0: (0.816060, 0.927521, 0.999004),
    math.log(91): (2.749935, 2.929804, 4.267983),
    10.0: (5.499977, 5.517373, 6.366160),
    20.0: (10.5, 10.500121, 10.514852),
}
for gap, row in printed.items():
    assert abs((gap + 1 - math.exp(-gap)) / 2 - row[0]) < 1e-4
    for num_classes, value in zip((2, 10, 1000), row, strict=True):
        assert abs(flow_time(gap, num_classes) - value) < 1e-4
print("the table stands")

# %% [markdown]
# ## Learning is logarithmic, unlearning linear in it
#
# Now put the two halves together. Train free logits for $n$ steps ($K = 10$, $\eta = 0.1$), then
# change the label and count. Once with one-hot targets and once with smoothing of 0.1, both before
# and after the change.
#
# One-hot flips after 28, 40, 51 and 63 steps; smoothed after 28, 32, 32 and 32. The smoothed gap
# stopped at $\log 91 = 4.51$ (chapter 12 will say why), and so did the price.


# %%
def train_gap(steps, label_smoothing, num_classes=10, lr=0.1):
    """Gap after ``steps`` of descent from equal logits; one number is enough to follow."""
    gap = 0.0
    for _ in range(steps):
        up = math.exp(gap)
        gap += lr * ((1 - label_smoothing) - (up - 1) / (up + num_classes - 1))
    return gap


check = np.zeros(10)
for _ in range(1000):
    check -= 0.1 * ts.cross_entropy_gradient(check, 0, label_smoothing=0.1)
assert abs(check[0] - check[1] - train_gap(1000, 0.1)) < 1e-10

lengths = (100, 1000, 10_000, 100_000)
flips = {}
for epsilon, expected in ((0.0, (28, 40, 51, 63)), (0.1, (28, 32, 32, 32))):
    flips[epsilon] = []
    for steps, value in zip(lengths, expected, strict=True):
        start = np.zeros(10)
        start[0] = train_gap(steps, epsilon)
        flips[epsilon].append(steps_to_flip(start, 1, 0.1, epsilon))
        print(
            f"smoothing {epsilon}, {steps:6} steps: gap {start[0]:6.3f}, "
            f"unlearnt in {flips[epsilon][-1]}"
        )
        assert abs(flips[epsilon][-1] - value) <= 1
show(plots.flip_after_training(lengths, flips[0.0], flips[0.1]), "flip_after_training")

# %% [markdown]
# So the claim is real, and look at its size: a hundred thousand steps of training are undone by 63.
# The gap grows with the logarithm of the training time, and only this logarithm has to be paid
# back.
#
# A word on the criterion. "The largest logit belongs to the new label" is a fair question to both.
# "The new label has a probability of 0.9" would not be: the smoothed target itself is 0.91, and the
# last bit of the way to a target is always slow.

# %%
for epsilon in (0.0, 0.1):
    logits = np.zeros(10)
    logits[0] = train_gap(10_000, epsilon)
    steps = 0
    while ts.softmax(logits).data[1] < 0.9:
        logits -= 0.1 * ts.cross_entropy_gradient(logits, 1, label_smoothing=epsilon)
        steps += 1
    print(f"smoothing {epsilon}: {steps} steps until the new label has p = 0.9")
    assert abs(steps - {0.0: 110, 0.1: 251}[epsilon]) <= 2

# %% [markdown]
# ## Bounded is slow; vanishing is stuck
#
# Is a bounded gradient so bad? Compare with a loss whose gradient is not merely bounded but *dies*
# where the model is confidently wrong. Take one logit $a$, target 0, probability
# $p = 1/(1 + e^{-a})$. The cross-entropy has the slope $p$, close to 1 when the model is wrong. The
# squared error $p^2/2$ has the slope $p \cdot p(1-p)$, and $1 - p$ is tiny. Starting at $a = G$,
# the times until $p = 1/2$ are
#
# $$T_\text{CE} = G + 1 - e^{-G}, \qquad
# T_\text{SE} = e^G - 1 + 3G + 3(1 - e^{-G}) + \tfrac12 (1 - e^{-2G}).$$
#
# At $G = 10$ that is 11 against 22059. Bounded from above is harmless compared with vanishing: it
# is one reason why cross-entropy is used at all.


# %%
def time_cross_entropy(gap):
    return gap - np.expm1(-gap)


def time_squared_error(gap):
    return np.expm1(gap) + 3 * gap - 3 * np.expm1(-gap) - np.expm1(-2 * gap) / 2


def numerical_time(slope, gap, pieces=200_000):
    """Integrate da / slope(a) from 0 to ``gap`` by the midpoint rule."""
    middles = (np.arange(pieces) + 0.5) * gap / pieces
    prob = 1.0 / (1.0 + np.exp(-middles))
    return float((1.0 / slope(prob)).sum() * gap / pieces)


for gap in (2.0, 5.0, 10.0):
    by_sum = numerical_time(lambda p: p, gap), numerical_time(lambda p: p * p * (1 - p), gap)
    assert abs(by_sum[0] / time_cross_entropy(gap) - 1) < 1e-6
    assert abs(by_sum[1] / time_squared_error(gap) - 1) < 1e-6
assert abs(time_cross_entropy(10.0) - 11) < 1e-3 and abs(time_squared_error(10.0) - 22059) < 1
assert time_squared_error(10.0) / time_cross_entropy(10.0) > 1000
grid = np.linspace(0.5, 15.0, 60)
show(
    plots.bounded_or_vanishing(
        grid,
        {
            "cross-entropy: slope p": time_cross_entropy(grid),
            "squared error: slope p p (1 - p)": time_squared_error(grid),
        },
    ),
    "bounded_or_vanishing",
)

# %% [markdown]
# ## Bounded, but in which units?
#
# The entries of $p - q$ never exceed 1, and their Euclidean length never exceeds $\sqrt 2$. But a
# network does not learn logits, it learns weights. For one linear layer $z = W x$ the chain rule
# gives $\partial L/\partial W = (p - q)\,x^\top$, whose size is
# $\lVert p - q\rVert\,\lVert x\rVert$. Feed the layer an input ten times as large and the step is
# ten times as large; the bound 1 holds for logits only.

# %%
layer = nn.Linear(20, 10, rng=np.random.default_rng(0))
x = np.random.default_rng(1).normal(size=20).astype(np.float32)
sizes = {}
for scale in (1.0, 10.0):
    layer.weight.data[...] = 0.0  # the same logits, and so the same p - q, for both
    layer.zero_grad()
    logits = layer(ts.Tensor(np.float32(scale) * x[None]))
    ts.cross_entropy(logits, [0]).backward()
    miss = ts.softmax(logits).data[0] - np.eye(10)[0]
    sizes[scale] = np.linalg.norm(layer.weight.grad)
    assert abs(sizes[scale] / (np.linalg.norm(miss) * scale * np.linalg.norm(x)) - 1) < 1e-5
    assert np.linalg.norm(miss) <= math.sqrt(2)
assert abs(sizes[10.0] / sizes[1.0] - 10.0) < 1e-4
print(f"size of the weight gradient: {sizes[1.0]:.3f}, with ten times the input {sizes[10.0]:.3f}")
record(
    "B11",
    "holds under a condition",
    f"with |p - q| = {np.linalg.norm(miss):.3f} <= sqrt 2, one layer's weight gradient has size "
    f"{sizes[1.0]:.2f} for one input and {sizes[10.0]:.1f} for ten times that input",
    condition="steps of the logits are bounded; steps of the weights scale with the layer's input",
)

# %% [markdown]
# ## One layer on fixed features
#
# Next, a linear classifier on pictures: 100 drawings of 12 x 12 grey pixels in ten classes, each
# pixel standardised, each picture scaled to length 1. Train with full-batch gradient descent for
# 100, 1000 and 10 000 steps, then rename every class, $y \to y + 1$ (and 9 to 0), and count the
# steps until half of the pictures have their new label, and until nine in ten have.
#
# With fixed features, moving the weights moves the logits in a fixed proportion, so the free-logit
# law should show: one-hot pays more and more, smoothed settles. Three seeds draw three sets of
# pictures.


# %%
def fixed_features(seed):
    data = load_drawn(per_class=10, size=12, grey=True, variation=0.5, seed=seed)
    pixels = data.images.reshape(100, -1) / 255.0
    pixels = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    return np.c_[pixels, np.full(100, 0.1)], data.targets  # the last column is the bias


def relearning(features, targets, label_smoothing, lr=8.0):
    """Steps to 50 % and to 90 % on renamed classes, after 100, 1000 and 10 000 of training."""

    def step(weight, labels):
        grad = ts.cross_entropy_gradient(features @ weight, labels, label_smoothing=label_smoothing)
        return weight - lr * features.T @ grad

    weight, done, found = np.zeros((features.shape[1], 10)), 0, []
    renamed = (targets + 1) % 10
    for stop in (100, 1000, 10_000):
        for _ in range(stop - done):
            weight = step(weight, targets)
        done = stop
        moved, count, half, most = weight, 0, None, None
        while most is None:
            moved = step(moved, renamed)
            count += 1
            share = ((features @ moved).argmax(axis=1) == renamed).mean()
            half = count if half is None and share >= 0.5 else half
            most = count if share >= 0.9 else None
        found.append((half, most, metrics.logit_gap(features @ weight, targets)))
    return found


heads = {0.0: [], 0.1: []}
for seed in range(3):
    features, targets = fixed_features(seed)
    for epsilon in heads:
        heads[epsilon].append(relearning(features, targets, epsilon))
heads = {epsilon: np.array(found) for epsilon, found in heads.items()}  # seed, length, measure
for i, stop in enumerate((100, 1000, 10_000)):
    for epsilon, found in heads.items():
        print(
            f"{stop:6} steps, smoothing {epsilon}: gap {found[:, i, 2].mean():5.2f}, "
            f"half after {found[:, i, 0].astype(int)}, 90 % after {found[:, i, 1].astype(int)}"
        )
head_ratio = heads[0.0][:, 2, 0] / heads[0.1][:, 2, 0]
head_ratio_most = heads[0.0][:, 2, 1] / heads[0.1][:, 2, 1]
print("one-hot / smoothed after 10 000 steps, half:", head_ratio.round(2))
print("one-hot / smoothed after 10 000 steps, 90 %:", head_ratio_most.round(2))
assert head_ratio.min() > 1.2 and head_ratio.mean() > 1.4
assert (heads[0.0][:, 2, 0] > 1.2 * heads[0.0][:, 1, 0]).all()  # one-hot keeps getting slower
growth = heads[0.1][:, 2, 0].mean() / heads[0.1][:, 1, 0].mean()
assert growth < heads[0.0][:, 2, 0].mean() / heads[0.0][:, 1, 0].mean()
assert 1.05 < head_ratio_most.min() and head_ratio_most.max() < 1.4 < head_ratio.mean()
settled, slower = heads[0.1][:, 2] / heads[0.1][:, 1], heads[0.1][:, 2, 1] / heads[0.1][:, 1, 1]
assert settled[:, 2].mean() < 1.02 and (slower > 1.2).all()

# %% [markdown]
# So here the paper is right, though not as clearly as for free logits. Half of the pictures take
# the one-hot head much longer to relearn, nine in ten only a little longer. And the smoothed head
# gets slower, too: its gap has settled after 1000 steps, but after 10 000 it takes more than a
# fifth longer to nine in ten.
#
# The paper's assumption is that a step of the weights is worth a fixed step of the logits. One
# layer on fixed features grants it.
#
# ## A deep network
#
# Now three layers, on 1000 drawings: 144 inputs, two hidden layers of 64 with ReLU, 10 logits.
# Train for 60 epochs, one-hot or smoothed; rename the classes; go on with the same loss and a
# learning rate of 0.02, and count the steps as before. For comparison, a network with fresh
# weights. Five seeds.
#
# In a deep network a step of the weights is *not* worth a fixed step of the logits. How much it is
# worth can be measured: let $\theta$ be all the weights in one long row and $D = z_y - z_{y'}$. A
# small step along the gradient of $D$ changes $D$ by $\eta\,\lVert\nabla_\theta D\rVert^2$. Call
# $\kappa = \lVert\nabla_\theta D\rVert^2$ the *leverage* of the weights on the gap (it is a
# diagonal entry of what is known as the neural tangent kernel). On free logits it is 2, always.
# Here it is whatever training has made of it.

# %%
train_set = load_drawn(per_class=100, size=12, grey=True, variation=0.5)
images = (train_set.images.reshape(1000, -1).astype(np.float32) / 255.0 - 0.5) * 4.0
targets = train_set.targets
renamed = (targets + 1) % 10


def make_network(seed):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Linear(144, 64, rng=rng),
        nn.ReLU(),
        nn.Linear(64, 64, rng=rng),
        nn.ReLU(),
        nn.Linear(64, 10, rng=rng),
    )


def batches(seed, epochs):
    """Row numbers of batches of 50, shuffled anew in every epoch."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        yield from rng.permutation(len(images)).reshape(-1, 50)


def take_step(model, optimiser, rows, labels, label_smoothing):
    optimiser.zero_grad()
    loss = ts.cross_entropy(
        model(ts.Tensor(images[rows])), labels[rows], label_smoothing=label_smoothing
    )
    loss.backward()
    optimiser.step()


@ts.no_grad()
def logits_of(model):
    return model(ts.Tensor(images)).data


def leverage(model, rows):
    """Mean squared size of the gradient of z_y - z_y' with respect to all weights."""
    total = 0.0
    for row in rows:
        model.zero_grad()
        logits = model(ts.Tensor(images[row : row + 1]))
        (logits[0, int(targets[row])] - logits[0, int(renamed[row])]).backward()
        total += sum(float((p.grad.astype(np.float64) ** 2).sum()) for p in model.parameters())
    return total / len(rows)


def steps_to_relearn(model, seed, label_smoothing):
    """Return steps until 50 % and until 90 % of the renamed labels are learnt."""
    optimiser = optim.SGD(model.parameters(), lr=0.02)
    half = None
    for step, rows in enumerate(batches(seed, 100), start=1):
        take_step(model, optimiser, rows, renamed, label_smoothing)
        if step % 5 == 0:
            right = (logits_of(model).argmax(axis=1) == renamed).mean()
            half = step if half is None and right >= 0.5 else half
            if right >= 0.9:
                return half, step
    raise AssertionError("the network did not learn its new labels")


names = ("one-hot", "smoothed", "fresh")
found = {name: [] for name in names}
for seed in range(5):
    for name, epsilon in (("one-hot", 0.0), ("smoothed", 0.1), ("fresh", 0.0)):
        model = make_network(seed)
        optimiser = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        if name != "fresh":
            for rows in batches(seed + 100, 60):
                take_step(model, optimiser, rows, targets, epsilon)
        logits = logits_of(model)
        rows = np.arange(1000)
        gap = float((logits[rows, targets] - logits[rows, renamed]).mean())
        confidence = float(metrics.softmax(logits).max(axis=1).mean())
        kappa = leverage(model, range(0, 1000, 25))
        found[name].append((gap, kappa, confidence, *steps_to_relearn(model, seed + 200, epsilon)))
found = {name: np.array(rows) for name, rows in found.items()}
print("            gap   leverage  gap/leverage  confidence   steps to 50 % (seeds)   to 90 %")
for name, rows in found.items():
    gap, kappa, confidence, half, most = rows.mean(axis=0)
    print(
        f"{name:9} {gap:6.2f} {kappa:10.0f} {gap / kappa:13.4f} {confidence:11.3f}   "
        f"{half:5.0f} {rows[:, 3].astype(int)}   {most:5.0f}"
    )

# %%
one_hot, smoothed, fresh = (found[name] for name in names)
assert (one_hot[:, 0] > 3 * smoothed[:, 0]).all()  # the gap is several times as large ...
assert (one_hot[:, 1] > 3 * smoothed[:, 1]).all()  # ... and so is the leverage
assert one_hot[:, 3].mean() <= smoothed[:, 3].mean()  # one-hot is not the slower one
assert one_hot[:, 4].mean() <= smoothed[:, 4].mean()
gap_ratio = one_hot[:, 0].mean() / smoothed[:, 0].mean()
per_leverage = (one_hot[:, 0] / one_hot[:, 1]).mean() / (smoothed[:, 0] / smoothed[:, 1]).mean()
print(f"one-hot / smoothed: gap {gap_ratio:.2f}, gap per leverage {per_leverage:.2f}")
assert 4.0 < gap_ratio < 5.5 and 1.1 < per_leverage < 1.45
assert fresh[:, 3].mean() > 1.3 * max(one_hot[:, 3].mean(), smoothed[:, 3].mean())
panels = {
    "Gap to undo": [rows[:, 0] for rows in (one_hot, smoothed)],
    "Leverage on the gap": [rows[:, 1] for rows in (one_hot, smoothed)],
    "Steps to relearn half": [rows[:, 3] for rows in (one_hot, smoothed)],
}
units = dict(zip(panels, ("logit units", "per unit of learning rate", "steps"), strict=True))
show(plots.compare_trainings(names[:2], panels, units), "relabelled_networks")

# %% [markdown]
# The one-hot network has almost five times the gap to undo. It does not take longer. What grew
# along with the gap is the leverage: large gaps are made by large weights, and with large weights
# each step moves the logits further. Gap divided by leverage, to which the number of steps should
# be proportional, is not five times as large but about a quarter larger. That takes away most of
# the handicap. It does not tell why the one-hot network was even the quicker one: the leverage is
# that of the first step, and it changes on the way.
#
# And both networks learn the new names faster than a fresh one: whatever confidence costs, features
# that were learnt before are worth more.
#
# So the sentence holds where its silent assumption holds, that a step is worth the same in a
# confident model as in any other. In a deep network it is not, and there the conclusion was
# reversed in this experiment. The experiment is small; it shows that the sentence is not a law, not
# that smoothing is useless. Nor does it test transfer learning, of which the book page speaks: new
# names for the same pictures are not another task.

# %%
half = one_hot[:, 3].mean(), smoothed[:, 3].mean(), fresh[:, 3].mean()
record(
    "P14",
    "holds under a condition",
    f"free logits, 100000 steps of training: {flips[0.0][-1]} steps to unlearn against "
    f"{flips[0.1][-1]}; linear head: {head_ratio.mean():.2f} times as long to half of the "
    f"pictures, {head_ratio_most.mean():.2f} times to 90 %; three layers: {half[0]:.0f} steps "
    f"against {half[1]:.0f}, reversed",
    condition="a step of the weights is worth a fixed step of the logits (fixed features)",
)
record(
    "P15",
    "holds under a condition",
    f"mean confidence {one_hot[:, 2].mean():.3f} against {smoothed[:, 2].mean():.3f}; on fixed "
    f"features the surer model is the slower one, in a deep one it is not ({half[0]:.0f} against "
    f"{half[1]:.0f} steps)",
    condition="fixed features; in a deep network confidence also raises the leverage of a step",
)
record(
    "B12",
    "not tested here",
    "no other task was learnt, which is what transfer means; new labels for the same pictures took "
    f"one-hot {half[0]:.0f} steps to half of them, smoothed {half[1]:.0f}, fresh weights "
    f"{half[2]:.0f} (5 seeds)",
)

# %% [markdown]
# ## What you have learnt
#
# - A bounded gradient makes unlearning linear in the gap: between $G/(2\eta)$ and $G/\eta$ steps.
# - The gap is logarithmic in training time, so the price of long training is real and small.
# - Bounded is not the problem that vanishing is: squared error on the probability takes $e^G$.
# - The bound holds for logits. In weights, the input's size comes in, and in a deep network the
#   leverage that grew with the gap: there, one-hot training was not slower to adapt.
#
# ## Questions
#
# 1. A one-hot model has a gap of 12 and the learning rate on its logits is 0.1. How many steps does
#    a change of label take at least, and at most?
#
# :::{dropdown} Answer
# More than $12/0.2 = 60$ and at most $12/0.1 = 120$. Two confident classes come out near the lower
# end: $(12 + 1)/2/0.1 = 65$.
# :::
#
# 2. Why is the lower bound the one that is nearly reached?
#
# :::{dropdown} Answer
# While the old class is very likely, $p_y - p_{y'}$ is close to 1, so each step moves the
# difference by almost $2\eta$.
# :::
#
# 3. Momentum of 0.9 multiplies the effective learning rate by ten. What does it do to the bounds?
#
# :::{dropdown} Answer
# It divides them by about ten, once the velocity has built up: the bound is on $\eta$ times steps.
# :::
#
# 4. The deep network adapted quickly in spite of its gap. Which measured number explains it?
#
# :::{dropdown} Answer
# Its leverage: the squared size of the gradient of the gap with respect to the weights was several
# times that of the smoothed network. It explains most, not all: gap divided by leverage was still
# about a quarter larger, and yet the network was the quicker one.
# :::
#
# ## Exercises
#
# Fill in `chapters/exercises/09.py` and run `tinysmooth chapters check 9`.
#
# 1. `steps_to_flip`: count the steps of a change of mind.
# 2. `flip_bounds`: the two bounds, with smoothing.
# 3. `unlearning_time`: the exact time for two classes.
#
# ## Sources
#
# - C. Szegedy and others, *Rethinking the Inception Architecture for Computer Vision*, 2016, arXiv
#   1512.00567, section 7.
# - A. Jacot, F. Gabriel, C. Hongler, *Neural Tangent Kernel: Convergence and Generalization in
#   Neural Networks*, 2018: why the squared gradient of an output is the rate at which it learns.
