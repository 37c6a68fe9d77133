"""Bad input meets a clear refusal: the type of the error, the argument, what came, what was expected.

Each row: what is wrong, a call, the exception, and pieces that its message must contain.
"""

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import data, metrics, nn, ops, optim, training
from tinysmooth.training.evaluation import predict_probs

Z = np.zeros((2, 3))
IMAGES = np.zeros((2, 3, 8, 8), np.float32)
FILTERS = np.zeros((4, 3, 3, 3), np.float32)
NAN, INF = float("nan"), float("inf")


def ce(logits=Z, targets=(0, 1), **options):
    return ts.cross_entropy(logits, targets, **options)


def block(running_mean=None, filters_bias=None):
    running = (running_mean, None if running_mean is None else np.ones(4, np.float32))
    scale, shift = np.ones(4, np.float32), np.zeros(4, np.float32)
    arguments = (IMAGES, FILTERS, scale, shift, *running, running_mean is None)
    return ops.conv2d_block(*arguments, filters_bias=filters_bias)


def leaf():
    return ts.Tensor([1.0, 2.0], requires_grad=True)


def weights():
    return [leaf()]


def by_position(x, /):
    return x, {"x": lambda grad: grad}


# One row, one line.
# fmt: off
TABLE = [
    # The loss: targets
    ("target -1", lambda: ce(targets=[0, -1]), IndexError, ["cross_entropy", "targets", "-1", "3"]),
    ("target K", lambda: ce(targets=[3, 0]), IndexError, ["targets", "3", "[0, 3)"]),
    ("target 0.9", lambda: ce(targets=[0.9, 0.0]), TypeError, ["targets", "float64", "integer"]),
    ("boolean targets", lambda: ce(targets=[True, False]), TypeError, ["targets", "bool", "integer"]),
    ("target NaN", lambda: ce(targets=[NAN, 0.0]), TypeError, ["targets", "float64"]),
    ("too many targets", lambda: ce(targets=[0, 1, 2]), ValueError, ["targets", "(3,)", "(2,)"]),
    ("text targets", lambda: ce(targets=["a", "b"]), TypeError, ["targets"]),
    ("probabilities above 1", lambda: ce(targets=np.ones((2, 3))), ValueError, ["targets", "sum", "3"]),
    ("negative probability", lambda: ce(targets=[[1.5, -0.5, 0], [1, 0, 0.0]]), ValueError, ["targets", "-0.5"]),
    # The loss: epsilon and the rest
    ("epsilon -0.1", lambda: ce(label_smoothing=-0.1), ValueError, ["label_smoothing", "-0.1", "[0, 1]"]),
    ("epsilon 1.5", lambda: ce(label_smoothing=1.5), ValueError, ["label_smoothing", "1.5", "[0, 1]"]),
    ("epsilon NaN", lambda: ce(label_smoothing=NAN), ValueError, ["label_smoothing", "nan"]),
    ("epsilon as text", lambda: ce(label_smoothing="0.1"), TypeError, ["label_smoothing", "'0.1'"]),
    ("epsilon True", lambda: ce(label_smoothing=True), TypeError, ["label_smoothing", "True"]),
    ("unknown reduction", lambda: ce(reduction="avg"), ValueError, ["reduction", "'avg'", "'mean'"]),
    ("weight of wrong length", lambda: ce(weight=[1.0, 2.0]), ValueError, ["weight", "(2,)", "(3,)"]),
    ("weight NaN", lambda: ce(weight=[1.0, NAN, 2.0]), ValueError, ["weight", "nan"]),
    ("ignore_index 0.5", lambda: ce(ignore_index=0.5), TypeError, ["ignore_index", "0.5", "integer"]),
    ("no classes", lambda: ce(logits=np.zeros((2, 0))), ValueError, ["logits", "(2, 0)"]),
    ("logits are a number", lambda: ce(logits=1.0), ValueError, ["logits", "()"]),
    ("logits are text", lambda: ce(logits=[["a"]]), TypeError, ["logits"]),
    ("ignore_index beyond 64 bits", lambda: ce(ignore_index=2**63), ValueError, ["ignore_index", "9223372036854775808"]),
    ("allow_negative as text", lambda: ce(label_smoothing=-0.1, allow_negative="no"), TypeError, ["allow_negative", "'no'"]),
    ("check_probabilities as text", lambda: ce(targets=Z + 1 / 3, check_probabilities="no"), TypeError, ["check_probabilities"]),
    ("several epsilons", lambda: ce(label_smoothing=ts.Tensor([0.1, 0.2])), TypeError, ["label_smoothing", "(2,)", "single"]),
    ("an array as stride", lambda: ts.conv2d(IMAGES, FILTERS, stride=np.ones((2, 2))), TypeError, ["stride", "(2, 2)", "integer"]),
    ("dropout of integers", lambda: ts.dropout(np.arange(3)), TypeError, ["dropout", "int64", "float32"]),
    ("arguments by position alone", lambda: ts.primitive(by_position), TypeError, ["by_position", "x", "by position"]),
    ("evaluation of a number", lambda: training.evaluate(3, (IMAGES, np.zeros(len(IMAGES), int))), TypeError, ["evaluate", "model", "3", "Module"]),
    ("prediction without images", lambda: predict_probs(nn.ReLU(), 3), ValueError, ["images", "3"]),
    ("calibration in no bins", lambda: metrics.expected_calibration_error([[1.0]], [0], num_bins=0), ValueError, ["expected_calibration_error", "num_bins", "0"]),
    ("padding that does not fit", lambda: ts.pad(np.arange(3), 1, 0.5), ValueError, ["pad", "0.5", "int64"]),
    ("negative variance", lambda: ts.batch_norm(IMAGES, np.ones(3), np.ones(3), np.zeros(3), -np.ones(3), False), ValueError, ["running_var", "-1"]),
    ("integer statistics", lambda: ts.batch_norm(IMAGES, np.ones(3), np.ones(3), np.arange(3), np.arange(3), True), TypeError, ["running_mean", "int64"]),
    ("read-only statistics", lambda: ts.batch_norm(IMAGES, np.ones(3), np.ones(3), np.zeros(3), np.broadcast_to(1.0, 3), True), ValueError, ["running_var", "read-only"]),
    ("float16 parameters", lambda: optim.SGD([ts.Tensor(np.ones(3, np.float16), requires_grad=True)], lr=0.1), TypeError, ["SGD", "float16", "float32"]),
    ("foreign byte order", lambda: optim.AdamW([ts.Tensor(np.ones(3, ">f4"), requires_grad=True)]), TypeError, ["AdamW", ">f4"]),
    ("group of nothing", lambda: optim.SGD([{"params": None}], lr=0.1), TypeError, ["params", "None"]),
    ("state of nothing", lambda: nn.Linear(2, 2).load_state_dict(None), TypeError, ["load_state_dict", "None"]),
    ("rng 0", lambda: nn.Dropout(0.5, rng=0), TypeError, ["Dropout", "rng", "Generator"]),
    ("gradient with target K", lambda: ts.cross_entropy_gradient(Z, [3, 0]), IndexError, ["targets", "3"]),
    ("smooth_targets out of range", lambda: ts.smooth_targets([10], 10, 0.1), IndexError, ["targets", "10"]),
    ("smooth_targets with K = 0", lambda: ts.smooth_targets([0], 0, 0.1), ValueError, ["num_classes", "0"]),
    ("smooth_targets unknown variant", lambda: ts.smooth_targets([0], 3, 0.1, variant="some"), ValueError, ["variant", "'some'", "'all'"]),
    ("loss_floor epsilon 2", lambda: ts.loss_floor(10, 2.0), ValueError, ["label_smoothing", "2"]),
    ("resting_gap K = 0", lambda: ts.resting_gap(0, 0.1), ValueError, ["num_classes", "0"]),
    ("softmax axis 5", lambda: ts.softmax(Z, axis=5), ValueError, ["softmax", "axis", "5"]),
    ("softmax of a number", lambda: ts.softmax(1.0), ValueError, ["softmax"]),
    # Tensors
    ("ragged data", lambda: ts.Tensor([[1.0], [1.0, 2.0]]), ValueError, ["Tensor", "rectangular"]),
    ("text data", lambda: ts.Tensor("abc"), TypeError, ["Tensor", "real numbers"]),
    ("complex data", lambda: ts.Tensor(1j), TypeError, ["Tensor", "complex128"]),
    ("gradient of integers", lambda: ts.Tensor(np.arange(3), requires_grad=True), TypeError, ["requires_grad", "int64", "floating"]),
    ("requires_grad = 1", lambda: ts.Tensor(1.0, requires_grad=1), TypeError, ["requires_grad", "1", "True"]),
    ("data of another shape", lambda: setattr(leaf(), "data", np.ones(3)), ValueError, ["(3,)", "(2,)"]),
    ("backward of a vector", lambda: (leaf() * 2).backward(), ValueError, ["(2,)", "one element"]),
    # Operations
    ("shapes that do not broadcast", lambda: leaf() + np.ones(3), ValueError, ["add", "(2,)", "(3,)"]),
    ("text operand", lambda: ts.exp("abc"), TypeError, ["exp", "x"]),
    ("inner lengths", lambda: ts.matmul(np.ones((2, 3)), leaf()), ValueError, ["matmul", "(2, 3)", "(2,)"]),
    ("matmul with a number", lambda: ts.matmul(leaf(), 2.0), ValueError, ["matmul", "axis"]),
    ("linear bias", lambda: ts.linear(np.ones((2, 5)), np.ones((4, 5)), np.ones(5)), ValueError, ["linear", "bias", "(5,)", "(4,)"]),
    ("linear before ReLU", lambda: ops.linear_relu(np.ones((2, 3)), np.ones((4, 5))), ValueError, ["linear_relu", "(2, 3)", "5"]),
    ("two dtypes before ReLU", lambda: ops.linear_relu(np.ones((2, 5)), np.ones((4, 5), np.float32)), TypeError, ["linear_relu", "weight", "float32", "float64"]),
    ("linear features", lambda: ts.linear(np.ones((2, 3)), np.ones((4, 5))), ValueError, ["linear", "(2, 3)", "5"]),
    ("reshape to another size", lambda: leaf().reshape(3), ValueError, ["reshape: shape is (3,)", "the 2 elements"]),
    ("reshape with a rest", lambda: leaf().reshape((-1, 3)), ValueError, ["reshape", "(-1, 3)", "2"]),
    ("reshape to nothing", lambda: leaf().reshape((0, -1)), ValueError, ["reshape", "(0, -1)", "2"]),
    ("reshape with two rests", lambda: leaf().reshape((-1, -1)), ValueError, ["reshape", "(-1, -1)", "2"]),
    ("reshape with a fraction", lambda: leaf().reshape(1.5), TypeError, ["reshape", "1.5"]),
    ("transpose twice the same axis", lambda: ts.Tensor(Z).transpose(0, 0), ValueError, ["transpose", "(0, 0)"]),
    ("sum over a missing axis", lambda: leaf().sum(axis=1), ValueError, ["sum", "axis", "1"]),
    ("mean of nothing", lambda: ts.mean(np.ones(0)), ValueError, ["mean", "(0,)"]),
    ("maximum of nothing", lambda: ts.max(np.ones((2, 0)), axis=1), ValueError, ["max", "(2, 0)"]),
    ("keepdims as a number", lambda: leaf().sum(keepdims=1), TypeError, ["keepdims", "1"]),
    ("concatenate nothing", lambda: ts.concatenate([]), ValueError, ["concatenate", "empty"]),
    ("concatenate a Tensor", lambda: ts.concatenate(leaf()), TypeError, ["concatenate", "list"]),
    ("stack different shapes", lambda: ts.stack([leaf(), np.ones(3)]), ValueError, ["stack", "arrays[1]", "(3,)"]),
    ("negative padding", lambda: ts.pad(leaf(), -1), ValueError, ["pad", "widths", "-1"]),
    ("dropout 1.2", lambda: ts.dropout(leaf(), 1.2), ValueError, ["dropout", "p", "1.2", "[0, 1]"]),
    ("dropout with a seed", lambda: ts.dropout(leaf(), rng=0), TypeError, ["rng", "0", "default_rng"]),
    # Images
    ("wrong channel count", lambda: ts.conv2d(IMAGES[:, :2], FILTERS), ValueError, ["conv2d", "2 channels", "3", "(4, 3, 3, 3)"]),
    ("filters larger than the image", lambda: ts.conv2d(IMAGES, np.ones((1, 3, 9, 9), np.float32)), ValueError, ["9 x 9", "8 x 8", "padding"]),
    ("three axes", lambda: ts.conv2d(IMAGES[0], FILTERS), ValueError, ["conv2d", "(3, 8, 8)", "4"]),
    ("two dtypes", lambda: ts.conv2d(IMAGES, FILTERS.astype(float)), TypeError, ["weight", "float64", "float32"]),
    ("integer images", lambda: ts.conv2d(IMAGES.astype(np.uint8), FILTERS), TypeError, ["x", "uint8", "float32"]),
    ("stride 0", lambda: ts.conv2d(IMAGES, FILTERS, stride=0), ValueError, ["stride", "0", ">= 1"]),
    ("padding -1", lambda: ts.conv2d(IMAGES, FILTERS, padding=-1), ValueError, ["padding", "-1"]),
    ("three strides", lambda: ts.conv2d(IMAGES, FILTERS, stride=(1, 1, 1)), ValueError, ["stride", "(1, 1, 1)"]),
    ("bias of wrong length", lambda: ts.conv2d(IMAGES, FILTERS, np.ones(3, np.float32)), ValueError, ["bias", "(3,)", "(4,)"]),
    ("bias before ReLU", lambda: ops.conv2d_relu(IMAGES, FILTERS, np.ones(3, np.float32)), ValueError, ["bias", "(3,)", "(4,)"]),
    ("bias before a batch norm", lambda: block(filters_bias=np.ones(3, np.float32)), ValueError, ["conv2d_block", "filters_bias", "(3,)", "(4,)"]),
    ("its dtype", lambda: block(filters_bias=np.ones(4)), TypeError, ["conv2d_block", "filters_bias", "float64", "float32"]),
    ("its running mean", lambda: block(filters_bias=np.ones(4, np.float32), running_mean=np.ones(3, np.float32)), ValueError, ["running_mean", "(3,)", "(4,)"]),
    ("nothing to halve", lambda: ops.conv2d_relu(IMAGES, np.ones((1, 3, 8, 8), np.float32), pool=True), ValueError, ["pool", "(2, 1, 1, 1)"]),
    ("no images", lambda: ts.conv2d(IMAGES[:0], FILTERS), ValueError, ["(0, 3, 8, 8)", "empty"]),
    ("pool larger than the image", lambda: ts.max_pool2d(IMAGES, 9), ValueError, ["max_pool2d", "9 x 9", "8 x 8"]),
    ("too much pool padding", lambda: ts.avg_pool2d(IMAGES, 2, padding=2), ValueError, ["padding", "(2, 2)", "half"]),
    ("pool of a fraction", lambda: ts.max_pool2d(IMAGES, 2.0), TypeError, ["kernel_size", "2.0"]),
    ("one value a channel", lambda: nn.BatchNorm2d(3)(IMAGES[:1, :, :1, :1]), ValueError, ["(1, 3, 1, 1)", "one value a channel"]),
    ("batch norm channels", lambda: nn.BatchNorm2d(4)(IMAGES), ValueError, ["weight", "(4,)", "(3,)"]),
    # Layers, models, optimisers, schedules
    ("no channels", lambda: nn.Conv2d(0, 4, 3), ValueError, ["Conv2d", "in_channels", "0"]),
    ("Sequential of a list", lambda: nn.Sequential([nn.ReLU()]), TypeError, ["Sequential", "Unpack"]),
    ("zero_init without BatchNorm", lambda: nn.Residual(nn.ReLU(), zero_init=True), ValueError, ["zero_init", "BatchNorm"]),
    ("zero classes", lambda: ts.models.resnet9(0), ValueError, ["num_classes", "0"]),
    ("astype int", lambda: nn.Linear(2, 2).astype(int), TypeError, ["int64", "float32"]),
    ("learning rate -1", lambda: optim.SGD(weights(), lr=-1), ValueError, ["lr", "-1"]),
    ("learning rate NaN", lambda: optim.AdamW(weights(), lr=NAN), ValueError, ["lr", "nan"]),
    ("momentum 1", lambda: optim.SGD(weights(), lr=1, momentum=1.0), ValueError, ["momentum", "1", "[0, 1)"]),
    ("nesterov without momentum", lambda: optim.SGD(weights(), lr=1, nesterov=True), ValueError, ["nesterov", "momentum"]),
    ("no parameters", lambda: optim.SGD([], lr=1), ValueError, ["parameters", "empty"]),
    ("one parameter, no list", lambda: optim.SGD(leaf(), lr=1), TypeError, ["parameters", "list"]),
    ("a constant to learn", lambda: optim.SGD([ts.Tensor([1.0])], lr=1), ValueError, ["parameters[0]", "requires_grad=True"]),
    ("a parameter twice", lambda: optim.SGD(weights() * 2, lr=1), ValueError, ["parameters[1]", "twice"]),
    ("warmup above 1", lambda: optim.OneCycle(optim.SGD(weights(), lr=1), 1.0, 10, warmup=1.5), ValueError, ["warmup", "1.5"]),
    ("schedule of a model", lambda: optim.Cosine(nn.ReLU(), 1.0, 10), TypeError, ["optimiser", "SGD"]),
    ("unknown kernels", lambda: ts.use_kernels("fast"), ValueError, ["'fast'", "'compiled'", "'reference'"]),
    ("zero threads", lambda: ts.set_num_threads(0), ValueError, ["0"]),
    # Data, metrics, files
    ("split test", lambda: data.load_drawn(split="test"), ValueError, ["split", "'test'", "'train'"]),
    ("size 2", lambda: data.load_drawn(size=2), ValueError, ["size", "2"]),
    ("per_class 0", lambda: data.load_drawn(per_class=0), ValueError, ["per_class", "0"]),
    ("noise 7", lambda: data.load_imagenette(noise=7), ValueError, ["noise", "7", "25"]),
    ("a folder that is not there", lambda: data.load_imagenette(root="/nowhere/at/all"), FileNotFoundError, ["/nowhere/at/all", "train"]),
    ("accuracy of two lengths", lambda: metrics.accuracy(np.zeros((2, 3)), [0, 1, 2]), ValueError, ["targets", "(3,)"]),
    ("not probabilities", lambda: metrics.expected_calibration_error(np.ones((2, 3)), [0, 1]), ValueError, ["probs", "sum"]),
    ("weights that are not there", lambda: ts.load("/nowhere/weights.npz"), FileNotFoundError, ["/nowhere/weights.npz"]),
]
# fmt: on


@pytest.mark.parametrize(
    ("call", "error", "pieces"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_bad_input_is_refused_with_a_message_that_helps(call, error, pieces):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert [piece for piece in pieces if piece not in message] == [], message


def test_the_table_is_long_enough():
    assert len(TABLE) >= 60


def test_a_refused_loss_leaves_no_half_written_gradient():
    z = ts.Tensor(np.zeros((2, 3)), requires_grad=True)
    with pytest.raises(IndexError):
        ts.cross_entropy(z, [0, 7]).backward()
    assert z.grad is None


def test_a_file_that_is_no_archive_is_named(tmp_path):
    path = tmp_path / "weights.npz"
    path.write_bytes(b"not a zip file")
    with pytest.raises(Exception, match="weights.npz"):
        ts.load(path)
