# %% [markdown]
# # 03 Output minus target
#
# **What does the loss tell each logit to do, and how can you be sure that a derivative is
# right?**
#
# You need softmax and log-sum-exp (chapter 01), cross-entropy (chapter 02) and what a derivative
# is: how fast a number changes when you push another. Runs in about three seconds.

# %%
import numpy as np

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import record, show

rng = np.random.default_rng(3)

# %% [markdown]
# ## Push, and watch
#
# A network learns by changing its logits $z$ so that the loss $L$ falls. For each logit we need
# to know: if I push this one up a little, does the loss rise or fall, and how fast? These $K$
# slopes together are the **gradient**. Before we derive it, let us simply measure it. The loss is
# $L = \operatorname{LSE}(z) - q \cdot z$ from chapter 02, the target is $q$, and we push by
# $h = 10^{-5}$, once up and once down:


# %%
def loss(logits, q):
    """Cross-entropy of softmax(logits) under the distribution q, in nats."""
    shifted = logits - logits.real.max()  # .real: for a trick that comes later
    return np.log(np.exp(shifted).sum()) - (q * shifted).sum()


def central_differences(function, point, step):
    slopes = np.empty_like(point)
    for k in range(point.size):
        up, down = point.copy(), point.copy()
        up[k] += step
        down[k] -= step
        # Divide by the distance that is really there: z + h was rounded, too.
        slopes[k] = (function(up) - function(down)) / (up[k] - down[k])
    return slopes


logits = np.array([2.0, 1.0, 0.0, -1.0, 0.5])
one_hot = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
probs = ts.softmax(logits).data
measured = central_differences(lambda z: loss(z, one_hot), logits, 1e-5)
print("slopes  ", measured.round(4))
print("softmax ", probs.round(4))
assert np.allclose(measured, probs - one_hot, atol=1e-9)

# %% [markdown]
# Look at the two rows. For the wrong classes the slope *is* the probability; for the right class
# it is the probability minus 1. Output minus target, $p - q$. Can it be that simple?
#
# ## The short proof
#
# The loss has two parts, and we differentiate each by $z_k$. First, log-sum-exp. Only one term of
# the sum contains $z_k$, its derivative is itself, and the derivative of $\log s$ is $1/s$:
#
# $$\frac{\partial}{\partial z_k} \log \sum_j e^{z_j}
# = \frac{1}{\sum_j e^{z_j}} \cdot e^{z_k} = p_k.$$
#
# The second part is $-\sum_j q_j z_j$. Only one term contains $z_k$, and its derivative is
# $-q_k$. Together:
#
# $$\boxed{\;\frac{\partial L}{\partial z_k} = p_k - q_k\;}$$
#
# That is the whole proof, and it holds for *every* target distribution $q$, not only for a
# one-hot one. The library has it twice: as a formula, `ts.cross_entropy_gradient`, and as what
# comes out when a loss is walked backward. (How the walk works is chapter 04.)

# %%
worst = 0.0
for num_classes in (2, 5, 100):
    batch = rng.normal(0.0, 3.0, (8, num_classes))
    q = rng.dirichlet(np.ones(num_classes), size=8)
    by_formula = ts.softmax(batch).data - q

    analytic = ts.cross_entropy_gradient(batch, q, reduction="sum")
    leaf = ts.Tensor(batch, requires_grad=True)
    ts.cross_entropy(leaf, q, reduction="sum").backward()
    assert np.abs(analytic - by_formula).max() < 1e-15
    assert np.abs(leaf.grad - by_formula).max() < 1e-15

    for z, target, gradient in zip(batch, q, by_formula, strict=True):
        numeric = central_differences(lambda point, t=target: loss(point, t), z, 1e-5)
        worst = max(worst, np.abs(numeric - gradient).max())
print(f"largest difference from finite differences: {worst:.1e}")
assert worst < 1e-9
record(
    claim="P6",
    verdict="holds",
    measured=f"p - q against central differences: {worst:.0e} at most, for 2, 5 and 100 classes",
)

