# %% [markdown]
# # 15 How to read a paper
#
# **Of all the sentences written about label smoothing, which hold when each becomes an
# experiment?**
#
# A paper is dense: half a page can take a book. This last chapter shows how to go through such a
# half page, symbol by symbol and claim by claim, on the paragraph this book is about, and then
# adds up what the other chapters measured.
#
# You need chapters 01 to 14; those whose results are not on record are run first, which takes
# a few minutes. With all results at hand this chapter runs in about two seconds.

# %%
import numpy as np

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import CLAIMS, find_chapters, read_results, run_chapters, show
from tinysmooth.chapters.scoreboard import count_verdicts, present, scoreboard

# %% [markdown]
# ## First pass: what does it want?
#
# Before any formula, find the skeleton. The paragraph has four bones: *what is done now* (train
# towards one-hot targets), *what is wrong with it* (two problems), *what to do instead* (mix the
# target with a fixed distribution), and *what that amounts to* (a penalty). Everything else is
# flesh on one of them. Write down one line for each. If you cannot, read again; if the authors
# cannot, stop reading.
#
# ## Second pass: symbols
#
# List every symbol with its type, and ask of each: is it a number, a vector, a function? Is it
# given, chosen or computed? Here are those of this paragraph.
#
# | In the paper | Type | Who decides it | Our name |
# |---|---|---|---|
# | $k$, $y$ | index of a class | the label, for $y$ | `targets` |
# | $z_k$ | real number | the network | `logits` |
# | $p(k)$ | probability | follows from $z$ | `probs` |
# | $q(k)$ | probability | given with the data | `targets` |
# | $u(k)$ | probability | chosen, uniform | `prior` |
# | $\epsilon$ | number from 0 to 1 | chosen, 0.1 | `label_smoothing` |
# | $q'(k)$ | probability | follows from $q$, $u$, $\epsilon$ | `smoothed_targets` |
#
# The column that pays is the third. $p$ is what training changes; $q$ is fixed before it begins.
# Keep that in mind and you can spot a slip of the pen without understanding anything else.

# %%
rng = np.random.default_rng(15)
logits = rng.normal(size=10)
target, epsilon = 3, 0.1
probs = ts.softmax(logits).data
one_hot = np.eye(10)[target]
uniform = np.full(10, 0.1)
smoothed = (1 - epsilon) * one_hot + epsilon * uniform
for name, distribution in {"p": probs, "q": one_hot, "u": uniform, "q'": smoothed}.items():
    assert abs(distribution.sum() - 1.0) < 1e-12
    print(
        f"{name:2} sums to 1; smallest {distribution.min():.4f}, largest {distribution.max():.4f}"
    )
assert np.allclose(smoothed, ts.smooth_targets([target], 10, epsilon)[0], atol=1e-15)

# %% [markdown]
# ## Slips of the pen
#
# **The first $q$ that must be a $p$.** The paper looks for the greatest log-likelihood and says it
# is reached when $q(k)$ equals $\delta_{k,y}$. But $q(k)$ was *defined* as $\delta_{k,y}$ one line
# before; nothing is left to reach. What varies is $p$. Put numbers in: with $q$ one-hot, walk $p$
# towards it and watch the log-likelihood climb to 0. That is the sentence that was meant.

# %%
shares = [0.5, 0.9, 0.99, 0.999999]
climb = []
for share in shares:
    p = share * one_hot + (1 - share) * uniform
    climb.append(float((one_hot * np.log(p)).sum()))
    print(f"p = {share:g} of the way to the point mass: log-likelihood {climb[-1]:+.6f}")
assert climb == sorted(climb) and -1e-5 < climb[-1] < 0

# %% [markdown]
# **The second.** Further on the paper argues that smoothing keeps the largest logit in check: if
# it ran away, "a single $q(k)$" would approach 1, and the cross-entropy with $q'$ would be large.
# Logits never move $q$. They move $p$; again the letter must be a $p$. Read so, it can be
# computed: let one logit run and see what the loss does.

# %%
runaway = np.array([10.0, 20.0, 40.0, 80.0])
losses = {}
for smoothing in (0.0, epsilon):
    rows = runaway[:, None] * one_hot
    targets = np.full(len(runaway), target)
    losses[smoothing] = ts.cross_entropy(
        rows, targets, label_smoothing=smoothing, reduction="none"
    ).data
