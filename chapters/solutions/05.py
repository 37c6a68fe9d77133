"""Solutions of chapter 05, convolve images: look only after trying."""

import numpy as np


def convolve(x, weight, stride, padding):
    frame = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, frame), weight.shape[2:], axis=(2, 3)
    )[:, :, ::stride, ::stride]
    return np.einsum("ncijrs,kcrs->nkij", windows, weight)


def convolve_pullback(grad, weight, input_shape, stride, padding):
    n, c, height, width = input_shape
    rows, columns = grad.shape[2:]
    padded = np.zeros((n, c, height + 2 * padding, width + 2 * padding))
    for r in range(weight.shape[2]):
        for s in range(weight.shape[3]):
            # Weight (r, s) met the pixels (i stride + r, j stride + s): send every share there.
            share = np.einsum("nkij,kc->ncij", grad, weight[:, :, r, s])
            below, beside = (
                slice(r, r + rows * stride, stride),
                slice(s, s + columns * stride, stride),
            )
            padded[:, :, below, beside] += share
    return padded[:, :, padding : padding + height, padding : padding + width]


def max_pool_pullback(x, grad):
    n, c, height, width = x.shape
    blocks = x.reshape(n, c, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    winners = blocks.reshape(*grad.shape, 4).argmax(axis=-1)  # the first one at a tie
    shares = np.eye(4)[winners] * grad[..., None]
    shares = shares.reshape(n, c, height // 2, width // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return shares.reshape(x.shape)


def batch_norm_pullback(x, gamma, grad, eps):
    inverse_deviation = 1.0 / np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) * inverse_deviation
    g = gamma * grad
    return inverse_deviation * (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0))