# %% [markdown]
# ## The long way round
#
# It is worth going the long way once, because it shows *why* the result is so clean. Split the
# loss in two steps: $z \to p$ by softmax, then $p \to L = -\sum_j q_j \log p_j$.
#
# The second step has the slopes $\partial L / \partial p_j = -q_j / p_j$. Dangerous: if $p_j$ is
# tiny, this is enormous.
#
# The first step has $K$ inputs and $K$ outputs, so its slopes form a table, the **Jacobian**,
# $J_{jk} = \partial p_j / \partial z_k$. Write $p_j = e^{z_j - \operatorname{LSE}(z)}$ and
# differentiate the exponent: its derivative by $z_k$ is 1 if $j = k$ (else 0), minus $p_k$. Hence
#
# $$J_{jk} = p_j (\delta_{jk} - p_k), \qquad J = \operatorname{diag}(p) - p\,p^{\top},$$
#
# where $\delta_{jk}$ is 1 if $j = k$ and 0 otherwise. The chain rule multiplies the two and sums
# over $j$:
#
# $$\sum_j -\frac{q_j}{p_j} \, p_j (\delta_{jk} - p_k) = -q_k + p_k \sum_j q_j = p_k - q_k.$$
#
# The dangerous $1/p_j$ meets the $p_j$ of the softmax and *cancels*. That is the secret of this
# pair: the logarithm undoes exactly the exponential's flattening. Compute the two steps
# separately and you divide a rounded zero by a rounded zero; compute them as one and there is
# nothing to divide.

# %%
soft = np.array([0.6, 0.1, 0.1, 0.1, 0.1])
jacobian = np.diag(probs) - np.outer(probs, probs)
columns = [
    central_differences(lambda z, j=j: ts.softmax(z).data[j], logits, 1e-5) for j in range(5)
]
assert np.abs(jacobian - np.array(columns)).max() < 1e-10
assert np.allclose((-soft / probs) @ jacobian, probs - soft, atol=1e-15)

far = np.array([0.0, -800.0])  # and the right class is the second one
with np.errstate(divide="ignore", invalid="ignore"):
    p = ts.softmax(far).data
    in_two_steps = (-np.array([0.0, 1.0]) / p) @ (np.diag(p) - np.outer(p, p))
in_one_step = ts.cross_entropy_gradient(far, 1)
print("in two steps:", in_two_steps, "  in one step:", in_one_step)
assert np.isnan(in_two_steps).any()
assert np.array_equal(in_one_step, [1.0, -1.0])

# %% [markdown]
# ## Reading it as forces
#
# Training moves each logit *against* its slope. So the right class is pulled up with a strength
# of $1 - p_y$, what is missing, and every other class is pushed down with a strength of $p_k$,
# what it has and should not have. The forces balance: they add up to $1 - 1 = 0$, so the mean
# logit never moves. When output and target agree, all is quiet.
#
# With a one-hot target that never happens, since no softmax is exactly one-hot. With the soft
# target on the right, the class that has too much is pushed down *although it is the right one*.

# %%
confident = ts.softmax(np.array([3.5, 0.5, 0.0, -1.0, 0.5])).data
assert np.allclose([(confident - q).sum() for q in (one_hot, soft)], 0.0, atol=1e-15)
assert (confident - one_hot)[0] < 0 < (confident - soft)[0]
show(
    plots.logit_forces(confident, {"one-hot target": one_hot, "a soft target": soft}),
    "forces",
)

# %% [markdown]
# ## How strong can it get?
#
# Output and target are both made of numbers between 0 and 1, so each entry of $p - q$ lies
# between $-1$ and $1$. That is the paper's bound, and for finite logits it is strict, since then
# $0 < p_k < 1$. A little more can be said about the gradient as a whole. Its positive entries add
# up to at most 1 (they are parts of $p$), the negative ones to at least $-1$ (parts of $q$), so
#
# $$\|p - q\|_1 = \sum_k |p_k - q_k| \le 2, \qquad
# \|p - q\|_2^2 \le \max_k |p_k - q_k| \cdot \|p - q\|_1 \le 2.$$
#
# We try to break the bounds, with random distributions and with the nastiest: certainty on one
# class, target on another.

