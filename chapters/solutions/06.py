"""Solutions of chapter 06, compile the loops: look only after trying."""

import numpy as np


def multiply_adds(x_shape, weight_shape, stride, padding):
    batch, height, width, channels = x_shape
    filters, _, rows, columns = weight_shape
    down = (height + 2 * padding - rows) // stride + 1
    across = (width + 2 * padding - columns) // stride + 1
    return batch * down * across * filters * channels * rows * columns


def winograd_pair(d, g):
    m1 = (d[0] - d[2]) * g[0]
    m2 = (d[1] + d[2]) * ((g[0] + g[1] + g[2]) / 2)
    m3 = (d[2] - d[1]) * ((g[0] - g[1] + g[2]) / 2)
    m4 = (d[1] - d[3]) * g[2]
    return [m1 + m2 + m3, m2 - m3 - m4]


def blocked_matmul(a, b, block):
    out = np.zeros((a.shape[0], b.shape[1]), np.result_type(a, b))
    for i in range(0, a.shape[0], block):
        for j in range(0, b.shape[1], block):
            for k in range(0, a.shape[1], block):
                # Slices that reach over the end are cut off there, so smaller pieces need no care.
                piece = a[i : i + block, k : k + block] @ b[k : k + block, j : j + block]
                out[i : i + block, j : j + block] += piece
    return out


def whole_speedup(shares, factors):
    rest = 1.0 - sum(shares)
    return 1.0 / (rest + sum(share / factor for share, factor in zip(shares, factors, strict=True)))
