# %% [markdown]
# # 14 Train it for real
#
# **Does anything of the argument survive in a convnet that learns from images?**
#
# Up to here most logits were free, or came from a small network. Now a convolutional network is
# trained twice on the same images, in the same order, from the same weights: once towards one-hot
# targets and once towards smoothed ones with $\varepsilon = 0.1$. Then once more from other
# weights, and once more, because a single run says little.
#
# You need gradients (chapter 03), convolutions (chapter 05), the resting gap (chapter 12) and the
# loss (chapter 13). With Imagenette on disk it uses photographs, otherwise pictures drawn by code;
# it downloads nothing. Runs in about half a minute on two cores.

# %%
import math

import numpy as np

import tinysmooth as ts
from tinysmooth import data, metrics, nn, optim, plots, training
from tinysmooth.chapters import record, show

EPSILON = 0.1
SEEDS = (0, 1, 2)
SIZE = 24
EPOCHS = 15

# %% [markdown]
# ## The images
#
# A hundred images of each of ten classes to learn from, a hundred of each to be judged by. At 24
# pixels they are small enough for a laptop and large enough to tell a church from a parachute.

# %%
try:
    source = data.Source("imagenette", data.find_imagenette())
except FileNotFoundError:
    source = data.Source("drawn")
train = data.load(source, size=SIZE, per_class=100, split="train", progress=False)
val = data.load(source, size=SIZE, per_class=100, split="val", progress=False)
print(f"{len(train.targets)} + {len(val.targets)} images. {train.description}")
assert len(train.targets) == len(val.targets) == 1000
if source.kind == "drawn":  # the photographs stay out of the book: they may not be passed on
    show(plots.examples(train.images, train.targets, train.class_names), "examples")

# %% [markdown]
# ## The network and one epoch by hand
#
# Three convolutions, each followed by batch normalisation, a ReLU and a pooling that halves the
# image; then the mean over what is left of the image, and a linear layer with ten logits.
#
# A training loop has few lines. Take a batch. Run the network, get the loss, walk back, step. Let
# the learning rate rise and fall ("one cycle"). Here they are, one epoch of them, and then the
# library's `ts.training.fit` from the same start: the weights agree to the last bit.