# %%
pairs = []
for num_classes in (2, 3, 10, 1000):
    corners = np.eye(num_classes)
    pairs.append(corners[[0]] - corners[[1]])
    for concentration in (0.01, 0.1, 1.0, 10.0):  # small: nearly all mass on one class
        p = rng.dirichlet(np.full(num_classes, concentration), 100)
        pairs.append(p - corners[rng.integers(0, num_classes, 100)])
largest = max(np.abs(g).max() for g in pairs)
longest_1 = max(np.abs(g).sum(axis=1).max() for g in pairs)
longest_2 = max(np.sqrt((g**2).sum(axis=1)).max() for g in pairs)
print(f"largest entry {largest:.6f}, sum of sizes {longest_1:.6f}, length {longest_2:.6f}")
assert largest <= 1 + 1e-12
assert longest_1 <= 2 + 1e-12
assert longest_2 <= np.sqrt(2) + 1e-12
assert longest_2 > np.sqrt(2) - 1e-12  # the worst case is attained in the limit

spread = ts.softmax(rng.normal(0.0, 5.0, (20_000, 10))).data
entries = spread - np.eye(10)[rng.integers(0, 10, 20_000)]
assert (np.abs(entries) < 1).all()
record(
    claim="P7",
    verdict="holds",
    measured=f"largest entry over random and adversarial pairs {largest:.6f}; below 1 for all "
    f"{entries.size:,} entries from finite logits",
)

# %% [markdown]
# For a one-hot target everything is expressed by one number, what is missing, $1 - p_y$. The
# entry at the right class is $-(1 - p_y)$, the others add up to $1 - p_y$, so the sum of sizes is
# exactly $2(1 - p_y)$. The length depends on how the rivals share the missing part. It is largest
# if one rival has all of it, $\sqrt2\,(1 - p_y)$, and smallest if all have the same:
#
# $$(1 - p_y)\sqrt{\tfrac{K}{K-1}} \;\le\; \|p - q\|_2 \;\le\; \sqrt 2\,(1 - p_y).$$

# %%
num_classes = 10
missing = rng.uniform(0.0, 1.0, 2000)
rivals = np.concatenate(
    [rng.dirichlet(np.full(num_classes - 1, c), 500) for c in (0.03, 0.2, 1, 9)]
)
p = np.column_stack([1 - missing, missing[:, None] * rivals])  # the right class comes first
g = p - np.eye(num_classes)[0]
length = np.sqrt((g**2).sum(axis=1))
low, high = np.sqrt(num_classes / (num_classes - 1)), np.sqrt(2)
assert np.abs(np.abs(g).sum(axis=1) - 2 * missing).max() < 1e-12
assert (length >= low * missing - 1e-12).all()
assert (length <= high * missing + 1e-12).all()
show(plots.gradient_lengths(missing, length, low, high), "lengths")

# %% [markdown]
# ### A bound on what, exactly?
#
# It is often said that the steps of gradient descent are bounded because this gradient is.
# Careful: the bound is about *logits*. What is trained are weights. Take the last layer,
# $z = W x$ with a row of weights for each class and the features $x$ of the picture. Pushing the
# weight $W_{ki}$ moves $z_k$ by $x_i$, so
#
# $$\frac{\partial L}{\partial W_{ki}} = (p_k - q_k)\, x_i, \qquad
# \Big\|\frac{\partial L}{\partial W}\Big\| = \|p - q\|_2 \, \|x\|_2 \le \sqrt2\, \|x\|_2.$$
#
# The step is bounded by the length of the features, and nobody promised that those are small.

# %%
weights = rng.normal(0.0, 0.3, (10, 64))
ratio = []
for scale in (1.0, 10.0, 100.0):
    x = scale * rng.normal(size=64)
    W = ts.Tensor(weights, requires_grad=True)
    ts.cross_entropy(W @ x, 3).backward()
    g = ts.cross_entropy_gradient(weights @ x, 3)
    assert np.allclose(W.grad, np.outer(g, x), rtol=1e-12, atol=1e-12)
    ratio.append(np.linalg.norm(W.grad) / (np.linalg.norm(g) * np.linalg.norm(x)))
    print(f"|x| = {np.linalg.norm(x):6.1f}: gradient of the weights {np.linalg.norm(W.grad):7.2f}")
