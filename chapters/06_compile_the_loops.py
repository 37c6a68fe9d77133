# %% [markdown]
# # 06 Compile the loops
#
# **Why is a loop in Python a thousand times slower than it has to be, and what is left to gain
# once it is compiled?**
#
# You need convolution (chapter 05). Runs in about ten seconds; the very first time up to a
# minute, while the library's kernels are compiled.
#
# One rule for the whole chapter: *equal first, timed second*. A fast wrong answer is no answer.
# And a warning: times depend on the machine, on what else it is doing, even on its temperature.
# They are printed and drawn here, but nothing is concluded from them that could come out
# differently on your computer.

# %%
import re
import time
from contextlib import contextmanager

import numba
import numpy as np

import tinysmooth as ts
from tinysmooth import kernels, plots
from tinysmooth.chapters import show
from tinysmooth.kernels.convolution import definition, fast, im2col, loops, winograd
from tinysmooth.kernels.jit import ENABLED

rng = np.random.default_rng(6)


def best_time(function, *arguments, repeats=5):
    """Least of several times in milliseconds, after a first call that may have to compile."""
    function(*arguments)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


# %% [markdown]
# (Why the least and not the mean? Other programs can only ever make yours slower. The fastest run
# is the one that was disturbed least.)
#
# ## What a compiler does
#
# Take the simplest loop there is, the dot product of two lists of numbers.