# %%
def build(seed):
    """Return the network with weights drawn from this seed, and the generator to go on with."""
    rng = np.random.default_rng(seed)
    layers = []
    for channels, out in ((3, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(channels, out, 3, padding=1, bias=False, rng=rng),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    head = (nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(128, 10, rng=rng))
    return nn.Sequential(*layers, *head), rng


few = (train.images[::10], train.targets[::10])  # a tenth of the images is enough for this

model, rng = build(0)
groups = training.decay_groups(model, 5e-4)
optimiser = optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
batches = data.Batches(*few, batch_size=64, shuffle=True, rng=rng)
schedule = optim.OneCycle(optimiser, 0.1, len(batches), warmup=0.3)
model.train()
for images, targets in batches:
    logits = model(ts.Tensor(images))
    loss = ts.cross_entropy(logits, targets, label_smoothing=EPSILON)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()

same, rng = build(0)
training.fit(
    same, few, epochs=1, lr=0.1, label_smoothing=EPSILON, augment=False, rng=rng, progress=False
)
by_hand, by_library = model.state_dict(), same.state_dict()
assert by_hand.keys() == by_library.keys()
assert all(np.array_equal(by_hand[name], by_library[name]) for name in by_hand)
count = sum(parameter.size for parameter in model.parameters())
print(f"{count} parameters, equal bit for bit after {len(batches)} steps")

# %% [markdown]
# ## Six runs
#
# Three seeds, each with both kinds of targets. A seed decides the first weights and the order of
# the images, so the two runs of one seed differ in the targets *only*: comparing them pair by pair
# takes most of the luck out.


# %%
def run(seed, label_smoothing):
    """Train once; return the rows of all epochs, and the logits on both sets of images."""
    model, rng = build(seed)
    rows = training.fit(
        model,
        train,
        val,
        epochs=EPOCHS,
        lr=0.1,
        label_smoothing=label_smoothing,
        augment=False,
        rng=rng,
        progress=False,
    )
    names = ("train_loss", "train_gap", "val_loss", "val_accuracy", "val_ece")
    history = {name: [getattr(row, name) for row in rows] for name in names}
    return history, training.evaluate(model, train), training.evaluate(model, val)


runs = {eps: [run(seed, eps) for seed in SEEDS] for eps in (0.0, EPSILON)}


def measure(eps, which, name):
    """Return one number a seed: ``which`` is 1 for the training images, 2 for validation."""
    return np.array([getattr(each[which], name) for each in runs[eps]])


def spread(values):
    """Return mean and range as words."""
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


for label, which in (("training", 1), ("validation", 2)):
    print(f"{label} images: mean over {len(SEEDS)} seeds (lowest to highest)")
    for name in ("accuracy", "loss", "calibration_error", "mean_gap"):
        hard, soft = measure(0.0, which, name), measure(EPSILON, which, name)
        print(f"  {name:18} one-hot {spread(hard):27} smoothed {spread(soft)}")

# %% [markdown]
# ## Curves
#
# Look at the losses first, and at a trap: the two training losses cannot be compared. The one-hot
# loss may fall to 0, the smoothed one never below $H(q')$, its floor. A smoothed loss of 0.6 is
# close to perfect; whoever takes it for a badly trained network trains on for nothing.

# %%
floor, rest = ts.loss_floor(10, EPSILON), ts.resting_gap(10, EPSILON)
assert abs(floor - 0.500288035) < 1e-9 and abs(rest - math.log(91)) < 1e-12
histories = {eps: [each[0] for each in runs[eps]] for eps in runs}
show(
    plots.compare_curves(histories[0.0], histories[EPSILON], loss_floor=floor, resting_gap=rest),
    "curves",
)
last = {eps: np.array([h["train_loss"][-1] for h in histories[eps]]) for eps in runs}
assert (last[0.0] > 0).all() and (last[EPSILON] > floor).all()
print(f"last training loss: one-hot {spread(last[0.0])}, smoothed {spread(last[EPSILON])}")
print(f"above its floor:    one-hot {spread(last[0.0])}, smoothed {spread(last[EPSILON] - floor)}")

# %% [markdown]
# ## Gaps
#
# This is where theory and network meet. Free logits with smoothed targets come to rest at a gap of
# $\log 91 \approx 4.51$ (chapter 12), one-hot targets drive the gap on (chapter 08). A network's
# logits are not free: one set of weights has to serve every image. All the same, the smoothed gaps
# gather around the value computed on paper, and the one-hot gaps are far beyond it.

# %%
gaps = {
    eps: [each[which].gaps for which in (1, 2)] for eps, each in ((e, runs[e][0]) for e in runs)
}
sets = ("training images", "validation images")
show(
    plots.compare_gaps(
        dict(zip(sets, gaps[0.0], strict=True)),
        dict(zip(sets, gaps[EPSILON], strict=True)),
        resting_gap=rest,
    ),
    "gaps",
)
hard_gap, soft_gap = measure(0.0, 1, "mean_gap"), measure(EPSILON, 1, "mean_gap")
assert (np.abs(soft_gap - rest) < 0.6).all(), soft_gap
assert (hard_gap > rest + 1.5).all(), hard_gap
record(
    "P13",
    "holds",
    f"convnet, {source.kind} images, {len(SEEDS)} seeds: after {EPOCHS} epochs of one-hot targets "
    f"the mean gap on the training images is {spread(hard_gap)}",
)
record(
    "P20",
    "holds",
    f"convnet, same seeds, smoothed: {spread(soft_gap)}, where free logits rest at {rest:.3f}",
)

# %% [markdown]
# ## What the training set is told
#
# Smoothing gives up likelihood on the training images on purpose: where the smoothed loss is
# smallest, the plain cross-entropy is $-\log 0.91 = 0.094$, not 0. That is the price the paper
# talks about.

# %%
hard_nll, soft_nll = measure(0.0, 1, "loss"), measure(EPSILON, 1, "loss")
assert (soft_nll > hard_nll).all()
assert (soft_nll > 0.5 * -math.log(0.91)).all()
record(
    "P16",
    "holds",
    f"plain cross-entropy on the training images: one-hot {spread(hard_nll)}, smoothed "
    f"{spread(soft_nll)}; {-math.log(0.91):.3f} where the smoothed loss is smallest",
)
full = np.array([np.exp(-e[1].loss) for e in runs[0.0]])
hard_accuracy = {which: measure(0.0, which, "accuracy") for which in (1, 2)}
assert (hard_accuracy[1] > 0.95).all() and (hard_accuracy[2] < hard_accuracy[1] - 0.05).all()
record(
    "P12",
    "holds",
    f"one-hot: the right label of a training image gets {spread(full)} (geometric mean) and "
    f"{spread(hard_accuracy[1])} are right, but only {spread(hard_accuracy[2])} of new images",
)

# %% [markdown]
# ## Confidence
#
# Is a prediction of 0.9 right nine times in ten? Which way smoothing moves the answer is a matter
# of arithmetic. Say the true probabilities of an image's classes are $\eta$. The smoothed loss is
# then smallest, on average over the labels, not at $\eta$ but at $(1-\varepsilon)\,\eta +
# \varepsilon/K$, whose largest entry is too small by exactly $\varepsilon\,(\max_k \eta_k - 1/K)$:
# up to 0.09.

# %%
truth = np.random.default_rng(0).dirichlet(np.ones(10), size=1000)
modest = (1 - EPSILON) * truth + EPSILON / 10
slopes = ts.cross_entropy_gradient(np.log(modest), truth, label_smoothing=EPSILON, reduction="sum")
assert np.abs(slopes).max() < 1e-12  # labels drawn from truth pull nowhere there, on average
assert abs(EPSILON * (1 - 1 / 10) - 0.09) < 1e-12
lost = truth.max(axis=1) - modest.max(axis=1)
assert np.abs(lost - EPSILON * (truth.max(axis=1) - 0.1)).max() < 1e-12
print(f"confidence lost at the best point: {lost.mean():.3f} on average, {lost.max():.3f} at most")

# %% [markdown]
# Whether that is *good* depends on where confidence was. A network that is sure and often wrong is
# helped; one whose confidence was about right is made too modest. The lines below should lie on the
# diagonal.

# %%
everything = {
    eps: (
        np.concatenate([e[2].probs for e in runs[eps]]),
        np.concatenate([e[2].targets for e in runs[eps]]),
    )
    for eps in runs
}
bins = {eps: metrics.reliability_bins(*everything[eps]) for eps in runs}
show(plots.compare_reliability(bins[0.0], bins[EPSILON]), "reliability")
over = {
    eps: np.array(
        [metrics.reliability_bins(e[2].probs, e[2].targets).overconfidence for e in runs[eps]]
    )
    for eps in runs
}
assert (over[EPSILON] < over[0.0]).all()
ece = {eps: measure(eps, 2, "calibration_error") for eps in runs}
print(f"confidence minus accuracy: one-hot {spread(over[0.0])}, smoothed {spread(over[EPSILON])}")
print(f"calibration error:         one-hot {spread(ece[0.0])}, smoothed {spread(ece[EPSILON])}")
better = "smaller" if ece[EPSILON].mean() < ece[0.0].mean() else "larger"
print(f"here the calibration error is {better} with smoothing")
record(
    "P15",
    "holds under a condition",
    f"confidence minus accuracy on new images: one-hot {spread(over[0.0])}, smoothed "
    f"{spread(over[EPSILON])}; calibration error {spread(ece[0.0])} and {spread(ece[EPSILON])}",
    condition="smoothing always lowers confidence; that is a cure only where it was too high",
)

# %% [markdown]
# There is another cure, with one number: divide all logits by a temperature $T$, fitted on half of
# the validation images and judged on the other half. Above 1 it lowers confidence, below 1 it
# raises it. Whether the calibration error falls or rises, the last lines tell: what a temperature
# is fitted to is the loss, and an error that is small already has little to gain.

# %%
temperatures = {eps: [] for eps in runs}
before, mended = ({eps: [] for eps in runs} for _ in range(2))
for eps, each in runs.items():
    for _, _, judged in each:
        fitted = metrics.fit_temperature(judged.logits[::2], judged.targets[::2])
        temperatures[eps].append(fitted)
        for divisor, errors in ((1.0, before), (fitted, mended)):
            probs = ts.softmax(judged.logits[1::2].astype(np.float64) / divisor).data
            errors[eps].append(metrics.expected_calibration_error(probs, judged.targets[1::2]))
for eps in runs:
    fitted, first, then = (np.array(each[eps]) for each in (temperatures, before, mended))
    print(f"eps = {eps:g}: temperature {spread(fitted)}, calibration error {spread(first)} before")
    outcome = "smaller" if then.mean() < first.mean() else "larger"
    print(f"           and {spread(then)} after it, {outcome} on the same images")
assert np.mean(temperatures[EPSILON]) < np.mean(temperatures[0.0])

# %% [markdown]
# ## Accuracy, with its spread
#
# The question everybody asks first comes last, because the answer needs care. A thousand
# validation images and an accuracy $a$ leave a standard error of $\sqrt{a(1-a)/1000}$, more than
# one percentage point. Three pairs of runs cannot show a difference of two tenths of a point,
# which is what the paper reports for ImageNet. So print the pairs, and do not claim what they
# cannot carry.

# %%
accuracy = {eps: measure(eps, 2, "accuracy") for eps in runs}
difference = accuracy[EPSILON] - accuracy[0.0]
noise = math.sqrt(accuracy[0.0].mean() * (1 - accuracy[0.0].mean()) / len(val.targets))
assert noise > 0.01
error = difference.std(ddof=1) / math.sqrt(len(SEEDS))
show(
    plots.compare_runs(
        {
            "accuracy": (accuracy[0.0], accuracy[EPSILON]),
            "plain cross-entropy": (measure(0.0, 2, "loss"), measure(EPSILON, 2, "loss")),
            "calibration error": (ece[0.0], ece[EPSILON]),
            "mean gap": (measure(0.0, 2, "mean_gap"), measure(EPSILON, 2, "mean_gap")),
        }
    ),
    "pairs",
)
print("smoothed minus one-hot, in percentage points:", np.round(100 * difference, 1))
print(f"mean {100 * difference.mean():+.1f}, standard error {100 * error:.1f}")
print(f"standard error of one accuracy on {len(val.targets)} images: {100 * noise:.1f} points")
assert abs(difference.mean()) < 0.05
record(
    "P25",
    "not tested here",
    f"{source.kind} images, {len(SEEDS)} pairs of runs: accuracy changed by "
    f"{100 * difference.mean():+.1f} points, standard error {100 * error:.1f}, too coarse for a "
    "difference of 0.2",
)
record(
    "B13",
    "holds under a condition",
    f"clean labels, {source.kind} images: accuracy one-hot {spread(accuracy[0.0])}, smoothed "
    f"{spread(accuracy[EPSILON])}",
    condition=f"not as a rule: here the pairs differ by {100 * difference.mean():+.1f} points, "
    f"with a standard error of {100 * error:.1f}",
)

# %% [markdown]
# ## What you have learnt
#
# - A training loop is seven lines; the library's gives the same weights, bit for bit.
# - The smoothed network's gaps gather near $\log 91$, a number from chapter 12 that knows nothing
#   of images; the one-hot gaps run far beyond it.
# - Training losses at different $\varepsilon$ have different floors. Compare the plain
#   cross-entropy, on images that were not trained on.
# - Smoothing lowers confidence. Whether calibration gets better depends on how confident the
#   network was before.
# - Differences of accuracy are small against luck. Pairs of runs, several seeds and a standard
#   error belong to every such claim.
#
# ## Questions
#
# 1. A colleague reports a training loss of 0.52 with $\varepsilon = 0.1$ and ten classes and wants
#    to train longer. What do you say?
#
# :::{dropdown} Answer
# The floor is 0.5003, so 0.02 nats are left to gain. Look at the validation images instead.
# :::
#
# 2. Why do both runs of a pair start from the same weights and see the same order of images?
#
# :::{dropdown} Answer
# What both have in common cancels in the difference. With fresh luck in each run, the difference
# would carry the luck of both.
# :::
#
# 3. Some smoothed gaps lie above 4.51. How can that be, if the gradient vanishes there?
#
# :::{dropdown} Answer
# It vanishes for free logits. The weights serve all images at once, and a step for one image can
# push another's gap beyond its resting place; it is then pulled back.
# :::
#
# 4. A temperature below 1 was fitted to the smoothed network. What does that say?
#
# :::{dropdown} Answer
# It was under-confident on new images: its logits have to be stretched.
# :::
#
# ## Exercises
#
# Fill in `chapters/exercises/14.py` and run `tinysmooth chapters check 14`.
#
# 1. `mean_gap`: how far the right logits stand above the mean of the others.
# 2. `calibration_error`: the mean distance between confidence and accuracy over bins.
# 3. `paired_difference`: the mean of the differences of pairs of runs, with its standard error.
#
# ## Sources
#
# - C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, *Rethinking the Inception Architecture
#   for Computer Vision*, 2016, arXiv 1512.00567, section 7.
# - C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On Calibration of Modern Neural Networks*, 2017,
#   arXiv 1706.04599: the calibration error and the temperature.
# - R. Müller, S. Kornblith, G. Hinton, *When Does Label Smoothing Help?*, 2019, arXiv 1906.02629.
# - Imagenette, by J. Howard: ten classes of ImageNet.