assert np.allclose(ratio, 1.0, rtol=1e-12)
assert np.linalg.norm(W.grad) > 100
record(
    claim="B11",
    verdict="holds under a condition",
    measured="logit gradient at most sqrt(2) long; weight gradient of a linear layer is exactly "
    f"|p - q| |x|, here up to {np.linalg.norm(W.grad):.0f}",
    condition="in the space of logits; in the space of weights the bound grows with the features",
)

# %% [markdown]
# ## How curved is the loss?
#
# Differentiate once more. The slope $p_k - q_k$ changes with $z_j$ as $p_k$ does, since $q$ is
# constant. We know that table already: it is the Jacobian of the softmax,
#
# $$H = \operatorname{diag}(p) - p\,p^{\top}.$$
#
# The table of second derivatives is called the **Hessian**. Two things are remarkable. *The
# target does not occur.* One-hot or soft, the loss is curved in the same way at the same logits.
# And the curvature along any direction $v$ is
#
# $$v^{\top} H v = \sum_k p_k v_k^2 - \Big(\sum_k p_k v_k\Big)^2,$$
#
# the variance of $v_k$ when $k$ is drawn from $p$. A variance is never negative, so the loss is
# never curved downward: it is **convex** in the logits, with no false valleys. Along
# $v = (1, \dots, 1)$, a common shift, it is 0, as it must be.

# %%
for q in (one_hot, soft):
    rows = [
        central_differences(lambda z, k=k, q=q: ts.cross_entropy_gradient(z, q)[k], logits, 1e-5)
        for k in range(5)
    ]
    assert np.abs(np.array(rows) - jacobian).max() < 1e-10

steepest = []
for p in rng.dirichlet(np.full(6, 0.5), size=1000):
    eigenvalues = np.linalg.eigvalsh(np.diag(p) - np.outer(p, p))
    assert abs(eigenvalues[0]) < 1e-12  # the common shift
    assert eigenvalues[-1] <= 0.5 + 1e-12
    steepest.append(eigenvalues[-1])
even = np.array([0.5, 0.5])
assert np.allclose(np.linalg.eigvalsh(np.diag(even) - np.outer(even, even)), [0.0, 0.5])
print(f"largest curvature of 1000 random outputs: {max(steepest):.3f}; the limit is 1/2")

# %% [markdown]
# The limit $1/2$ comes from the rows of $H$: row $k$ has $p_k(1 - p_k)$ on the diagonal, and the
# sizes of its other entries add up to the same, so no eigenvalue exceeds
# $2 p_k (1 - p_k) \le 1/2$ (Gershgorin's theorem). Two classes at one half reach it.
#
# If one class has $p$ and the other $K - 1$ share the rest evenly, each having $r$, the
# eigenvalues can be written down: 0 once, $r$ for directions among the rest ($K - 2$ times), and
# $K p r$ for the one against the rest. For ten classes and $p = 0.91$ that is 0, eight times
# 0.01, and 0.091. Watch what happens on the right of the figure: as $p \to 1$ *all* of them go to
# 0. Near certainty the loss has no curvature left, and nothing to stop you from going on.

# %%
p = np.array([0.91] + 9 * [0.01])
assert np.allclose(
    np.linalg.eigvalsh(np.diag(p) - np.outer(p, p)), [0.0] + 8 * [0.01] + [0.091], atol=1e-15
)
leading = np.linspace(0.02, 0.999, 200)
rest = (1 - leading) / 9
for prob, r in zip(leading, rest, strict=True):
    p = np.array([prob] + 9 * [r])
    expected = np.sort([0.0] + 8 * [r] + [10 * prob * r])
    assert np.allclose(np.linalg.eigvalsh(np.diag(p) - np.outer(p, p)), expected, atol=1e-14)
curvatures = {"one class against the rest, K p r": 10 * leading * rest, "among the rest, r": rest}
show(plots.hessian_eigenvalues(leading, curvatures), "curvature")

