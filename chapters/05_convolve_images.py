# %% [markdown]
# # 05 Convolve images
#
# **How does a convolution look at an image, and how does a gradient find its way back through
# it?**
#
# You need pullbacks (chapter 04) and matrix products. Runs in about three seconds.
#
# Three operations make up nearly all of a convolutional network: convolution, pooling, batch
# normalisation. For each of them you write the forward by its definition, derive the way back,
# and hold both against the library and against finite differences.

# %%
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import show

rng = np.random.default_rng(5)

# %% [markdown]
# ## A window that slides
#
# Take a small table of weights, the *filter*, lay it on the top left corner of an image, multiply
# the numbers that lie on each other, add up: that is one pixel of the result. Move one pixel on
# and repeat. With an image $x$, a filter $w$ of $R \times S$ weights, rows $i$ and columns $j$:
#
# $$\text{out}_{ij} = \sum_{r=0}^{R-1} \sum_{s=0}^{S-1} x_{i+r,\,j+s} \; w_{rs}.$$
#
# (Mathematicians call this a *correlation*, and turn the filter upside down for a convolution.
# Deep learning calls it convolution all the same; since the weights are learnt, it makes no
# difference.) An example to check in your head:

# %%
x = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [4.0, 0.0, 1.0]])
w = np.array([[1.0, 0.0], [2.0, -1.0]])


def slide(x, w):
    rows, columns = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    out = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            out[i, j] = (x[i : i + w.shape[0], j : j + w.shape[1]] * w).sum()
    return out


print(slide(x, w))
# top left: 1*1 + 2*0 + 0*2 + 1*(-1) = 0; top right: 2 + 2*1 - 3 = 1
# bottom left: 0 + 2*4 - 0 = 8;           bottom right: 1 + 2*0 - 1 = 0
assert np.array_equal(slide(x, w), [[0.0, 1.0], [8.0, 0.0]])
assert np.array_equal(ts.conv2d(x[None, None], w[None, None]).data[0, 0], slide(x, w))

# %% [markdown]
# What is it good for? A filter answers where the image looks like the filter. Weights that rise
# from left to right find vertical edges; a dot against its surroundings finds points; equal
# weights blur. A network does not choose its filters from a book. It learns them, with the
# gradients of this chapter.

# %%
picture = ts.data.load_drawn(per_class=1, size=48, grey=True, variation=0.0).images[6, 0] / 255.0
filters = {
    "vertical edges": np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]),
    "horizontal edges": np.array([[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]]),
    "points": np.array([[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]]),
}
results = [slide(picture, weights) for weights in filters.values()]
assert results[0].shape == (46, 46)
flat = np.full((5, 5), 0.7)
assert all(np.abs(slide(flat, weights)).max() < 1e-12 for weights in filters.values())
show(plots.filter_results(picture, filters, results), "filters")

# %% [markdown]
# ## Channels, stride, padding
#
# A colour image has three *channels*, and inside a network there are many more. A filter then has
# weights for every channel, and adds up over them, too; and a layer has many filters, each of
# which makes a channel of the result. For a batch of images $x$ of shape $(N, C, H, W)$ and
# filters $w$ of shape $(K, C, R, S)$:
#
# $$\text{out}_{nkij} = \sum_{c,\,r,\,s} x_{n,\,c,\,a,\,b} \; w_{kcrs}, \qquad
# a = i \cdot \text{stride} + r - \text{pad}, \quad b = j \cdot \text{stride} + s - \text{pad}.$$
#
# *Padding* lays a frame of zeros round the image, so that the window can also stand at the
# border; *stride* is how far it moves each time. The window fits as often as
#
# $$H_o = \left\lfloor \frac{H + 2\,\text{pad} - R}{\text{stride}} \right\rfloor + 1$$
#
# times. Here is the formula as it stands, seven loops if you count the four that NumPy does in
# one line. It is slow and cannot be misread; chapter 06 is about speed.


