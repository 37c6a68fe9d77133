# %% [markdown]
# # 10 Bumpy functions and one pixel
#
# **Do large weights make predictions fragile, so that one pixel could overturn them?**
#
# The book explains the paper's worry about generalisation with a picture: large logits need large
# weights, large weights make a bumpy function, and on a bumpy function a single pixel can change
# everything. Each of the three steps can be measured: the first holds for bounded inputs, the
# second at the steepest places, the third for the probability and not for the decision.
#
# You need chapter 07 (the gap) and chapter 04 (networks). Runs in about fifteen seconds.

# %%
import numpy as np

import tinysmooth as ts
from tinysmooth import metrics, nn, optim, plots
from tinysmooth.chapters import record, show
from tinysmooth.data import load_drawn

# %% [markdown]
# ## Three networks
#
# A thousand drawings of 12 x 12 grey pixels in ten classes to learn from, five hundred new ones to
# measure on. The network has three layers *without biases*, $z = W_3\,r(W_2\,r(W_1 x))$, where $r$
# is ReLU: so the weights are all there is, and a bound on them is a bound on everything. It is
# trained in three ways: with one-hot targets; with targets smoothed by 0.1 (0.91 for the right
# class and 0.01 for each other one; chapter 11 says why); and with one-hot targets and a weight
# decay of 0.001, the older remedy against large weights. Three seeds of each. At some of the epochs
# the losses are written down.


# %%
def drawings(split, per_class):
    data = load_drawn(per_class=per_class, size=12, split=split, grey=True, variation=0.5)
    flat = data.images.reshape(len(data.images), -1).astype(np.float32)
    return (flat / 255.0 - 0.5) * 4.0, data.targets, data


images, targets, _ = drawings("train", 100)
new_images, new_targets, new_data = drawings("val", 50)


def make_network(seed):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Linear(144, 64, bias=False, rng=rng),
        nn.ReLU(),
        nn.Linear(64, 64, bias=False, rng=rng),
        nn.ReLU(),
        nn.Linear(64, 10, bias=False, rng=rng),
    )


@ts.no_grad()
def logits_of(model, x):
    return model(ts.Tensor(x)).data


EPOCHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 60)


def train(seed, label_smoothing, weight_decay):
    """Return the weights in float64, and what was seen on the way."""
    model = make_network(seed)
    optimiser = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=weight_decay)
    rng, history = np.random.default_rng(seed + 100), []
    for epoch in range(1, EPOCHS[-1] + 1):
        for rows in rng.permutation(len(images)).reshape(-1, 50):
            optimiser.zero_grad()
            logits = model(ts.Tensor(images[rows]))
            ts.cross_entropy(logits, targets[rows], label_smoothing=label_smoothing).backward()
            optimiser.step()
        if epoch in EPOCHS:
            seen, unseen = logits_of(model, images), logits_of(model, new_images)
            history.append(
                (
                    metrics.negative_log_likelihood(seen, targets),
                    metrics.negative_log_likelihood(unseen, new_targets),
                    metrics.accuracy(unseen, new_targets),
                    metrics.accuracy(seen, targets),
                )
            )
    return [p.data.astype(np.float64) for p in model.parameters()], np.array(history)


assert abs(ts.smooth_targets(0, 10, 0.1)[0] - 0.91) < 1e-15
ways = {"one-hot": (0.0, 0.0), "smoothed": (0.1, 0.0), "decay": (0.0, 1e-3)}
networks = {name: [train(seed, *settings) for seed in range(3)] for name, settings in ways.items()}

# %% [markdown]
# ## Certain about everything, and no better for it
#
# First the sentence itself: that a model which gives every training label its full probability is
# not guaranteed to generalise. Watch the plain cross-entropy of the one-hot networks. On the
# training pictures it goes to 0. On new pictures it falls, turns, and rises, while the accuracy
# there stays where it is: the answers do not change any more, only the certainty, and the wrong
# ones become expensive.

