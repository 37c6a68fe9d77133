r"""Winograd's convolution in plain NumPy: fewer multiplications through polynomials.

Four neighbouring outputs of a filter with three taps take 4 * 3 = 12 multiplications. Winograd's
F(4, 3) takes 6, and F(4x4, 3x3), the same in both directions, 36 instead of 144.

**Multiply polynomials by their values.** The coefficients of ``s(x) = g(x) a(x)``, with g of degree
2 and a of degree m - 1, are n = m + 2 numbers, so s is known from its values at n points; and a
value of s is *one* multiplication, ``s(p) = g(p) a(p)``. Take n - 1 numbers p and "infinity", where
the value of a polynomial means its leading coefficient. All three steps are linear::

    values of g:    G g     row of p:  (1, p, p^2) / product over other points q of (p - q)
    values of a:    A a     row of p:  (1, p, ..., p^(m-1))
    s from values:  B v     column of p: coefficients of  product over other points q of (x - q)

This is Lagrange's interpolation, its denominators moved to G. The rows for infinity are (0, 0, 1)
and (0, ..., 0, 1), and the last column of B is the product over all points: it vanishes at each of
them.

**Turn multiplication into correlation.** For a fixed g the map from a to s is the matrix
``B diag(G g) A``. A filter sliding over d computes the *transposed* map: where multiplication adds
``g_r a_i`` into s_(i+r), correlation adds ``g_r d_(i+r)`` into y_i. Hence::

    y = A^T [ (G g) * (B^T d) ]                     n inputs d, m outputs y, n multiplications

and with rows and columns both transformed, for each channel (Lavin and Gray, 2016, equation 8)::

    Y = A^T [ (G g G^T) * (B^T d B) ] A             n x n inputs, m x m outputs

The sum over channels may be taken before the last step, because that step is linear: then each of
the n^2 positions is a matrix product over the channels, and that is where the time goes.

**Gradients.** Y is linear in d and in g, so the transposed steps give the gradients: that of the
filters is ``G^T [ (B^T d B) * (A dY A^T) ] G``. That of x is a convolution again, with filters
turned by 180 degrees.

**The price.** With the points 0, 1, -1, 2, -2, infinity the numbers of B grow to 5, squared in two
dimensions: sums of large numbers that cancel. In float32 an F(4x4) result is off by about 1e-5 of
the largest, ten times more than the direct sum; F(2x2), with the points 0, 1, -1, infinity, hardly
loses anything and still saves a factor of 2.25. More points would save more and cancel worse.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial import polynomial

from tinysmooth.kernels.convolution import im2col
from tinysmooth.kernels.convolution.geometry import Pair, Shape, output_size, round_up

TAPS = 3
POINTS = {2: (0.0, 1.0, -1.0), 3: (0.0, 1.0, -1.0, 2.0), 4: (0.0, 1.0, -1.0, 2.0, -2.0)}
"""Finite points for F(2x2), F(3x3) and F(4x4): small numbers keep the matrices small, and so do
pairs."""


def matrices(tile: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return B^T (n, n), G (n, 3) and A^T (m, n) of F(m, 3), n = m + 2.

    Examples
    --------
    >>> b_t, g, a_t = matrices(2)
    >>> b_t
    array([[-1.,  0.,  1.,  0.],
           [ 0.,  1.,  1.,  0.],
           [ 0., -1.,  1.,  0.],
           [ 0., -1.,  0.,  1.]])
    """
    points = np.array(POINTS[tile])
    size = tile + TAPS - 1
    b_t, g, a_t = np.zeros((size, size)), np.zeros((size, TAPS)), np.zeros((tile, size))
    for row, point in enumerate(points):
        others = np.delete(points, row)
        b_t[row, : size - 1] = polynomial.polyfromroots(others)
        g[row] = point ** np.arange(TAPS) / np.prod(point - others)
        a_t[:, row] = point ** np.arange(tile)
    b_t[-1] = polynomial.polyfromroots(points)
    g[-1, -1] = a_t[-1, -1] = 1
    return b_t, g, a_t


