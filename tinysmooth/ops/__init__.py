"""Differentiable operations, in rooms by kind.

Every operation is a :func:`~tinysmooth.primitive.primitive`: its value and the rule for each
argument's gradient stand together. Importing this package also binds Python's operators to them
(:mod:`tinysmooth.ops.operators`).
"""

from tinysmooth import graph
from tinysmooth.kernels import addition
from tinysmooth.ops.arithmetic import add, divide, multiply, negative, power, subtract
from tinysmooth.ops.elementwise import (
    abs,
    exp,
    log,
    maximum,
    minimum,
    relu,
    sigmoid,
    sqrt,
    tanh,
    where,
)
from tinysmooth.ops.normalisation import batch_norm, batch_norm_block, conv2d_block
from tinysmooth.ops.operators import bind_operators
from tinysmooth.ops.products import linear, matmul
from tinysmooth.ops.rectified import conv2d_relu, linear_relu
from tinysmooth.ops.reductions import max, mean, min, sum
from tinysmooth.ops.regularisation import dropout
from tinysmooth.ops.shaping import concatenate, getitem, pad, reshape, stack, transpose
from tinysmooth.ops.spatial import avg_pool2d, conv2d, global_avg_pool2d, max_pool2d

__all__ = [
    "abs",
    "add",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_block",
    "concatenate",
    "conv2d",
    "conv2d_block",
    "conv2d_relu",
    "divide",
    "dropout",
    "exp",
    "getitem",
    "global_avg_pool2d",
    "linear",
    "linear_relu",
    "log",
    "matmul",
    "max_pool2d",
    "maximum",
    "max",
    "mean",
    "minimum",
    "min",
    "multiply",
    "negative",
    "pad",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "sqrt",
    "stack",
    "subtract",
    "tanh",
    "sum",
    "transpose",
    "where",
]

bind_operators()
graph.set_movers(addition.add, addition.copy)