# %%
curves = {
    ways[name][0]: np.mean([history for _, history in networks[name]], axis=0)
    for name in ("one-hot", "smoothed")
}
one_hot_curve = curves[0.0]
best = one_hot_curve[:, 1].min()
last_train, last_new, last_accuracy, last_train_accuracy = one_hot_curve[-1]
plateau = one_hot_curve[EPOCHS.index(20) :, 2]
print(f"one-hot, training: loss {last_train:.4f}, accuracy {last_train_accuracy:.3f}")
print(f"one-hot, new pictures: loss at best {best:.3f}, at last {last_new:.3f}")
print(f"one-hot, new pictures: accuracy {last_accuracy:.3f}")
assert last_train < 0.02 and last_train_accuracy > 0.995
assert last_new > 1.2 * best and np.ptp(plateau) < 0.05
ends = {name: np.mean([history[-1] for _, history in networks[name]], axis=0) for name in ways}
for name, (_, new_loss, new_accuracy, _) in ends.items():
    print(f"{name}, new pictures: loss {new_loss:.3f}, accuracy {new_accuracy:.3f}")
assert max(ends["smoothed"][1], ends["decay"][1]) < 0.75 * ends["one-hot"][1]
assert abs(ends["decay"][2] - ends["one-hot"][2]) < 0.015
assert ends["smoothed"][2] < ends["one-hot"][2] - 0.01
show(
    plots.certainty_and_generalisation(
        EPOCHS,
        {key: curve[:, 0] for key, curve in curves.items()},
        {key: curve[:, 1] for key, curve in curves.items()},
        {key: curve[:, 2] for key, curve in curves.items()},
    ),
    "certainty_and_generalisation",
)
record(
    "P12",
    "holds",
    f"training loss {last_train:.4f} and {100 * last_train_accuracy:.1f} % right, new pictures "
    f"{100 * last_accuracy:.1f} % right with a loss that rose from {best:.2f} to {last_new:.2f}",
)

# %% [markdown]
# Both remedies end with a loss on new pictures that is at least a quarter smaller than after
# one-hot training. The older one costs no accuracy here; smoothing costs a point or more.
#
# ## Step one: large gaps need large weights
#
# How far can a matrix stretch a vector? At most by its largest *singular value* $\sigma$. ReLU
# stretches nothing. So with $\sigma_1, \sigma_2, \sigma_3$ for the three layers,
# $\lVert z \rVert \le \sigma_1\sigma_2\sigma_3 \lVert x \rVert$, and as two entries of a vector
# differ by at most $\sqrt 2$ times its length,
#
# $$G \le \sqrt 2\;\sigma_1\sigma_2\sigma_3\,\lVert x\rVert .$$
#
# A large gap therefore needs a large product. The converse does not follow: weights may be large in
# directions that do nothing, and a gap may grow because the *input* grows.


# %%
def forward(weights, x):
    """Logits, and which hidden units are on; plain NumPy in float64."""
    first = x @ weights[0].T
    second = np.maximum(first, 0) @ weights[1].T
    return np.maximum(second, 0) @ weights[2].T, first > 0, second > 0


def spectral_product(weights):
    return float(np.prod([np.linalg.norm(weight, ord=2) for weight in weights]))


x64 = new_images.astype(np.float64)
lengths = np.linalg.norm(x64, axis=1)
tightest = 0.0
for runs in networks.values():
    for weights, _ in runs:
        logits, _, _ = forward(weights, x64)
        spread = logits.max(axis=1) - logits.min(axis=1)
        tightest = max(
            tightest, (spread / (np.sqrt(2) * spectral_product(weights) * lengths)).max()
        )
print(f"the spread of the logits reaches at most {tightest:.2f} of its bound")
assert tightest < 0.2  # a bound is at most 1; this one is used to less than a fifth

rows = np.arange(len(x64))
logits, _, _ = forward(networks["one-hot"][0][0], x64)
tenfold, _, _ = forward(networks["one-hot"][0][0], 10 * x64)
assert np.abs(tenfold - 10 * logits).max() < 1e-8  # same weights, ten times the gap