slope = np.diff(losses[epsilon]) / np.diff(runaway)
for gap, hard, soft in zip(runaway, losses[0.0], losses[epsilon], strict=True):
    print(f"gap {gap:3.0f}: one-hot loss {hard:.1e}, smoothed loss {soft:.4f}")
print(f"slope of the smoothed loss at the end: {slope[-1]:.6f} nats per unit of gap")
assert (np.diff(losses[0.0]) < 0).all() and (slope > 0).all()
assert abs(slope[-1] - epsilon * (1 - 1 / 10)) < 1e-9  # 0.09

# %% [markdown]
# **Dirac or Kronecker.** $\delta_{k,y}$ is 1 if $k = y$ and 0 otherwise: two indices, one number.
# That is Kronecker's delta, though the paper says Dirac, whose delta lives on the real line and
# has an integral but no values. Nothing depends on it here. It is worth noticing all the same,
# because the next reader may look up the wrong page.
#
# ## Third pass: what would refute it?
#
# Now take each sentence and ask what you would have to see to say no. Weigh the small words.
#
# | Words | What they promise | What would refute them |
# |---|---|---|
# | *not achievable* | never, for any finite logits | a single example (chapter 07: floats) |
# | *approached if* $z_y \gg z_k$ | the limit, without a rate | a large gap with a small $p_y$ |
# | *not guaranteed* | one counterexample exists | a proof that it always generalises |
# | *encourages* | a tendency of training | a gap that shrinks in training (chapter 08) |
# | *reduces the ability to adapt* | slower | a confident model that is faster (chapter 09) |
# | *intuitively* | no proof follows | not refutable; ask for the measurable part |
#
# "$\gg$" is the tersest of them: how much is *much* greater? The answer to such a question is an
# inequality or a table, never a word. For ten classes, all wrong logits equal:

# %%
table = {0.9: 4.39, 0.99: 6.79, 0.999: 9.10}
for prob, printed in table.items():
    gap = np.log(9 * prob / (1 - prob))
    vector = np.zeros(10)
    vector[target] = gap
    assert abs(ts.softmax(vector).data[target] - prob) < 1e-12
    assert abs(gap - printed) < 5e-3
    print(f"p_y = {prob}: z_y has to stand {gap:.2f} above the others")

# %% [markdown]
# **Bounded, but where?** The gradient is bounded "between $-1$ and $1$". Which gradient, and in
# which norm? With respect to the logits, entry by entry. Its length can be up to $\sqrt 2$, and
# the gradient of a *weight* has the size of the layer's input in it, which nothing bounds.

# %%
worst = ts.cross_entropy_gradient(np.array([-50.0, 50.0, 0.0]), 0)
assert np.abs(worst).max() <= 1 and abs(np.linalg.norm(worst) - np.sqrt(2)) < 1e-12
for size in (1.0, 10.0, 1000.0):
    x = np.full((4, 1), size / 2.0)  # an input of this length
    weight_gradient = x @ worst[None]
    assert abs(np.linalg.norm(weight_gradient) - np.sqrt(2) * size) < 1e-9 * size
    print(
        f"input of length {size:6g}: weight gradient of length {np.linalg.norm(weight_gradient):g}"
    )

# %% [markdown]
# **What it amounts to.** The paper rewrites its loss as $(1-\epsilon)$ times the old one plus
# $\epsilon$ times the cross-entropy with $u$, and calls $\epsilon/(1-\epsilon)$ the relative
# weight of the second. One line of code each; do it whenever a paper says "equivalently".


# %%
def cross_entropy_of(q, p):
    """Return -sum q log p."""
    return -(q * np.log(p)).sum()


whole = cross_entropy_of(smoothed, probs)
first, second = cross_entropy_of(one_hot, probs), cross_entropy_of(uniform, probs)
assert abs(whole - ((1 - epsilon) * first + epsilon * second)) < 1e-12
assert abs(whole - ts.cross_entropy(logits, target, label_smoothing=epsilon).item()) < 1e-12
assert abs(epsilon / (1 - epsilon) - 1 / 9) < 1e-12
print(f"{whole:.6f} = 0.9 x {first:.6f} + 0.1 x {second:.6f}; relative weight 1/9")