# %% [markdown]
# ## Checking a derivative
#
# Three times now we have compared a formula with measured slopes. This is the best safeguard that
# there is against a wrong derivative, so let us understand it. How small should the step $h$ be?
# There are two sources of error:
#
# - *Truncation.* A slope over a finite distance is not the slope at the point. Looking only
#   forward, $(f(z+h) - f(z))/h$, the error is about $\tfrac{h}{2} |f''|$; looking both ways it is
#   only $\tfrac{h^2}{6} |f'''|$, because the bend cancels.
# - *Rounding.* The values of $f$ carry a relative error of about $u$ ($10^{-16}$ in `float64`,
#   $6 \cdot 10^{-8}$ in `float32`). Their difference keeps that error, and dividing by a small
#   $h$ magnifies it, to about $u |f| / h$.
#
# One falls with $h$ and the other grows, so there is a best step in between. And there is a trick
# without the second error: evaluate $f$ at the *complex* point $z + ih$. From
# $f(z + ih) \approx f(z) + i h f'(z)$, the slope is the imaginary part divided by $h$. Nothing is
# subtracted, so nothing is lost, and $h$ may be $10^{-100}$.


# %%
def forward_differences(function, point, step):
    slopes = np.empty_like(point)
    for k in range(point.size):
        up = point.copy()
        up[k] += step
        moved = up[k] - point[k]
        slopes[k] = (function(up) - function(point)) / moved if moved else np.nan
    return slopes


def complex_step(function, point, step):
    units = 1j * step * np.eye(point.size)
    return np.array([function(point + unit).imag / step for unit in units])


def relative_error(a, b):
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


target = np.array([0.91] + 9 * [0.01])
points = rng.normal(0.0, 2.0, (20, 10))
steps = 10.0 ** -np.arange(1, 13)
ways = {
    "forward, float32": (forward_differences, np.float32),
    "central, float32": (central_differences, np.float32),
    "forward, float64": (forward_differences, np.float64),
    "central, float64": (central_differences, np.float64),
    "complex step, float64": (complex_step, np.float64),
}