# %% [markdown]
# ## Step two: large weights make a bumpy function
#
# "Bumpy" should mean a steep slope: a small step of the input changes the output much. Which
# output? There are two candidates. The slope of the *gap* between the two largest logits; and the
# slope of the top *probability*,
#
# $$\nabla_x\,p_y = p_y\Bigl(\nabla_x z_y - \sum_k p_k \nabla_x z_k\Bigr),$$
#
# which dies out where the model is sure. Within a region where the same hidden units are on, the
# network is a matrix, $J = W_3 D_2 W_2 D_1 W_1$ (each $D$ a diagonal of zeros and ones), and row
# $k$ of $J$ is $\nabla_x z_k$. First make sure that this is what the library's `backward` gives.


# %%
def jacobians(weights, on_first, on_second):
    """Gradient of every logit with respect to the input, (N, K, D)."""
    inner = np.einsum("kj,nj,ji->nki", weights[2], on_second.astype(float), weights[1])
    return (inner * on_first[:, None, :]) @ weights[0]


weights = networks["one-hot"][0][0]
_, on_first, on_second = forward(weights, x64[:1])
model = make_network(0)
for parameter, value in zip(model.parameters(), weights, strict=True):
    parameter.data[...] = value
x = ts.Tensor(new_images[:1], requires_grad=True)
out = model(x)
(out[0, 3] - out[0, 5]).backward()
by_hand = jacobians(weights, on_first, on_second)[0]
assert np.abs(x.grad[0] - (by_hand[3] - by_hand[5])).max() < 1e-4 * np.abs(by_hand).max()


def bumpiness(weights):
    """Return the measurements of one network on the new pictures."""
    logits, on_first, on_second = forward(weights, x64)
    slopes = jacobians(weights, on_first, on_second)
    order = np.argsort(-logits, axis=1)
    top, runner_up = order[:, 0], order[:, 1]
    gap = logits[rows, top] - logits[rows, runner_up]
    gap_slope = np.linalg.norm(slopes[rows, top] - slopes[rows, runner_up], axis=1)
    probs = metrics.softmax(logits)
    mean_slope = np.einsum("nk,nki->ni", probs, slopes)
    prob_slope = probs[rows, top][:, None] * (slopes[rows, top] - mean_slope)
    prob_slope = np.linalg.norm(prob_slope, axis=1)
    return {
        "product": spectral_product(weights),
        "gap slope": gap_slope.mean(),
        "p slope": prob_slope.mean(),
        "p slope max": prob_slope.max(),
        "distance": np.median(gap / gap_slope),
    }


measured = {name: [bumpiness(w) for w, _ in runs] for name, runs in networks.items()}
table = {
    key: np.array([[run[key] for run in measured[name]] for name in ways])
    for key in measured["one-hot"][0]
}
for key, values in table.items():
    row = "  ".join(f"{name} {v.mean():7.3f}" for name, v in zip(ways, values, strict=True))
    print(f"{key:12} {row}")

# %% [markdown]
# Smoothed networks have a smaller product of singular values, a gap that rises less than half as
# steeply, and a far smaller steepest slope of the probability. So "bumpy" is real, and smoothing
# reduces it.
#
# Two numbers go the other way. The *mean* slope of the probability is larger with smoothing, not
# smaller: a one-hot network is flat almost everywhere (where it is sure) and very steep at a few
# places; a smoothed one is moderate everywhere. And the distance to the nearest boundary, the gap
# divided by its slope, is shorter: the slope of the gap shrank, but the gap itself shrank more.

# %%
ratio = {key: values[1] / values[0] for key, values in table.items()}  # smoothed / one-hot, by seed
print({key: value.round(2) for key, value in ratio.items()})
assert (ratio["product"] < 0.65).all()
assert (ratio["gap slope"] < 0.5).all()
assert (ratio["p slope max"] < 0.7).all()
assert (ratio["p slope"] > 1.1).all()
assert (ratio["distance"] < 0.9).all()
record(
    "B6",
    "holds under a condition",
    f"gap <= sqrt 2 sigma_1 sigma_2 sigma_3 |x| always ({tightest:.2f} of it is used at most); "
    f"the product is {table['product'][0].mean():.0f} for one-hot and "
    f"{table['product'][1].mean():.0f} for smoothed networks",
    condition="inputs of bounded size; ten times the input gives ten times the gap with the same "
    "weights",
)