# %% [markdown]
# ## The scoreboard
#
# Every claim below was put to the test by the chapter whose number stands beside it, and the
# numbers are those it measured on this machine. A claim tested more than once gets the most severe
# verdict. *Holds under a condition* names the condition; *fails as stated* does not mean that
# there is nothing to it, only that the sentence, read as it stands, is not what was measured.

# %%
chapters = [chapter for chapter in find_chapters() if chapter.number != 15]
_, unknown = read_results(chapters)
for outcome in run_chapters(unknown):
    print(f"ran chapter {outcome.chapter.number:02d}: {outcome.verdict}, {outcome.seconds:.0f} s")
    assert outcome.passed, outcome.output
results, unknown = read_results(chapters)
assert not unknown
paper, page = scoreboard(results, "P"), scoreboard(results, "B")
assert len(paper) + len(page) == len(CLAIMS) == 39
assert all(line.results for line in paper + page), "a claim is on no chapter's record"

# %% [markdown]
# ### The paper

# %%
present(paper)

# %% [markdown]
# ### The book that explains it

# %%
present(page)

# %% [markdown]
# ### The sum

# %%
counts = {"the paper": count_verdicts(paper), "the book page": count_verdicts(page)}
for name, verdicts in counts.items():
    words = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    print(f"{name}: {words}")
show(plots.verdict_counts(counts), "scoreboard")
held = sum(verdicts["holds"] for verdicts in counts.values())
qualified = sum(
    verdicts["holds under a condition"] + verdicts["fails as stated"]
    for verdicts in counts.values()
)
assert held > 0 and qualified > 0
verdict_of = {line.claim: line.verdict for line in paper}
about_the_loss = [f"P{i}" for i in (*range(2, 9), *range(17, 25))]
assert all(verdict_of[claim] == "holds" for claim in about_the_loss)
assert all(verdict_of[claim] != "holds" for claim in ("P9", "P10", "P14", "P15", "P16"))

# %% [markdown]
# Two things stand out. The mathematics of the half page is sound: what is stated about the loss,
# its gradient and its targets holds, once two letters are put right, and can be made exact; its
# limits need real numbers, without the rounding of a computer. What is stated about *networks* in
# training is where the other conditions gather: adapting, being over-confident, regularising. That
# is no reproach. A theorem
# about logits is a statement about one thing; a sentence about training is one about a thousand
# things at once, and the honest form of it has a condition, several seeds, and a spread.
#
# ## What you have learnt
#
# - Three passes: skeleton, symbols, refutation.
# - The most useful question about a symbol is who decides it. It finds slips, and shows what an
#   argument may vary.
# - Words such as "much greater", "bounded" and "encourages" turn into an inequality, a norm, and a
#   curve.
# - A claim that fails as stated can teach more than one that holds.
#
# ## Questions
#
# 1. How can you tell, without knowing the field, that a $q$ should be a $p$?
#
# :::{dropdown} Answer
# The sentence lets it change, and $q$ was fixed before. Only what the network computes can change.
# :::
#
# 2. Which of the paper's sentences would you be least surprised to see fail on your own data?
#
# :::{dropdown} Answer
# Those about networks in training: adapting, generalising, calibration. They depend on the data
# and the model; the sentences about the loss do not.
# :::
#
# 3. "A difference of 0.2 percentage points": what do you need to know to believe it?
#
# :::{dropdown} Answer
# The number of test examples and of runs. With fifty thousand images at an error of a fifth, one
# standard error of a single run is about 0.18 points.
# :::
#
# ## Exercises
#
# Fill in `chapters/exercises/15.py` and run `tinysmooth chapters check 15`.
#
# 1. `two_losses`: split the loss of the paper into its two parts, for any $u$.
# 2. `standard_error`: how finely can a test set of $n$ examples tell accuracies apart?
# 3. `severest`: the verdict on a claim that several experiments tested.
#
# ## Sources
#
# - C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, *Rethinking the Inception Architecture
#   for Computer Vision*, 2016, arXiv 1512.00567, section 7.
# - J. Howard, S. Gugger, *Deep Learning for Coders with fastai and PyTorch*, 2020, chapter 7,
#   which reads the same paragraph aloud.

# %%
assert abs(100 * np.sqrt(0.2 * 0.8 / 50_000) - 0.18) < 0.005  # the standard error of question 3