def errors_at(point, method, dtype):
    """Relative error of one way of differentiating, at each step."""
    exact = ts.softmax(point).data - target
    start, q = point.astype(dtype), target.astype(dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = [method(lambda z: loss(z, q), start, dtype(step)) for step in steps]
    return [relative_error(each, exact) for each in slopes]


errors = {
    name: np.median([errors_at(point, *way) for point in points], axis=0)
    for name, way in ways.items()
}
show(plots.gradient_check_errors(steps, errors), "gradient_check")

# %% [markdown]
# The valleys are where theory puts them: near $\sqrt u$ looking forward, near $u^{1/3}$ looking
# both ways. In `float64` the central difference gives about ten digits at $h = 10^{-5}$. In
# `float32` the best it can do is about five, which is why gradients are checked in `float64`.
# Where truncation rules, halving the step divides the central error by four; that is a good sign
# that your checker itself is right. And the complex step is exact to rounding.

# %%
digits = {name: 1 + np.nanargmin(values) for name, values in errors.items()}
for name, exponent in digits.items():
    print(f"{name:22} best step 1e-{exponent}, error {np.nanmin(errors[name]):.1e}")
assert digits["forward, float64"] in (7, 8, 9)
assert digits["central, float64"] in (4, 5, 6)
assert errors["central, float64"][4] < 1e-9
assert np.nanmin(errors["central, float32"]) > 1e-6

point = points[0]
exact = ts.softmax(point).data - target
two_steps = [
    relative_error(central_differences(lambda z: loss(z, target), point, h), exact)
    for h in (1e-2, 5e-3)
]
assert abs(two_steps[0] / two_steps[1] - 4) < 0.01

tiny = complex_step(lambda z: loss(z, target), point, 1e-100)
complex_error = relative_error(tiny, exact)
assert complex_error < 1e-14
record(
    claim="P5",
    verdict="holds",
    measured=f"complex-step derivative agrees within {complex_error:.0e}, central differences "
    f"within {errors['central, float64'][4]:.0e}; second derivatives exist and are diag(p) - p p^T",
)

# %% [markdown]
# ## Three bugs that almost pass
#
# How strict must a check be? Suppose the target should be $q = (0.91, 0.01, \dots, 0.01)$, and
# somebody's gradient subtracts something slightly different. Three slips of the kind that really
# happens:

# %%
slips = {
    "one-hot instead": np.eye(10)[0],
    "0.90 at the right class": np.array([0.90] + 9 * [0.01]),
    "0.90, and 0.1/9 elsewhere": np.array([0.90] + 9 * [0.1 / 9]),
}
slip_errors = {}
for name, wrong in slips.items():
    values = [
        relative_error(ts.softmax(z).data - wrong, ts.softmax(z).data - target) for z in points
    ]
    slip_errors[name] = np.median(values)
    print(f"{name:26} relative error {slip_errors[name]:.1e}")
assert all(1e-3 < value < 0.1 for value in slip_errors.values())
assert sum(value < 1e-2 for value in slip_errors.values()) == 2

# %% [markdown]
# Off by half a percent! A check with a tolerance of one percent waves two of the three through,
# and a plot of the training loss would never show them. `ts.gradcheck` works in `float64`, with
# central differences and a tolerance of $10^{-6}$, and catches all three. Here it is at work on a
# loss with a planted bug. (`@ts.primitive` makes an operation of a value and its gradient rule;
# chapter 04 explains it. `cross_entropy`'s own gradient passes.)

# %%
report = ts.gradcheck(lambda z: ts.cross_entropy(z, target), points[0])
print(f"the library's gradient: relative error {report.max_relative_error:.1e}")
assert report.max_relative_error < 1e-7

caught = 0
for name, wrong in slips.items():

    @ts.primitive
    def planted_bug(logits, wrong=wrong):
        gradient = ts.softmax(logits).data - wrong
        return loss(logits, target), {"logits": lambda grad, g=gradient: grad * g}

    try:
        ts.gradcheck(planted_bug, points[0])
    except ts.GradcheckError as error:
        caught += 1
        print(f"{name}: caught.", str(error).split(";")[0])
assert caught == 3

# %% [markdown]
# ## What you have learnt
#
# - The gradient of cross-entropy with respect to the logits is output minus target, $p - q$, for
#   any target.
# - It is so simple because the logarithm cancels the exponential. Compute loss and softmax
#   together.
# - Its entries are between $-1$ and 1, add up to 0, and their sizes add up to at most 2; its
#   length is at most $\sqrt2$. These are bounds for logits, not for weights.
# - The Hessian is $\operatorname{diag}(p) - p\,p^\top$, whatever the target. The loss is convex,
#   and flat near certainty.
# - Check derivatives in `float64`, both ways, with $h \approx 10^{-5}$, and with a tolerance that
#   means something.
#
# ## Questions
#
# 1. The output is $(0.7, 0.2, 0.1)$ and the right class is the second. What is the gradient?
#
# :::{dropdown} Answer
# (0.7, -0.8, 0.1).
# :::
#
# 2. Can all entries of the gradient be positive?
#
# :::{dropdown} Answer
# No: they add up to 0.
# :::
#
# 3. A network outputs 0.999 for the right class. Does training still push? How hard, compared
#    with 0.9?
#
# :::{dropdown} Answer
# Yes, with 0.001 instead of 0.1 at the right class: a hundred times weaker, but never 0.
# :::
#
# 4. Why is a check in float32 with a tolerance of 1e-6 hopeless?
#
# :::{dropdown} Answer
# The best step gives about five digits; the check would fail for right gradients, too.
# :::
#
# 5. Does a softer target make the loss less curved at given logits?
#
# :::{dropdown} Answer
# No. The Hessian does not contain the target. What changes is where the minimum is, and the
# curvature *there*.
# :::
#
# ## Exercises
#
# Write these in `chapters/exercises/03.py`, then run `tinysmooth chapters check 3`.
#
# 1. `logit_gradient(logits, target)`: output minus target for a batch and its mean loss.
# 2. `softmax_pullback(probs, grad)`: a gradient sent back through softmax without building a
#    Jacobian.
# 3. `hessian_times(probs, v)`: the Hessian times a vector, in K steps and not in K squared.
# 4. `numerical_gradient(function, point)`: your own gradient checker, good to eight digits.
#
# ## Sources
#
# - C. Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016,
#   section 7: the gradient and its bound.
# - W. Squire, G. Trapp, *Using Complex Variables to Estimate Derivatives of Real Functions*, SIAM
#   Review 40(1), 1998: the complex step.
# - S. A. Gershgorin, *Über die Abgrenzung der Eigenwerte einer Matrix*, 1931: the theorem on
#   rows.