# %% [markdown]
# ## A knob that changes only the certainty
#
# Multiply the last layer by $c$. All logits are multiplied by $c$: which is the largest stays as it
# was, for every picture, and so do the decision boundary and the distance to it. Only the
# probabilities change. The largest slope of the probability rises with $c$, and the best
# *temperature* (the number by which to divide the logits so that the plain loss on given labels is
# smallest) is exactly $c$ times as large.
#
# So weights can be made as large as you like without moving one decision. The bump is in the
# probability.

# %%
weights = networks["one-hot"][0][0]
base = bumpiness(weights)
base_logits, _, _ = forward(weights, x64)
base_temperature = metrics.fit_temperature(base_logits, new_targets)
print("    c   accuracy   median distance   steepest p   best temperature")
for factor in (0.1, 0.5, 1.0, 2.0, 5.0, 10.0):
    scaled = [*weights[:2], factor * weights[2]]
    logits, _, _ = forward(scaled, x64)
    here = bumpiness(scaled)
    assert (logits.argmax(axis=1) == base_logits.argmax(axis=1)).all()
    assert abs(here["distance"] / base["distance"] - 1.0) < 1e-9
    temperature = metrics.fit_temperature(logits, new_targets, high=100.0)
    assert abs(temperature / (factor * base_temperature) - 1.0) < 1e-3
    print(
        f"{factor:5.1f} {(logits.argmax(axis=1) == new_targets).mean():9.3f} "
        f"{here['distance']:16.4f} {here['p slope max']:12.2f} {temperature:16.2f}"
    )

# %% [markdown]
# Here is one picture, moved along the steepest direction through its nearest boundary. All three
# curves cross one half at the same place. At the boundary of two classes the slope is a quarter of
# the gap's slope, so it doubles with $c$.

