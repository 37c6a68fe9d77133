# %% [markdown]
# # 04 Record the graph
#
# **How can a program find the derivative of whatever you compute, and why does the order of its
# walk matter?**
#
# You need the gradient of the loss (chapter 03) and the chain rule: if $y$ depends on $x$ and $L$
# on $y$, then $\frac{dL}{dx} = \frac{dL}{dy} \cdot \frac{dy}{dx}$. Runs in about three seconds.
#
# In this chapter you build an automatic differentiator, an *autograd*, first for single numbers
# and then for arrays, until it trains a small network step for step like the library.

# %%
import sys

import numpy as np

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import show

# %% [markdown]
# ## Write down what happens
#
# However long a computation, it is made of small steps whose derivatives are known: a sum, a
# product, an exponential. So let numbers remember where they came from. A `Value` holds a number
# and a list of its *parents*, each with the **local slope**: how fast the result grows with that
# parent. For a sum $a + b$ the slopes are 1 and 1; for a product $ab$ they are $b$ and $a$.


# %%
class Value:
    def __init__(self, number, parents=()):
        self.number = number
        self.parents = parents  # pairs (value, local slope)
        self.grad = 0.0

    def __add__(self, other):
        return Value(self.number + other.number, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return Value(self.number * other.number, [(self, other.number), (other, self.number)])


a, b = Value(2.0), Value(5.0)
c = a * b + a
assert c.number == 12.0

# %% [markdown]
# While the program ran forward, it has drawn a *graph*: $c$ points to $ab$ and to $a$, and $ab$
# points to $a$ and to $b$. The chain rule says how to use it. Follow a path from $c$ down to $a$
# and multiply the local slopes on the way: that is the share of the derivative that takes this
# path. If several paths lead to $a$, add their shares up.
#
# Here two paths lead to $a$: directly (slope 1), and through the product (slope $1 \cdot b = 5$).
# So $\frac{dc}{da} = 6$, as for $c = ab + a$ it should be.
#
# ## First attempt: follow every path
#
# That sentence is nearly a program. Start at the result with a slope of 1, and hand every parent
# its share:


# %%
def follow_every_path(value, grad=1.0):
    """Send gradients down all paths; return how many visits that took."""
    value.grad += grad
    return 1 + sum(follow_every_path(parent, grad * slope) for parent, slope in value.parents)


follow_every_path(c)
assert (a.grad, b.grad) == (6.0, 2.0)

# %% [markdown]
# It is right, and useless. Take $a$, and double it again and again by adding it to itself:
# $b = a + a$, $c = b + b$, and so on. Every doubling doubles the number of paths. After 20
# doublings there are a million paths through 21 values.


# %%
def doublings(start, count):
    """Return start * 2**count, computed with additions, and all the values on the way."""
    values = [start]
    for _ in range(count):
        values.append(values[-1] + values[-1])
    return values


depths = np.arange(1, 17)
visits = []
for depth in depths:
    chain = doublings(Value(1.0), depth)
    visits.append(follow_every_path(chain[-1]))
    assert chain[0].grad == 2.0**depth
assert visits == [2 ** (depth + 1) - 1 for depth in depths]
show(
    plots.walk_lengths(depths, {"every path": visits, "every node once": depths + 1}),
    "visits",
)

# %% [markdown]
# ## Second attempt: let gradients pile up
#
# Paths through the same value share their lower part. So let gradients *meet* at a value, and
# hand on what has gathered. A list of values waiting to be visited does it, does it not?


# %%
def hand_on_what_is_there(output):
    output.grad = 1.0
    waiting = [output]
    while waiting:
        value = waiting.pop(0)
        for parent, slope in value.parents:
            parent.grad += value.grad * slope
            waiting.append(parent)


chain = doublings(Value(1.0), 2)  # a, b = a + a, c = b + b
hand_on_what_is_there(chain[2])
print(f"c = 4a, and the slope is said to be {chain[0].grad}")
assert chain[0].grad == 8.0

# %% [markdown]
# It says 8, and $c = 4a$ has the slope 4. The value $b$ is used twice, so it was put on the list
# twice. At *each* of its two visits it handed on everything it had, a gradient of 2, to each of
# its two parents, which are both $a$. That makes 4, two times.
#
# ## Third attempt: visit every value once
#
# The cure seems obvious: remember who was visited, and let nobody hand on twice.


# %%
def visit_once(output):
    output.grad = 1.0
    waiting, visited = [output], set()
    while waiting:
        value = waiting.pop()
        if value in visited:
            continue
        visited.add(value)
        for parent, slope in value.parents:
            parent.grad += value.grad * slope
            waiting.append(parent)


chain = doublings(Value(1.0), 2)
visit_once(chain[2])
assert chain[0].grad == 4.0  # cured!

# %% [markdown]
# Cured, for this graph. Now take $b = x \cdot x$, $c = b + 1$, $d = c \cdot b$ at $x = 3$. Then
# $d = b^2 + b$, so $\frac{dd}{db} = 2b + 1 = 19$ with $b = 9$, and $\frac{db}{dx} = 2x = 6$. The
# slope must be $19 \cdot 6 = 114$.

# %%


def small_diamond(x):
    b = x * x
    c = b + Value(1.0)
    return b, c, c * b


x = Value(3.0)
b, c, d = small_diamond(x)
visit_once(d)
print(f"x: {x.grad}, b: {b.grad}")
assert b.grad == 19.0
assert x.grad == 60.0  # and should be 114

# %% [markdown]
# This time $b$ was visited *too early*. It got its share of 10 from $d$, handed on
# $10 \cdot 6 = 60$, and was ticked off; then $c$ came with another 9 for $b$, and nobody took
# them any further. The values are right up to the place where it happened and wrong below it.
# Nothing crashed, and had it been a network, it would even have trained, a little worse than it
# should.
#
# ## The order
#
# Both mistakes have one cure: **visit a value once, after everything that used it.** Only then is
# its gradient complete. Finding such an order is easy if every value knows how many gradients it
# still has to wait for. First count them, by looking through the whole graph. Then start at the
# result; whoever has received its last gradient is ready.


# %%
def backward(output):
    """Send gradients from the output to all values it came from; return the order of visits."""
    awaited = {output: 0}
    unseen = [output]
    while unseen:
        for parent, _ in unseen.pop().parents:
            if parent not in awaited:
                awaited[parent] = 0
                unseen.append(parent)
            awaited[parent] += 1

    output.grad += 1.0
    ready, order = [output], []
    while ready:
        value = ready.pop()
        order.append(value)
        for parent, slope in value.parents:
            parent.grad += value.grad * slope
            awaited[parent] -= 1
            if awaited[parent] == 0:
                ready.append(parent)
    return order


x = Value(3.0)
b, c, d = small_diamond(x)
order = backward(d)
assert (x.grad, b.grad, c.grad, d.grad) == (114.0, 19.0, 9.0, 1.0)
assert order.index(c) < order.index(b) < order.index(x)

chain = doublings(Value(1.0), 1000)
assert len(backward(chain[-1])) == 1001  # every value once
assert chain[0].grad == 2.0**1000

x = Value(3.0)
backward(x * x + x)
assert x.grad == 7.0  # 2x + 1: a value that is used three times adds up what it gets

# %% [markdown]
# The walk has no recursion, on purpose: in a recursive one, a long chain of operations (100,000
# additions here) would overflow Python's stack.

# %%
long = Value(1.0)
end = long
for _ in range(100_000):
    end = end + Value(0.0)
backward(end)
assert long.grad == 1.0

try:
    follow_every_path(end)
except RecursionError:
    print(f"recursion stops at a depth of {sys.getrecursionlimit()}; the chain has 100,000")
else:
    raise AssertionError("the recursive walk should not have come through")

# %% [markdown]
# ## The library does the same
#
# `ts.Tensor` records in the same way, and `backward()` walks in the same order. `plots.graph`
# draws what was recorded: in each box the operation, the number, and the gradient that arrived.
# (Computed tensors forget their gradient unless you ask them to `retain_grad()`; leaves keep
# theirs.) Check that the picture agrees with the numbers above.

# %%
x = ts.Tensor(3.0, requires_grad=True)
b = (x * x).retain_grad()
c = (b + 1).retain_grad()
d = (c * b).retain_grad()
d.backward()
assert (x.grad, b.grad, c.grad, d.grad) == (114.0, 19.0, 9.0, 1.0)
show(plots.graph(d, {"x": x, "b": b, "c": c, "d": d}), "diamond")

# %% [markdown]
# ## From numbers to arrays
#
# A network computes with arrays. One box then stands for thousands of numbers, and a *local
# slope* would be a table of every output against every input: for a layer of 1000 numbers, a
# million entries, nearly all of them 0. Nobody builds it. All we ever need is what the table does
# to one gradient. So instead of a number, store a function: given the gradient of the result, it
# returns the gradient of the argument. It is called a **pullback**, since it pulls a gradient
# back through one operation.
#
# For operations element by element, it is a product: if $C = A \cdot B$ and $G$ is the gradient
# of the result, the one for $A$ is $G \cdot B$. For a matrix product it takes a moment of
# thought. Let $C = A B$, that is $C_{ij} = \sum_m A_{im} B_{mj}$. The entry $A_{im}$ occurs in
# row $i$ of $C$, with the factors $B_{mj}$. Collect:
#
# $$\frac{\partial L}{\partial A_{im}} = \sum_j G_{ij} B_{mj}, \quad\text{so}\quad
# \frac{\partial L}{\partial A} = G B^{\top}, \qquad \frac{\partial L}{\partial B} = A^{\top} G.$$
#
# The shapes leave no other choice: $G$ has the shape of $C$, and only one product of $G$ and $B$
# has the shape of $A$.


# %%
class Variable:
    def __init__(self, data, parents=(), pullbacks=()):
        self.data = np.asarray(data, dtype=np.float64)
        self.parents = parents
        self.pullbacks = pullbacks
        self.grad = None


def matmul(a, b):
    return Variable(
        a.data @ b.data, (a, b), (lambda grad: grad @ b.data.T, lambda grad: a.data.T @ grad)
    )


def relu(a):
    """Negative numbers become 0; the gradient passes where the number was positive."""
    return Variable(np.maximum(a.data, 0.0), (a,), (lambda grad: grad * (a.data > 0),))


# %% [markdown]
# ## Broadcasting, and its way back
#
# A layer adds a bias of shape $(K,)$ to a batch of shape $(N, K)$. NumPy *broadcasts*: it adds
# the same $K$ numbers to every row. The way back follows from the rule for values that are used
# several times: each bias is used $N$ times, so its gradient is the *sum* of $N$ gradients. What
# was repeated on the way forward is added up on the way back, and the gradient gets the shape of
# its variable.


# %%
def unbroadcast(grad, shape):
    """Add up along the axes that broadcasting has repeated."""
    extra = grad.ndim - len(shape)
    grad = grad.sum(axis=tuple(range(extra)))  # axes that were put in front
    stretched = tuple(i for i, size in enumerate(shape) if size == 1 and grad.shape[i] != 1)
    return grad.sum(axis=stretched, keepdims=True)


def add(a, b):
    return Variable(
        a.data + b.data,
        (a, b),
        (
            lambda grad: unbroadcast(grad, a.data.shape),
            lambda grad: unbroadcast(grad, b.data.shape),
        ),
    )


rng = np.random.default_rng(4)
for shape in [(3,), (1, 3), (4, 1), (), (1, 1), (4, 3)]:
    grad = rng.normal(size=(4, 3))
    ours = unbroadcast(grad, shape)
    # Repeating and adding up are two sides of one coin: <repeat(v), G> = <v, add_up(G)>.
    v = rng.normal(size=shape)
    assert ours.shape == shape
    assert np.isclose((np.broadcast_to(v, (4, 3)) * grad).sum(), (v * ours).sum())
    assert np.allclose(ours, ts.unbroadcast(grad, shape), rtol=1e-15)

# %% [markdown]
# ## The last piece: the loss
#
# The loss could be put together from exponentials, sums and logarithms. Chapter 03 found
# something better: its gradient is output minus target, for softmax and logarithm together. So it
# becomes *one* operation with a pullback of its own.


# %%
def mean_cross_entropy(logits, targets):
    rows = np.arange(len(targets))
    shifted = logits.data - logits.data.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    def pullback(grad):
        output_minus_target = np.exp(log_probs)
        output_minus_target[rows, targets] -= 1.0
        return grad * output_minus_target / len(targets)

    return Variable(-log_probs[rows, targets].mean(), (logits,), (pullback,))


def backward_through_arrays(output):
    awaited = {output: 0}
    unseen = [output]
    while unseen:
        for parent in unseen.pop().parents:
            if parent not in awaited:
                awaited[parent] = 0
                unseen.append(parent)
            awaited[parent] += 1
    output.grad = np.ones_like(output.data)
    ready = [output]
    while ready:
        value = ready.pop()
        for parent, pullback in zip(value.parents, value.pullbacks, strict=True):
            part = pullback(value.grad)
            parent.grad = part if parent.grad is None else parent.grad + part
            awaited[parent] -= 1
            if awaited[parent] == 0:
                ready.append(parent)


# %% [markdown]
# That is all. About sixty lines, and they differentiate any network made of these pieces. Here is
# one: 12 inputs, 16 hidden numbers, 5 classes. We compute the loss and all gradients with our
# autograd, and with the library.

# %%
images = rng.normal(size=(40, 12))
targets = rng.integers(0, 5, size=40)
start = {
    "W1": rng.normal(size=(12, 16)) / np.sqrt(12),
    "b1": np.zeros(16),
    "W2": rng.normal(size=(16, 5)) / 4,
    "b2": np.zeros(5),
}


def our_loss(p):
    hidden = relu(add(matmul(Variable(images), p["W1"]), p["b1"]))
    return mean_cross_entropy(add(matmul(hidden, p["W2"]), p["b2"]), targets)


def library_loss(p):
    hidden = ts.relu(images @ p["W1"] + p["b1"])
    return ts.cross_entropy(hidden @ p["W2"] + p["b2"], targets)


ours = {name: Variable(array) for name, array in start.items()}
loss = our_loss(ours)
backward_through_arrays(loss)

theirs = {name: ts.Tensor(array, requires_grad=True) for name, array in start.items()}
library = library_loss(theirs)
library.backward()

differences = {name: np.abs(ours[name].grad - theirs[name].grad).max() for name in start}
print(
    f"loss {float(loss.data):.6f}; largest difference of a gradient {max(differences.values()):.1e}"
)
assert abs(loss.data - library.item()) < 1e-14
assert max(differences.values()) < 1e-15
show(plots.graph(library, theirs), "network")

# %% [markdown]
# Two programs with the same mistake would agree, too, so let an impartial judge look: finite
# differences.

# %%
report = ts.gradcheck(
    lambda *arrays: library_loss(dict(zip(start, arrays, strict=True))), list(start.values())
)
print(
    f"{report.comparisons} slopes compared, largest relative error {report.max_relative_error:.1e}"
)
assert report.comparisons == sum(array.size for array in start.values()) == 293
assert report.max_relative_error < 1e-6

# %% [markdown]
# And now train, fifty steps down the slope with both. If every gradient is right, the two must go
# exactly the same way.

# %%
weights = {name: array.copy() for name, array in start.items()}
tensors = {name: ts.Tensor(array, requires_grad=True) for name, array in start.items()}
optimiser = ts.optim.SGD(tensors.values(), lr=0.5)
history = []
for _ in range(50):
    ours = {name: Variable(array) for name, array in weights.items()}
    loss = our_loss(ours)
    backward_through_arrays(loss)
    weights = {name: array - 0.5 * ours[name].grad for name, array in weights.items()}

    optimiser.zero_grad()
    library = library_loss(tensors)
    library.backward()
    optimiser.step()
    history.append((float(loss.data), library.item()))

history = np.array(history)
print(f"loss {history[0, 0]:.4f} -> {history[-1, 0]:.4f}; ", end="")
print(f"largest difference on the way {np.abs(history[:, 0] - history[:, 1]).max():.0e}")
assert np.abs(history[:, 0] - history[:, 1]).max() < 1e-12
assert all(np.abs(weights[name] - tensors[name].data).max() < 1e-12 for name in start)
assert history[-1, 0] < 0.5 * history[0, 0]

# %% [markdown]
# ## What the library adds
#
# *It frees what it has used.* The pullbacks hold on to the arrays of the forward; for a network
# with images that is most of the memory. After the walk they are of no use, so `backward()` lets
# go of them. Walking twice is then impossible, and says so:

# %%
x = ts.Tensor(3.0, requires_grad=True)
y = x * x
y.backward()
try:
    y.backward()
except RuntimeError as error:
    print(error)
else:
    raise AssertionError("a second walk over a freed graph should have been refused")
assert x.grad == 6.0

# %% [markdown]
# *It guards what it still needs.* If you change an array between forward and backward, the
# pullback of a product would use the wrong number, silently. So while a graph needs an array, it
# is read-only:

# %%
x = ts.Tensor([1.0, 2.0], requires_grad=True)
y = (x * x).sum()
try:
    x.data[0] = 100.0
except ValueError as error:
    print(error)
else:
    raise AssertionError("a saved array should have been read-only")
y.backward()
assert np.array_equal(x.grad, [2.0, 4.0])

# %% [markdown]
# *It can look away.* Inside `ts.no_grad()` nothing is recorded, which saves time and memory when
# you only want predictions.
#
# *It can be extended.* An operation is a function that returns its value and its pullbacks by the
# names of its arguments, and `@ts.primitive` does the rest. Here is *softplus*, $\log(1 + e^x)$,
# whose slope is the sigmoid. It is the log-sum-exp of $x$ and 0, so you know from chapter 01 how
# to compute it without an overflow.

# %%
with ts.no_grad():
    assert not (ts.Tensor(3.0, requires_grad=True) * 2).requires_grad


@ts.primitive
def softplus(x: np.ndarray):
    out = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return out, {"x": lambda grad: grad / (1 + np.exp(-x))}


points = np.array([-30.0, -1.0, 0.5, 2.0, 30.0])
report = ts.gradcheck(softplus, points)
assert report.max_relative_error < 1e-6
assert np.allclose(softplus(points).data, ts.logsumexp(np.stack([points, 0 * points]), axis=0).data)

# %% [markdown]
# ## What you have learnt
#
# - A computation can record itself: every result knows its parents and a rule for each.
# - Gradients of all paths add up. Visit each value once, after everything that has used it;
#   earlier is silently wrong.
# - For arrays, the rule is a pullback: from the gradient of the result to the gradient of the
#   argument.
# - What broadcasting repeats, its pullback adds up.
# - Softmax and logarithm make one operation with the pullback output minus target.
#
# ## Questions
#
# 1. In $y = x \cdot x$, how many arrows lead from $x$ to the product, and what does each
#    contribute at $x = 5$?
#
# :::{dropdown} Answer
# Two, with the local slope 5 each. Together 10, which is 2x.
# :::
#
# 2. Why is a walk that visits values in the reverse order of their creation also correct?
#
# :::{dropdown} Answer
# A value is created before anything that uses it. In reverse, everything that used it comes
# before it.
# :::
#
# 3. What is the pullback of a sum over all elements of an array?
#
# :::{dropdown} Answer
# Every element gets the gradient of the sum: the number is broadcast to the array's shape.
# :::
#
# 4. A gradient arrives with shape (40, 5) at a bias of shape (5,). What has been forgotten?
#
# :::{dropdown} Answer
# To add up over the 40 rows, which all used the same bias.
# :::
#
# 5. Why does a network need much more memory in training than in prediction?
#
# :::{dropdown} Answer
# The pullbacks hold on to the arrays of the forward until the walk has passed them.
# :::
#
# ## Exercises
#
# Write these in `chapters/exercises/04.py`, then run `tinysmooth chapters check 4`.
#
# 1. `visiting_order(parents, output)`: an order in which every value comes after all that use it.
# 2. `unbroadcast(grad, shape)`: the way back from broadcasting, for any number of axes.
# 3. `matmul_pullbacks(a, b, grad)`: both gradients of a product, for stacks of matrices as well.
#
# ## Sources
#
# - S. Linnainmaa, *Taylor expansion of the accumulated rounding error*, BIT 16, 1976: the
#   backward walk, with program text.
# - A. Griewank, A. Walther, *Evaluating Derivatives*, SIAM, 2nd edition 2008: the theory of what
#   was built here.
# - D. E. Knuth, *The Art of Computer Programming*, volume 1, section 2.2.3: topological sorting
#   by counting.