# %%
def convolve(x, w, stride=1, padding=0):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows = (x.shape[2] - w.shape[2]) // stride + 1
    columns = (x.shape[3] - w.shape[3]) // stride + 1
    out = np.zeros((x.shape[0], w.shape[0], rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            window = x[:, :, top : top + w.shape[2], left : left + w.shape[3]]
            for k in range(w.shape[0]):
                out[:, k, i, j] = (window * w[k]).sum(axis=(1, 2, 3))
    return out


cases = 0
for size in ((7, 7), (6, 9)):
    for kernel in ((1, 1), (3, 3), (2, 3)):
        for stride in (1, 2, 3):
            for padding in (0, 1):
                x = rng.normal(size=(2, 3, *size))
                w = rng.normal(size=(4, 3, *kernel))
                ours = convolve(x, w, stride, padding)
                library = ts.conv2d(x, w, stride=stride, padding=padding).data
                rows = (size[0] + 2 * padding - kernel[0]) // stride + 1
                assert ours.shape == library.shape == (2, 4, rows, library.shape[3])
                assert np.abs(ours - library).max() < 1e-12
                cases += 1
print(f"equal to the library in {cases} combinations of size, filter, stride and padding")
assert cases == 36

# %% [markdown]
# ## One matrix product
#
# Every pixel of the result is a sum of products of two lists: the window, and the filter. A
# matrix product is nothing but many such sums. So write each window as a row of one long table
# and each filter as a column of another; one product does it all. It is called *im2col*, image to
# columns. NumPy's `sliding_window_view` shows all windows of an array without copying a single
# number; the copy happens when they are laid out as rows.


# %%
def windows_of(x, kernel, stride, padding):
    """All windows as a view of shape (N, C, Ho, Wo, R, S)."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    return sliding_window_view(x, kernel, axis=(2, 3))[:, :, ::stride, ::stride]


def convolve_by_product(x, w, stride=1, padding=0):
    windows = windows_of(x, w.shape[2:], stride, padding)
    n, c, rows, columns, r, s = windows.shape
    table = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * rows * columns, c * r * s)
    out = table @ w.reshape(len(w), c * r * s).T
    return out.reshape(n, rows, columns, len(w)).transpose(0, 3, 1, 2)


x, w = rng.normal(size=(2, 3, 8, 8)), rng.normal(size=(4, 3, 3, 3))
for stride, padding in [(1, 0), (1, 1), (2, 1)]:
    difference = convolve_by_product(x, w, stride, padding) - convolve(x, w, stride, padding)
    assert np.abs(difference).max() < 1e-12
table_size = windows_of(x, (3, 3), 1, 1).size
print(f"the table of windows has {table_size / x.size:.0f} times as many numbers as the images")
assert table_size == 9 * x.size

# %% [markdown]
# ## It is linear, so the way back is a transpose
#
# Double the image and the result doubles; add two images and the results add up. So for a fixed
# filter, convolution is a *linear map* from the pixels of $x$ to those of the result: there is a
# matrix $T$ with $\text{out} = T x$. Nobody writes it down, but for a small image we can, by
# convolving images with a single bright pixel. Each gives one column:

# %%
image_shape, kernel = (6, 6), rng.normal(size=(3, 3))
units = np.eye(36).reshape(36, 1, *image_shape)
columns = convolve(units, kernel[None, None])[:, 0]
out_shape = columns.shape[1:]
T = columns.reshape(36, -1).T
assert T.shape == (16, 36)
assert (T != 0).sum() == 16 * 9  # nine weights in every row
assert len(np.unique(T[T != 0])) == 9  # always the same nine
x = rng.normal(size=image_shape)
assert np.allclose(T @ x.ravel(), slide(x, kernel).ravel())
show(plots.linear_map(T, out_shape, image_shape), "matrix")

# %% [markdown]
# Now the way back. If $\text{out}_a = \sum_b T_{ab} x_b$ and $G_a$ is the gradient of output $a$,
# then by the chain rule pixel $b$ collects $\sum_a G_a T_{ab}$. That is $T^{\top} G$: *the
# pullback of a linear map is its transpose*, also called its **adjoint**.
#
# What does the transpose do? Row $a$ of $T$ says from where output $a$ *gathers*; read as a
# column of $T^\top$, it says to where gradient $a$ *scatters*. Each output sends its gradient
# back to the window it came from, weighted by the same weights. Where windows overlap, the shares
# add up.


# %%
def convolve_pullback(grad, w, input_shape, stride=1, padding=0):
    n, c, height, width = input_shape
    padded = np.zeros((n, c, height + 2 * padding, width + 2 * padding))
    for i in range(grad.shape[2]):
        for j in range(grad.shape[3]):
            top, left = i * stride, j * stride
            for k in range(w.shape[0]):
                share = grad[:, k, i, j][:, None, None, None] * w[k]
                padded[:, :, top : top + w.shape[2], left : left + w.shape[3]] += share
    return padded[:, :, padding : padding + height, padding : padding + width]


grad = rng.normal(size=out_shape)
scattered = convolve_pullback(grad[None, None], kernel[None, None], (1, 1, *image_shape))
assert np.allclose(scattered.ravel(), T.T @ grad.ravel())

# %% [markdown]
# For a stride of 1 it looks like something you know. Pixel $(y, x)$ receives a share from every
# window that covers it, with the weights in *reverse* order: the last weight from the window
# above left, the first from the one below right. So the pullback is a convolution, too, of the
# padded gradient with the filter turned by 180 degrees (and with the roles of input and output
# channels exchanged).

# %%
x, w = rng.normal(size=(2, 3, 8, 8)), rng.normal(size=(4, 3, 3, 3))
grad = rng.normal(size=(2, 4, 8, 8))
turned = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
back = convolve_pullback(grad, w, x.shape, padding=1)
assert np.allclose(convolve(grad, turned, padding=1), back)

# %% [markdown]
# ### The dot-product test
#
# How do you test an adjoint without ever building $T$? By its definition. For all vectors $x$ and
# $G$,
#
# $$\langle T x,\, G \rangle = \langle x,\, T^{\top} G \rangle.$$
#
# Draw both at random, compute both sides, compare two numbers. If the adjoint is wrong in any
# entry, they will differ. It needs no derivative, no step $h$, and is exact to rounding.


# %%
def dot_product_test(forward, pullback, x, grad):
    left, right = (forward(x) * grad).sum(), (x * pullback(grad)).sum()
    return abs(left - right) / max(abs(left), abs(right))


for stride, padding in [(1, 0), (1, 1), (2, 1), (3, 0)]:
    shape = convolve(x, w, stride, padding).shape
    mismatch = dot_product_test(
        lambda x, s=stride, p=padding: convolve(x, w, s, p),
        lambda grad, s=stride, p=padding: convolve_pullback(grad, w, x.shape, s, p),
        x,
        rng.normal(size=shape),
    )
    assert mismatch < 1e-12

# %% [markdown]
# But choose your random numbers well. Suppose somebody forgets to turn the filter. With a
# *symmetric* filter, such as a blur, the mistake does not show at all; with a random one it does
# at once. A test should be as asymmetric as it can.


# %%
def pullback_without_turning(grad, w):
    return convolve(grad, w.transpose(1, 0, 2, 3), padding=1)


mismatches = {}
blur = np.ones((3, 3, 3, 3)) / 9
for name, weights in (("symmetric", blur), ("random", rng.normal(size=(3, 3, 3, 3)))):
    mismatches[name] = dot_product_test(
        lambda x, w=weights: convolve(x, w, padding=1),
        lambda grad, w=weights: pullback_without_turning(grad, w),
        x,
        rng.normal(size=x.shape),
    )
    print(f"forgotten turn, {name} filter: mismatch {mismatches[name]:.0e}")
assert mismatches["symmetric"] < 1e-12
assert mismatches["random"] > 1e-2

# %% [markdown]
# ### The gradient of the weights
#
# The result is just as linear in the weights. With the table of windows it is a matrix product,
# $\text{out} = \text{table} \cdot w^{\top}$, and chapter 04 gives its pullbacks: the gradient of
# the weights is $G^{\top} \cdot \text{table}$. In words: each weight collects, over all places
# where the window has stood, the pixel that it met times the gradient that came back.


# %%
def weight_pullback(x, grad, kernel, stride=1, padding=0):
    windows = windows_of(x, kernel, stride, padding)
    return np.einsum("nkij,ncijrs->kcrs", grad, windows)


for stride, padding in [(1, 1), (2, 0)]:
    grad = rng.normal(size=convolve(x, w, stride, padding).shape)
    leaves = [ts.Tensor(x, requires_grad=True), ts.Tensor(w, requires_grad=True)]
    ts.conv2d(*leaves, stride=stride, padding=padding).backward(grad)
    ours = convolve_pullback(grad, w, x.shape, stride, padding)
    assert np.abs(leaves[0].grad - ours).max() < 1e-12
    ours = weight_pullback(x, grad, (3, 3), stride, padding)
    assert np.abs(leaves[1].grad - ours).max() < 1e-12

report = ts.gradcheck(
    lambda x, w, b: ts.conv2d(x, w, b, stride=2, padding=1),
    [rng.normal(size=(2, 2, 5, 6)), rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3)],
)
print(
    f"{report.comparisons} slopes of a convolution, relative error {report.max_relative_error:.0e}"
)
assert report.max_relative_error < 1e-6

# %% [markdown]
# ## Pooling
#
# After some convolutions it is enough to know *that* there was an edge, roughly where.
# **Max-pooling** keeps the largest number of each window of $2 \times 2$ and throws the other
# three away. It is not linear, but nearly: as long as the winners stay the same, each output *is*
# one of the inputs. So the gradient goes to the winner, all of it, and to nobody else.

# %%
numbers = np.array(
    [[1.0, 5.0, 2.0, 0.0], [3.0, 2.0, 4.0, 1.0], [0.0, 1.0, 7.0, 7.0], [6.0, 2.0, 3.0, 5.0]]
)
leaf = ts.Tensor(numbers[None, None], requires_grad=True)
pooled = ts.max_pool2d(leaf, 2)
pooled.sum().backward()
assert np.array_equal(pooled.data[0, 0], [[5.0, 4.0], [6.0, 7.0]])
winners = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [1, 0, 0, 0]])
assert np.array_equal(leaf.grad[0, 0], winners)
show(plots.pooling_winners(numbers, pooled.data[0, 0], leaf.grad[0, 0], 2), "pooling")

# %% [markdown]
# In the window at the bottom right there is a tie: 7 and 7. The first one wins and gets the
# gradient. Strictly speaking there is no derivative here: raise the first 7 and the maximum
# rises; lower it, and nothing happens, since the other one steps in. Finite differences look both
# ways and report the average, a half, and the check complains of a *kink*. That is no bug. With
# numbers that do not tie, all is well.


# %%
def pool_by_hand(x):
    n, c, height, width = x.shape
    return x.reshape(n, c, height // 2, 2, width // 2, 2).max(axis=(3, 5))


x = rng.normal(size=(2, 3, 6, 4))
assert np.array_equal(ts.max_pool2d(x, 2).data, pool_by_hand(x))
assert ts.gradcheck(lambda x: ts.max_pool2d(x, 2), x).max_relative_error < 1e-6
try:
    ts.gradcheck(lambda x: ts.max_pool2d(x, 2).sum(), numbers[None, None])
except ts.GradcheckError as error:
    kink = error.report
    print(f"analytic {kink.analytic:.1f}, numeric {kink.numeric:.1f}, ", end="")
    print(f"kink suspected: {kink.kink_suspected}")
else:
    raise AssertionError("a tie should have been noticed")
assert kink.kink_suspected
assert kink.analytic in (0.0, 1.0)
assert abs(kink.numeric - 0.5) < 1e-6

# %% [markdown]
# *Average-pooling* takes the mean instead. It is linear, a convolution with equal weights, and so
# it can face the dot-product test.

# %%
leaf = ts.Tensor(x, requires_grad=True)
averaged = ts.avg_pool2d(leaf, 2)
grad = rng.normal(size=averaged.shape)
averaged.backward(grad)
left, right = (averaged.data * grad).sum(), (x * leaf.grad).sum()
assert abs(left - right) < 1e-12

# %% [markdown]
# ## Batch normalisation
#
# The third piece keeps numbers in a comfortable range. For each channel, take mean $\mu$ and
# variance $\sigma^2$ over all images of the batch and all pixels, and normalise:
#
# $$\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y = \gamma\, \hat x + \beta,$$
#
# with a learnt scale $\gamma$ and shift $\beta$ for each channel. ($\epsilon = 10^{-5}$ keeps a
# constant channel from a division by zero; it has nothing to do with smoothing.)


# %%
def normalise(x, eps=1e-5):
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    variance = x.var(axis=(0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + eps), 1 / np.sqrt(variance + eps)


size = (64, 8, 8)
x = np.stack([3.0 + 0.5 * rng.normal(size=size), rng.gamma(2.0, 2.0, size)], axis=1)
gamma, beta = np.array([1.5, -0.7]), np.array([0.2, 1.0])
x_hat, inverse_deviation = normalise(x)
by_hand = gamma[:, None, None] * x_hat + beta[:, None, None]
library = ts.batch_norm(x, gamma, beta, None, None, True)
assert np.abs(library.data - by_hand).max() < 1e-12
assert np.abs(x_hat.mean(axis=(0, 2, 3))).max() < 1e-12
assert np.abs(x_hat.var(axis=(0, 2, 3)) - 1).max() < 1e-4  # not exactly 1: epsilon
show(
    plots.channel_histograms(
        x.transpose(1, 0, 2, 3).reshape(2, -1), x_hat.transpose(1, 0, 2, 3).reshape(2, -1)
    ),
    "batch_norm",
)

# %% [markdown]
# Its pullback is a classic stumbling block, because each $x$ acts in three ways: directly,
# through the mean, and through the variance. Here is a way to see the result without a page of
# algebra. Let $g$ be the gradient that arrives at $\hat x$, and $m$ the number of values in the
# channel.
#
# 1. If $\mu$ and $\sigma$ were constants, the gradient would be $g / \sigma$.
# 2. Adding a constant to all $x$ does not change $\hat x$ at all. So the gradient must not have a
#    part along $(1, \dots, 1)$: take the mean of $g$ away.
# 3. Stretching $x$ about its mean does not change $\hat x$ either. So the gradient must not have
#    a part along $\hat x$: take that away as well. It is
#    $\hat x \cdot \frac{1}{m} \sum g \hat x$, because $\sum \hat x^2 = m$.
#
# $$\frac{\partial L}{\partial x} = \frac{1}{\sigma} \Big( g - \operatorname{mean}(g)
# - \hat x \operatorname{mean}(g\, \hat x) \Big),
# \qquad g = \gamma\, \frac{\partial L}{\partial y}.$$
#
# An adjoint of a projection, in other words. The gradients of $\gamma$ and $\beta$ are sums, by
# the rule for broadcasting.


# %%
def normalise_pullback(grad, x_hat, inverse_deviation, gamma):
    g = grad * gamma[:, None, None]
    mean_g = g.mean(axis=(0, 2, 3), keepdims=True)
    mean_gx = (g * x_hat).mean(axis=(0, 2, 3), keepdims=True)
    return inverse_deviation * (g - mean_g - x_hat * mean_gx)


grad = rng.normal(size=x.shape)
leaves = [ts.Tensor(each, requires_grad=True) for each in (x, gamma, beta)]
ts.batch_norm(*leaves, None, None, True).backward(grad)
ours = normalise_pullback(grad, x_hat, inverse_deviation, gamma)
assert np.abs(leaves[0].grad - ours).max() < 1e-12
assert np.allclose(leaves[1].grad, (grad * x_hat).sum(axis=(0, 2, 3)))
assert np.allclose(leaves[2].grad, grad.sum(axis=(0, 2, 3)))

report = ts.gradcheck(
    lambda x, gamma, beta: ts.batch_norm(x, gamma, beta, None, None, True),
    [rng.normal(size=(3, 2, 2, 3)), gamma, beta],
)
assert report.max_relative_error < 1e-6
print(f"{report.comparisons} slopes of batch norm, relative error {report.max_relative_error:.0e}")

# %% [markdown]
# The two invariances can be measured: in every channel, the gradient adds up to 0, and (but for
# the tiny $\epsilon$) it is perpendicular to $\hat x$. One consequence is worth knowing. A
# convolution followed by batch normalisation does not care how large its weights are: doubling
# them changes nothing.

# %%
assert np.abs(leaves[0].grad.sum(axis=(0, 2, 3))).max() < 1e-12
along = (leaves[0].grad * x_hat).sum(axis=(0, 2, 3))
assert np.abs(along).max() < 1e-3 * np.linalg.norm(leaves[0].grad) * np.linalg.norm(x_hat)

images, w = rng.normal(size=(4, 3, 8, 8)), rng.normal(size=(2, 3, 3, 3))
once, twice = (
    ts.batch_norm(ts.conv2d(images, scale * w), gamma, beta, None, None, True).data
    for scale in (1.0, 2.0)
)
print(f"doubled weights change the output by {np.abs(once - twice).max():.0e} at most")
assert np.abs(once - twice).max() < 1e-5

# %% [markdown]
# In use, a single picture has no batch to take statistics from. So during training the layer
# keeps a running average of the batches' means and variances, and in evaluation it uses those. It
# is then a plain scaling and shifting, and one picture's answer no longer depends on its
# neighbours.

# %%
layer = ts.nn.BatchNorm2d(2)
for _ in range(100):
    layer(ts.Tensor((x[rng.permutation(64)]).astype(np.float32)))
mean_error = np.abs(layer.running_mean - x.mean(axis=(0, 2, 3))).max()
layer.eval()
with ts.no_grad():
    together = layer(ts.Tensor(x.astype(np.float32))).data
    alone = layer(ts.Tensor(x[:1].astype(np.float32))).data
assert mean_error < 1e-3
assert np.abs(together[:1] - alone).max() < 1e-5

# %% [markdown]
# ## A block of a network
#
# Put together: convolution, batch normalisation, ReLU, max-pooling. If every pullback is right,
# so is their chain.

# %%
report = ts.gradcheck(
    lambda x, w, gamma, beta: ts.max_pool2d(
        ts.relu(ts.batch_norm(ts.conv2d(x, w, padding=1), gamma, beta, None, None, True)), 2
    ),
    [rng.normal(size=(2, 2, 4, 4)), rng.normal(size=(2, 2, 3, 3)), gamma, beta],
)
print(f"the whole block: {report.comparisons} slopes, error {report.max_relative_error:.0e}")
assert report.max_relative_error < 1e-6

# %% [markdown]
# ## What you have learnt
#
# - A convolution slides a window over the image; each result is the dot product of window and
#   filter.
# - With the windows laid out as rows it is one matrix product, at the price of copies.
# - It is linear, and the pullback of a linear map is its transpose: outputs scatter their
#   gradients to where they gathered from.
# - Test an adjoint with $\langle Tx, G\rangle = \langle x, T^\top G\rangle$, and with numbers
#   that have no symmetry.
# - Max-pooling sends the gradient to the winner. At a tie there is a kink, not a bug.
# - Batch normalisation removes mean and scale, and its pullback removes the same two directions
#   from the gradient.
#
# ## Questions
#
# 1. How large is the result of a 3 x 3 filter on a 64 x 64 image, with padding 1 and stride 1?
#    With stride 2?
#
# :::{dropdown} Answer
# 64 x 64; and (64 + 2 - 3) // 2 + 1 = 32, so 32 x 32.
# :::
#
# 2. How many weights has a layer from 64 to 128 channels with 3 x 3 filters? How many
#    multiplications does it need for each pixel of its result?
#
# :::{dropdown} Answer
# 128 x 64 x 9 = 73,728, and just as many multiplications for the 128 numbers of one pixel.
# :::
#
# 3. What is the pullback of laying a frame of zeros round an image?
#
# :::{dropdown} Answer
# To cut the frame off. Padding is linear; its transpose forgets what came from nowhere.
# :::
#
# 4. A layer's convolution is followed by batch normalisation. Why does it need no bias?
#
# :::{dropdown} Answer
# A bias shifts a whole channel, and the normalisation takes the channel's mean away again.
# :::
#
# 5. In max-pooling, three quarters of the inputs receive no gradient. Is information lost?
#
# :::{dropdown} Answer
# A small change of a loser changes nothing in the output, so a gradient of 0 is the truth.
# :::
#
# ## Exercises
#
# Write these in `chapters/exercises/05.py`, then run `tinysmooth chapters check 5`.
#
# 1. `convolve(x, weight, stride, padding)`: by any means, for batches and channels.
# 2. `convolve_pullback(grad, weight, input_shape, stride, padding)`: its adjoint.
# 3. `max_pool_pullback(x, grad)`: gradients to the winners of 2 x 2 windows, the first one at a
#    tie.
# 4. `batch_norm_pullback(x, gamma, grad, eps)`: for features of shape (N, C).
#
# ## Sources
#
# - Y. LeCun et al., *Backpropagation Applied to Handwritten Zip Code Recognition*, Neural
#   Computation 1, 1989: learnt filters.
# - K. Chellapilla, S. Puri, P. Simard, *High Performance Convolutional Neural Networks for
#   Document Processing*, 2006: windows as a matrix.
# - S. Ioffe, C. Szegedy, *Batch Normalization*, ICML 2015, arXiv 1502.03167.
# - J. Claerbout, *Earth Soundings Analysis*, 1992: the dot-product test for adjoints.