# %%
logits, on_first, on_second = forward(weights, x64)
order = np.argsort(-logits, axis=1)
slopes = jacobians(weights, on_first, on_second)
gap = logits[rows, order[:, 0]] - logits[rows, order[:, 1]]
direction = slopes[rows, order[:, 0]] - slopes[rows, order[:, 1]]
steep = np.linalg.norm(direction, axis=1)
pick = int(np.argsort(gap / steep)[len(rows) // 2])
first, second = order[pick, :2]
unit = -direction[pick] / steep[pick]
walk = np.linspace(-0.2, 1.2, 5601)
logits, _, _ = forward(weights, x64[pick] + walk[:, None] * unit)
difference = logits[:, first] - logits[:, second]
crossing = int(np.flatnonzero(np.diff(np.sign(difference)))[0])
near = slice(max(0, crossing - 1400), crossing + 1400)
distances = walk[near] - walk[crossing]
lines = {c: 1.0 / (1.0 + np.exp(-c * difference[near])) for c in (0.5, 1.0, 2.0)}
show(plots.probability_on_line(distances, lines), "probability_on_line")
at = crossing - near.start
steepness = {c: abs(line[at + 1] - line[at]) / (walk[1] - walk[0]) for c, line in lines.items()}
assert abs(steepness[2.0] / steepness[1.0] - 2.0) < 0.05
assert abs(steepness[0.5] / steepness[1.0] - 0.5) < 0.05

# %% [markdown]
# ## Step three: one pixel
#
# "One pixel changing a bit could change the prediction entirely." Take it literally and search
# *exhaustively*: for each of 300 new pictures, set each of the 144 pixels to black and then to
# white, 288 variants a picture. Two questions, and they are not the same one: does the predicted
# class change (a *flip*)? And how far does the probability of the predicted class fall, in the
# worst case?
#
# An exhaustive search matters here. An attack that follows gradients would flatter smoothing, which
# is known to blunt gradients without making the decision any safer.


# %%
def one_pixel(weights, pictures):
    """Return flips (N, 288) and the fall of the predicted probability (N, 288)."""
    logits, _, _ = forward(weights, pictures)
    predicted = logits.argmax(axis=1)
    probs = metrics.softmax(logits)[np.arange(len(pictures)), predicted]
    flips, falls = [], []
    hidden = pictures @ weights[0].T
    for value in (-2.0, 2.0):
        for pixel in range(pictures.shape[1]):
            # Changing one pixel moves the first layer along one column.
            first = hidden + (value - pictures[:, pixel])[:, None] * weights[0][:, pixel]
            changed = np.maximum(np.maximum(first, 0) @ weights[1].T, 0) @ weights[2].T
            flips.append(changed.argmax(axis=1) != predicted)
            after = np.exp(changed - changed.max(axis=1, keepdims=True))
            after = after[np.arange(len(pictures)), predicted] / after.sum(axis=1)
            falls.append(probs - after)
    return np.array(flips).T, np.array(falls).T


some = x64[:300]
check_flips, _ = one_pixel(weights, some[:1])
moved = np.repeat(some[:1], 288, axis=0)
moved[np.arange(144), np.arange(144)] = -2.0
moved[np.arange(144, 288), np.arange(144)] = 2.0
direct = forward(weights, moved)[0].argmax(axis=1) != forward(weights, some[:1])[0].argmax()
assert (check_flips[0] == direct).all()  # the shortcut finds what the plain search finds

attacks = {name: [one_pixel(w, some) for w, _ in runs] for name, runs in networks.items()}
flip_rate = np.array([[flips.any(axis=1).mean() for flips, _ in attacks[name]] for name in ways])
worst_fall = np.array([[falls.max(axis=1).mean() for _, falls in attacks[name]] for name in ways])
for name, flips, falls in zip(ways, flip_rate, worst_fall, strict=True):
    print(
        f"{name:8}: flippable by one pixel {flips.mean():.3f} {flips.round(3)}, "
        f"worst fall {falls.mean():.3f} {falls.round(3)}"
    )
panels = {
    "Product of singular values": table["product"],
    "Mean slope of the gap": table["gap slope"],
    "Steepest slope of p": table["p slope max"],
    "Distance to the boundary": table["distance"],
    "Worst fall of p, one pixel": worst_fall,
    "Flips by one pixel": flip_rate,
}
units = dict(
    zip(
        panels,
        (
            "sigma 1 x sigma 2 x sigma 3",
            "logit units per unit of input",
            "per unit of input",
            "median, units of input",
            "mean over pictures",
            "share of pictures",
        ),
        strict=True,
    )
)
show(plots.compare_trainings(tuple(ways), panels, units), "three_trainings")

falls = {
    name: attacks[name][0][1].reshape(300, 2, 144).max(axis=1) for name in ("one-hot", "smoothed")
}
chosen = np.flatnonzero(
    (forward(networks["one-hot"][0][0], some)[0].argmax(axis=1) == new_targets[:300])
    & (forward(networks["smoothed"][0][0], some)[0].argmax(axis=1) == new_targets[:300])
)[[2, 11, 23, 37]]
show(
    plots.worst_pixels(
        new_data.images[chosen, 0],
        {name: np.maximum(values[chosen], 0).reshape(-1, 12, 12) for name, values in falls.items()},
        [new_data.class_names[new_targets[i]] for i in chosen],
    ),
    "worst_pixels",
)

# %% [markdown]
# The pictures are tiny, the pixel is pushed to its end, and so one pixel really does overturn 70 %
# of the one-hot network's answers. But look at the smoothed one: more than 80 %, with half the
# product of singular values. What smoothing makes smaller is the *fall of probability* by the worst
# pixel, and that by about a tenth.
#
# The knob settles it. Multiply the last layer by 0.1 or by 10 and search again: the flips are the
# same, picture by picture and pixel by pixel, with weights a hundred times apart. Whether one pixel
# changes the decision has nothing to do with the size of the last layer's weights; how much
# probability it takes along has.

# %%
falls_by_factor = {}
for factor in (0.1, 1.0, 10.0):
    flips, falls = one_pixel([*weights[:2], factor * weights[2]], some)
    assert (flips == attacks["one-hot"][0][0]).all()
    falls_by_factor[factor] = falls.max(axis=1).mean()
print({factor: round(float(fall), 3) for factor, fall in falls_by_factor.items()})
assert falls_by_factor[0.1] < falls_by_factor[1.0] < falls_by_factor[10.0]

flip_one_hot, flip_smoothed, flip_decay = flip_rate.mean(axis=1)
fall_one_hot, fall_smoothed, _ = worst_fall.mean(axis=1)
assert abs(flip_one_hot - 0.70) < 0.04 and flip_smoothed > 0.8
assert (worst_fall[1] < worst_fall[0]).all()
assert 0.87 < fall_smoothed / fall_one_hot < 0.95
record(
    "B7",
    "holds under a condition",
    f"smoothed against one-hot: product of singular values x {ratio['product'].mean():.2f}, slope "
    f"of the gap x {ratio['gap slope'].mean():.2f}, steepest slope of p x "
    f"{ratio['p slope max'].mean():.2f}, but mean slope of p x {ratio['p slope'].mean():.2f}",
    condition="the weights bound the slope from above only; it is the steepest places that differ",
)
record(
    "B8",
    "holds under a condition",
    f"one pixel can flip {flip_one_hot:.2f} of the pictures for one-hot networks and "
    f"{flip_smoothed:.2f} for smoothed ones with {ratio['product'].mean():.2f} of the product of "
    "singular values, and the same flips for a last layer ten times as large; what falls is the "
    f"swing of the probability, {fall_one_hot:.2f} to {fall_smoothed:.2f}",
    condition="of the probability; how often the class changes does not follow the weights",
)

# %% [markdown]
# ## What you have learnt
#
# - Certainty about the training labels does not generalise by itself: the loss on new pictures
#   turned and rose while the accuracy stayed.
# - A large gap on bounded inputs needs a large product of singular values; that is a theorem. Large
#   weights do not need to make a large gap.
# - Smoothing lowers the product, the slope of the gap and the steepest slope of the probability. It
#   does not lower the mean slope of the probability, and it does not move the boundary away.
# - Probability and decision are two things. Scaling the last layer changes all of the one and
#   nothing of the other. Report both when you talk about robustness.
#
# ## Questions
#
# 1. A colleague halves all last-layer weights and reports that the model has become more robust.
#    What do you ask?
#
# :::{dropdown} Answer
# Whether flips were counted, or probabilities. Flips cannot have changed: all logits were halved,
# and the largest stayed the largest.
# :::
#
# 2. Why may the mean slope of the probability be *larger* for the less certain network?
#
# :::{dropdown} Answer
# Where a network is sure, $p$ is close to 1 and its slope, which has the factor $p(1-p)$ for two
# classes, close to
# 0. The smoothed network keeps $p$ near 0.9, where the factor is not small.
# :::
#
# 3. The bound on the gap is used to less than a fifth. Is it a bad bound?
#
# :::{dropdown} Answer
# It is true for every input at once, and no input stretches all three layers along their largest
# singular direction and survives two ReLUs. A worst-case bound is seldom reached by real data.
# :::
#
# 4. Why search all pixels instead of following the gradient to the most sensitive one?
#
# :::{dropdown} Answer
# The gradient describes very small changes. A pixel that goes from white to black is a large one,
# and a network with blunt gradients would look safe without being so.
# :::
#
# ## Exercises
#
# Fill in `chapters/exercises/10.py` and run `tinysmooth chapters check 10`.
#
# 1. `spectral_product`: the bound's only ingredient.
# 2. `probability_slope`: from slopes of logits to the slope of a probability.
# 3. `one_pixel_flips`: the exhaustive search.
#
# ## Sources
#
# - J. Howard, S. Gugger, *Deep Learning for Coders with fastai and PyTorch*, 2020, chapter 7: the
#   argument that is tested here.
# - C. Guo and others, *On Calibration of Modern Neural Networks*, 2017, arXiv 1706.04599:
#   temperature, and loss that rises while accuracy does not fall.
# - C. Fu, H. Chen, N. Ruan, W. Jia, *Label Smoothing and Adversarial Robustness*, 2020, arXiv
#   2009.08233: why gradient attacks flatter smoothing.