def _placed(images: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Return zeros (N, height, width, C) with the images placed at (top, left), cropped to fit."""
    out = np.zeros((images.shape[0], height, width, images.shape[3]), images.dtype)
    rows = slice(max(0, top), max(0, min(height, top + images.shape[1])))
    columns = slice(max(0, left), max(0, min(width, left + images.shape[2])))
    if rows.start < rows.stop and columns.start < columns.stop:
        out[:, rows, columns] = images[
            :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
    return out


def _input_tiles(x: np.ndarray, size: Pair, padding: Pair, tile: int) -> np.ndarray:
    """Return B^T d B (N, down, across, C, n, n) of the tiles that cover an output of this size."""
    height, width = (round_up(side, tile) + TAPS - 1 for side in size)
    placed = _placed(x, *padding, height, width)
    tiles = sliding_window_view(placed, (tile + TAPS - 1,) * 2, axis=(1, 2))[:, ::tile, ::tile]
    b_t = matrices(tile)[0].astype(x.dtype)
    return b_t @ tiles @ b_t.T


def _convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, padding: Pair, tile: int
) -> np.ndarray:
    _, g, a_t = (matrix.astype(x.dtype) for matrix in matrices(tile))
    v = _input_tiles(x, size, padding, tile)
    u = g @ weight @ g.T
    products = np.einsum("nijcpq,kcpq->nijkpq", v, u, optimize=True)
    tiles = a_t @ products @ a_t.T
    batch, down, across, filters = tiles.shape[:4]
    out = tiles.transpose(0, 1, 4, 2, 5, 3).reshape(batch, down * tile, across * tile, filters)
    return np.ascontiguousarray(out[:, : size[0], : size[1]])


def _applies(weight_shape: Shape, stride: Pair) -> bool:
    return weight_shape[2:] == (TAPS, TAPS) and stride == (1, 1)


def conv2d_forward(
    x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Pair, tile: int = 4
) -> np.ndarray:
    """Return the convolution; arguments as in `im2col.conv2d_forward`.

    `tile` is 2, 3 or 4. Filters other than 3x3 and strides other than 1 are left to im2col.
    """
    if not _applies(weight.shape, stride):
        return im2col.conv2d_forward(x, weight, stride, padding)
    size = output_size(x.shape[1], x.shape[2], (TAPS, TAPS), stride, padding)
    return _convolve(x, weight, size, padding, tile)


def conv2d_backward_data(
    grad: np.ndarray,
    weight: np.ndarray,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    tile: int = 4,
) -> np.ndarray:
    """Return the gradient of the images; arguments as in `im2col.conv2d_backward_data`."""
    if not _applies(weight.shape, stride):
        return im2col.conv2d_backward_data(grad, weight, input_shape, stride, padding)
    turned = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    opposite = (TAPS - 1 - padding[0], TAPS - 1 - padding[1])
    return _convolve(grad, turned, (input_shape[1], input_shape[2]), opposite, tile)


def conv2d_backward_weight(
    x: np.ndarray,
    grad: np.ndarray,
    weight_shape: Shape,
    stride: Pair,
    padding: Pair,
    tile: int = 4,
) -> np.ndarray:
    """Return the gradient of the filters; arguments as in `im2col.conv2d_backward_weight`."""
    if not _applies(weight_shape, stride):
        return im2col.conv2d_backward_weight(x, grad, weight_shape, stride, padding)
    _, g, a_t = (matrix.astype(x.dtype) for matrix in matrices(tile))
    v = _input_tiles(x, (grad.shape[1], grad.shape[2]), padding, tile)
    batch, down, across = v.shape[:3]
    placed = _placed(grad, 0, 0, down * tile, across * tile)
    tiles = placed.reshape(batch, down, tile, across, tile, -1).transpose(0, 1, 3, 5, 2, 4)
    products = np.einsum("nijkpq,nijcpq->kcpq", a_t.T @ tiles @ a_t, v, optimize=True)
    return np.ascontiguousarray(g.T @ products @ g)