# %%
def dot(a, b):
    total = np.float32(0.0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


a, b = rng.normal(size=(2, 100_000)).astype(np.float32)

# %% [markdown]
# For each of the 100,000 steps Python looks up what `a[i]` means for this kind of object, makes a
# new object for the number it finds, does so again for `b[i]`, looks up what `*` means for these
# two, makes an object for the product, and so on. The multiplication itself, one tick of the
# clock, drowns in housekeeping.
#
# A *compiler* asks those questions once. [Numba](https://numba.pydata.org) looks at the types of
# the arguments, here two arrays of `float32`, follows them through the function, and hands the
# result to LLVM, which writes machine code for exactly these types. It happens at the first call.

# %%
compiled = numba.njit(dot)
start = time.perf_counter()
compiled(a, b)
print(f"first call, with compilation: {1000 * (time.perf_counter() - start):.0f} ms")

# %% [markdown]
# Such a loop is fast but not yet as fast as it could be. A CPU can multiply 4, 8 or 16
# neighbouring floats in one instruction (*vectorised*). Here it may not: in floating point,
# $(a + b) + c$ and $a + (b + c)$ are rounded differently, so a faithful compiler must add in the
# order that you wrote, one after the other. If you *allow* it to regroup, it keeps several
# partial sums side by side. The library's kernels give this permission (LLVM's flag is called
# `reassoc`) and one to multiply and add with a single rounding (`contract`). They do *not* give
# the common `fastmath=True`, which would also promise that no number is ever NaN or infinite, and
# let NaNs vanish.

# %%
regrouped = numba.njit(dot, fastmath={"reassoc", "contract"})
exact = float(a.astype(np.float64) @ b.astype(np.float64))
ways = {
    "Python": dot,
    "compiled": compiled,
    "compiled, may regroup": regrouped,
    "NumPy, a @ b": np.dot,
}
times = {}
for name, function in ways.items():
    error = abs(float(function(a, b)) - exact) / np.linalg.norm(a) / np.linalg.norm(b)
    assert error < 1e-5  # equal first
    times[name] = best_time(function, a, b, repeats=1 if name == "Python" else 20)
    print(f"{name:22} {times[name]:9.4f} ms, error {error:.0e}")
if ENABLED:
    assert times["Python"] > 50 * times["compiled"]
    for name, function in (("compiled", compiled), ("may regroup", regrouped)):
        assembly = "".join(function.inspect_asm().values())
        packed = len(re.findall(r"\bv?(?:fmadd\d+|fma|mul|add)ps\b|\bfmla\b", assembly))
        print(f"{name}: {packed} instructions on whole vectors in the machine code")

# %%
show(
    plots.kernel_times(
        list(times), list(times.values()), 0.0, "One dot product of 100,000 numbers"
    ),
    "dot_product",
)

# %% [markdown]
# The library wraps Numba in one place, `tinysmooth.kernels.jit`. Machine code is kept on disk, so
# that only the very first run pays; if it is edited, it is compiled anew. And there is a way
# back: with the environment variable `NUMBA_DISABLE_JIT=1` all of it runs as plain Python and
# NumPy.
#
# ## The ladder
#
# Now convolution. Chapter 05 had it in plain loops and as a matrix product. The library has five
# versions, each a room of its own that you can read, each with the same three functions (forward,
# gradient of the images, gradient of the filters):
#
# | rung | idea |
# | --- | --- |
# | `definition` | seven loops in Python, as the formula says |
# | `im2col` | windows as a matrix, one product, in NumPy. The reference for all others |
# | `loops` | the seven loops again, compiled |
# | `winograd` | fewer multiplications, in NumPy |
# | `fast` | what runs by default: several ideas fused, in vector registers |
#
# Equal first. For several shapes, strides and paddings we run all three functions of all rungs in
# `float32`, and compare with the definition in `float64`. (Inside the library, images lie in
# memory with the channels last, $(N, H, W, C)$.)

# %%
rungs = {
    "definition": definition,
    "im2col": im2col,
    "compiled loops": loops,
    "Winograd in NumPy": winograd,
    "fast": fast,
}
worst = dict.fromkeys(rungs, 0.0)
for x_shape, w_shape, stride, padding in [
    ((2, 6, 5, 3), (4, 3, 3, 3), (1, 1), (1, 1)),
    ((1, 7, 7, 2), (3, 2, 3, 3), (2, 2), (1, 1)),
    ((2, 5, 6, 2), (2, 2, 2, 3), (1, 2), (0, 1)),
    ((1, 8, 8, 4), (5, 4, 3, 3), (1, 1), (0, 0)),
]:
    x, w = rng.normal(size=x_shape), rng.normal(size=w_shape)
    out = definition.conv2d_forward(x, w, stride, padding)
    grad = rng.normal(size=out.shape)
    calls = {
        "conv2d_forward": (x, w, stride, padding),
        "conv2d_backward_data": (grad, w, x_shape, stride, padding),
        "conv2d_backward_weight": (x, grad, w_shape, stride, padding),
    }
    for function, arguments in calls.items():
        exact = getattr(definition, function)(*arguments)
        single = [
            each.astype(np.float32) if isinstance(each, np.ndarray) else each for each in arguments
        ]
        for name, room in rungs.items():
            result = getattr(room, function)(*single)
            assert result.shape == exact.shape
            assert result.dtype == np.float32
            worst[name] = max(worst[name], np.abs(result - exact).max() / np.abs(exact).max())
for name, error in worst.items():
    print(f"{name:18} largest error {error:.1e} of the largest number")
assert max(worst.values()) < 1e-4

# %% [markdown]
# Timed second. The measure of the work is the number of multiply-adds in the definition: each
# number of the result needs $C \cdot R \cdot S$ of them. For a layer from 32 to 64 channels on
# eight images of $32 \times 32$ pixels that makes 151 million. The definition would take a minute
# or more, so it gets a tiny layer, and we compare nanoseconds *per multiply-add*.


# %%
def multiply_adds(out_shape, w_shape):
    return int(np.prod(out_shape)) * int(np.prod(w_shape[1:]))


same = ((1, 1), (1, 1))
tiny = rng.normal(size=(1, 8, 8, 4)).astype(np.float32), rng.normal(size=(8, 4, 3, 3))
tiny = (tiny[0], tiny[1].astype(np.float32), (1, 1), (0, 0))
big_shape, big_filters = (
    ((8, 32, 32, 32), (64, 32, 3, 3)) if ENABLED else ((1, 8, 8, 4), (8, 4, 3, 3))
)
x = rng.normal(size=big_shape).astype(np.float32)
w = (rng.normal(size=big_filters) / 17).astype(np.float32)
work = multiply_adds((*big_shape[:3], big_filters[0]), big_filters)
if ENABLED:
    assert work == 150_994_944

nanoseconds = {}
for name, room in rungs.items():
    if room is definition:
        elapsed, count = best_time(room.conv2d_forward, *tiny, repeats=2), 6 * 6 * 8 * 4 * 9
    else:
        elapsed, count = best_time(room.conv2d_forward, x, w, *same), work
    nanoseconds[name] = 1e6 * elapsed / count
    print(f"{name:18} {nanoseconds[name]:10.4f} ns per multiply-add", end="")
    print(f", {elapsed:8.2f} ms" if room is not definition else " (on a tiny layer)")
if ENABLED:
    for name in ("im2col", "compiled loops", "fast"):
        assert nanoseconds["definition"] > 50 * nanoseconds[name]
in_full = [nanoseconds[name] * work / 1e6 for name in rungs]
show(
    plots.kernel_times(
        list(rungs), in_full, 0.0, f"One layer, {work / 1e6:.0f} million multiply-adds"
    ),
    "ladder",
)

# %% [markdown]
# (The first bar is extrapolated from the tiny layer. All rungs may use the two or more threads
# that `ts.get_num_threads()` reports, or those of NumPy's matrix product.)
#
# ## Why compiling is not enough
#
# The compiled loops are far above the bottom. What holds them back is not arithmetic but
# *fetching*. The innermost loop does `out[k] += pixel * weight[k]`: for each multiply-add, one
# number is loaded from `weight`, one from `out`, and one stored. A CPU core can start two vector
# multiply-adds at each tick but load only two vectors and store one, so it mostly waits.
#
# A matrix product offers a way out, because every number is used many times: load it once, use it
# often. Keep a small *tile* of the result in registers, the few places that need no loading at
# all. With a tile of 6 rows and 4 vectors, each step loads $6 + 4$ things and does $6 \cdot 4$
# multiply-adds with them. That is 2.4 multiply-adds a load instead of one multiply-add for three
# accesses.

# %%
loads, products = 6 + 4, 6 * 4
assert products / loads == 2.4
per_access = {
    f"{rows} x {columns}": rows * columns / (rows + columns)
    for rows, columns in [(1, 1), (2, 2), (4, 4), (6, 4)]
}
print(per_access)
assert max(per_access, key=per_access.get) == "6 x 4"

# %% [markdown]
# The larger the tile the better, until the registers are full. `tinysmooth.kernels.microkernel`
# writes this one loop with great care, and the fast convolutions of the library run on it.
# Matrix libraries such as the one under NumPy are built in the same way.
#
# The same law holds one level up. Main memory is ten to a hundred times slower than the cache
# next to the core. How much that matters you can see without any arithmetic worth mentioning: add
# up a table along its rows, in the order in which it lies in memory, and along its columns, in
# big jumps.


# %%
def add_by_rows(table):
    total = np.float32(0.0)
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            total += table[i, j]
    return total


def add_by_columns(table):
    total = np.float32(0.0)
    for j in range(table.shape[1]):
        for i in range(table.shape[0]):
            total += table[i, j]
    return total


side = 2048 if ENABLED else 64
table = np.ones((side, side), np.float32)
rows, columns = numba.njit(add_by_rows), numba.njit(add_by_columns)
assert rows(table) == columns(table) == side**2
print(f"by rows {best_time(rows, table):.2f} ms, by columns {best_time(columns, table):.2f} ms")

# %% [markdown]
# Same additions, same result. This is why `im2col`, for all its elegance, is not the end: it
# writes a table nine times as large as the images to main memory and reads it back. `fast` lays
# the windows out block by block, in pieces that fit the cache and are used up before the next
# piece comes.
#
# ## Fewer multiplications
#
# So far every rung has done the same multiplications. Can some be saved? Take four neighbouring
# pixels $d_0 \dots d_3$ and a filter of three weights $g_0, g_1, g_2$. Two results take six
# multiplications:
#
# $$y_0 = d_0 g_0 + d_1 g_1 + d_2 g_2, \qquad y_1 = d_1 g_0 + d_2 g_1 + d_3 g_2.$$
#
# Shmuel Winograd found that four suffice:
#
# $$\begin{aligned}
# m_1 &= (d_0 - d_2)\, g_0, & m_2 &= (d_1 + d_2)\, \tfrac{g_0 + g_1 + g_2}{2}, \\
# m_4 &= (d_1 - d_3)\, g_2, & m_3 &= (d_2 - d_1)\, \tfrac{g_0 - g_1 + g_2}{2},
# \end{aligned} \qquad y_0 = m_1 + m_2 + m_3, \quad y_1 = m_2 - m_3 - m_4.$$
#
# The halves with $g$ are computed once for each filter, and the sums of $d$ once for all filters.
# What remains for each pair of pixel and filter is the four products. Check it:

# %%
d, g = rng.normal(size=4), rng.normal(size=3)
m1 = (d[0] - d[2]) * g[0]
m2 = (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2
m3 = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2
m4 = (d[1] - d[3]) * g[2]
by_definition = [d[:3] @ g, d[1:] @ g]
assert np.allclose([m1 + m2 + m3, m2 - m3 - m4], by_definition, atol=1e-14)

# %% [markdown]
# Where does it come from? From polynomials. The product of two polynomials is determined by its
# values at enough points, and a *value* of the product costs one multiplication. The room
# `winograd` derives the three matrices from that idea, for two outputs or four:
# $y = A^{\top} [ (G g) \odot (B^{\top} d) ]$, with $\odot$ for element by element. In two
# dimensions the savings are squared:

# %%
for tile in (2, 4):
    b_t, g_matrix, a_t = winograd.matrices(tile)
    points = tile + 2
    d = rng.normal(size=(points, points))
    g = rng.normal(size=(3, 3))
    y = a_t @ ((g_matrix @ g @ g_matrix.T) * (b_t @ d @ b_t.T)) @ a_t.T
    direct = [[(d[i : i + 3, j : j + 3] * g).sum() for j in range(tile)] for i in range(tile)]
    assert np.allclose(y, direct, atol=1e-12)
    print(
        f"{tile} x {tile} results: {points**2} multiplications instead of {9 * tile**2}, ", end=""
    )
    print(f"a factor of {9 * tile**2 / points**2:g}")
assert 9 * 4**2 / 6**2 == 4.0
assert 9 * 2**2 / 4**2 == 2.25

# %% [markdown]
# A quarter of the multiplications! But nothing is free. The matrices for $4 \times 4$ contain
# numbers up to 5, sums of large numbers cancel, and with `float32` some digits go. Let us measure
# it, on the big layer, against `float64`:

# %%
exact = im2col.conv2d_forward(x.astype(np.float64), w.astype(np.float64), *same)


def error_of(result):
    return float(np.abs(result - exact).max() / np.abs(exact).max())


precision = {
    "im2col": error_of(im2col.conv2d_forward(x, w, *same)),
    "Winograd, 2 x 2": error_of(winograd.conv2d_forward(x, w, *same, tile=2)),
    "Winograd, 4 x 4": error_of(winograd.conv2d_forward(x, w, *same, tile=4)),
    "fast": error_of(fast.conv2d_forward(x, w, *same)),
}
for name, error in precision.items():
    print(f"{name:16} largest error {error:.1e}")
assert precision["im2col"] < precision["Winograd, 4 x 4"] < 1e-4
assert precision["fast"] < 1e-4

# %% [markdown]
# About a digit is lost, which training, with its noisy gradients, does not notice. Where it
# matters you can do without: `float64` never takes this route, and `ts.use_kernels("compiled",
# winograd=False)` switches it off.
#
# In NumPy, Winograd is not even fast, as your ladder probably shows: it saves multiplications and
# pays in memory traffic, since all the transformed tiles go to main memory and back. Only
# *fused*, tile block by tile block in the cache, does the saving become real. The lesson of the
# whole ladder is one sentence: **count the bytes before you count the operations.**
#
# ## Where the time goes
#
# Is convolution worth all this? Before you speed anything up, measure its share. Here is one
# training step of a small network, with a stopwatch round every kernel.


# %%
@contextmanager
def stopwatches():
    """Time every kernel of the library inside the block; gives a dictionary of milliseconds."""
    spent, originals = {}, {}

    def timed(name, function):
        def run(*arguments, **options):
            start = time.perf_counter()
            result = function(*arguments, **options)
            spent[name] = spent.get(name, 0.0) + 1000 * (time.perf_counter() - start)
            return result

        return run

    for name in kernels.__all__:
        function = getattr(kernels, name)
        if callable(function) and name not in ("use_kernels", "kernels_in_use"):
            originals[name] = function
            setattr(kernels, name, timed(name, function))
    try:
        yield spent
    finally:
        for name, function in originals.items():
            setattr(kernels, name, function)


drawn = ts.data.load_drawn(per_class=3, size=32 if ENABLED else 12, grey=True)
images, targets = drawn.images.astype(np.float32) / 255, drawn.targets
network = ts.models.small_convnet(in_channels=1, rng=np.random.default_rng(0))
optimiser = ts.optim.SGD(network.parameters(), lr=0.0)  # no step: the work stays the same


def training_step():
    optimiser.zero_grad()
    loss = ts.cross_entropy(network(images), targets)
    loss.backward()
    optimiser.step()
    return loss.item()


losses = {}
for choice in ("reference", "compiled"):
    with ts.use_kernels(choice):
        losses[choice] = training_step()
print(losses)
assert abs(losses["compiled"] / losses["reference"] - 1) < 1e-4  # equal first

# %%
labels = {
    "conv2d": "convolution",
    "batch": "batch norm, ReLU, pooling",
    "max": "pooling",
    "global": "global pooling",
    "cross": "loss",
    "scan": "loss",
    "sgd": "optimiser",
}
total, groups = np.inf, {}
for _ in range(5):
    with stopwatches() as spent:
        start = time.perf_counter()
        training_step()
        elapsed = 1000 * (time.perf_counter() - start)
    if elapsed < total:  # keep the step that was disturbed least
        total, groups = elapsed, {}
        for name, milliseconds in spent.items():
            group = labels.get(name.split("_")[0], "the rest of the kernels")
            groups[group] = groups.get(group, 0.0) + milliseconds
shares = {group: value for group, value in groups.items() if value > 1e-3}
shares = dict(sorted(shares.items(), key=lambda item: -item[1]))
shares["everything around them"] = total - sum(shares.values())
for name, milliseconds in shares.items():
    print(f"{name:28} {milliseconds:7.3f} ms, {milliseconds / total:6.1%}")
assert 0 < groups["convolution"] < total
assert np.isclose(sum(shares.values()), total)
show(
    plots.kernel_times(
        list(shares),
        np.maximum(list(shares.values()), 1e-3),
        0.0,
        f"One training step, {total:.1f} ms in all",
    ),
    "training_step",
)

# %% [markdown]
# And then there is Gene Amdahl's warning. If convolution takes a share $c$ of the time and you
# make it $s$ times as fast, the whole becomes only
#
# $$\frac{1}{(1 - c) + c/s}$$
#
# times as fast. With a share of 0.8, a convolution that costs *nothing* at all would give a
# factor of 5. The rest has to be worked on as well, which is why the library fuses batch
# normalisation, ReLU and pooling into one pass over memory.


# %%
def whole_speedup(share, factor):
    return 1 / ((1 - share) + share / factor)


assert np.isclose(whole_speedup(0.8, 10), 1 / 0.28)
assert np.isclose(whole_speedup(0.8, np.inf), 5.0)
share = groups["convolution"] / total
print(f"convolution takes {share:.0%} here; twice as fast, it would make the step", end=" ")
print(f"{whole_speedup(share, 2):.2f} times as fast")
assert 1 < whole_speedup(share, 2) < 2

# %% [markdown]
# ## What you have learnt
#
# - An interpreter spends its time on asking what to do; a compiler asks once. That is worth a
#   factor of fifty at least, usually of several hundred.
# - The order of floating-point additions matters to the last digit, so a compiler needs
#   permission to vectorise a sum.
# - After that, fetching is the bottleneck. Tiles in registers and blocks in the cache use each
#   number often once it is there.
# - Winograd's algorithm saves three quarters of the multiplications of a 3 x 3 filter and costs
#   about a digit.
# - Check equality before you time, take the least of several times, measure shares before you
#   optimise.
#
# ## Questions
#
# 1. Why does the library not simply use `fastmath=True`?
#
# :::{dropdown} Answer
# It lets the compiler assume that there are no NaNs and no infinities. A NaN that should warn you
# could disappear.
# :::
#
# 2. A tile of 8 x 8 would give four multiply-adds a load. Why is it not used?
#
# :::{dropdown} Answer
# Its 64 vectors of sums do not fit into the 16 or 32 vector registers; they would have to be
# loaded and stored, which is what the tile was to avoid.
# :::
#
# 3. Part of a program takes 30 % of its time. What is the most that can be gained by speeding up
#    that part?
#
# :::{dropdown} Answer
# 1 / 0.7 = 1.43 times as fast.
# :::
#
# 4. Why is the first call of a kernel slow, and the second run of the program not?
#
# :::{dropdown} Answer
# The first call compiles. The machine code is kept on disk for later runs.
# :::
#
# 5. Winograd's way needs more additions than the direct sum. How can it still be faster?
#
# :::{dropdown} Answer
# The additions on pixels are done once for all filters, and those on filters once for all pixels.
# The products are what is needed for each pair of pixel and filter.
# :::
#
# ## Exercises
#
# Write these in `chapters/exercises/06.py`, then run `tinysmooth chapters check 6`.
#
# 1. `multiply_adds(x_shape, weight_shape, stride, padding)`: the work of a layer.
# 2. `winograd_pair(d, g)`: two results with four multiplications; the checker counts them.
# 3. `blocked_matmul(a, b, block)`: a matrix product block by block, sizes that do not fit
#    included.
# 4. `whole_speedup(shares, factors)`: Amdahl's law for several parts at once.
#
# ## Sources
#
# - S. K. Lam, A. Pitrou, S. Seibert, *Numba: a LLVM-based Python JIT compiler*, LLVM-HPC 2015.
# - K. Goto, R. A. van de Geijn, *Anatomy of High-Performance Matrix Multiplication*, ACM TOMS
#   34(3), 2008: tiles and blocks.
# - S. Winograd, *Arithmetic Complexity of Computations*, SIAM 1980; A. Lavin, S. Gray, *Fast
#   Algorithms for Convolutional Neural Networks*, CVPR 2016, arXiv 1509.09308.
# - G. M. Amdahl, *Validity of the single processor approach to achieving large scale computing
#   capabilities*, AFIPS 1967.
