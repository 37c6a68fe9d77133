"""Batch normalisation fused with ReLU, 2x2 max-pooling and a residual, compiled.

The formulas stand in `tinysmooth.kernels.reference.normalisation`. `lanes` holds the vector
vocabulary, `forward` the statistics and the normalised image, `folding` what lies between the two,
`backward_sums` and `backward` the gradients.

float32 only: float64 serves gradient checks and proofs on small arrays, where compiling takes
longer than the reference, so float64 is handed to the reference.
"""

from tinysmooth.kernels.normalisation.backward import batch_norm_backward
from tinysmooth.kernels.normalisation.folding import batch_norm_fold
from tinysmooth.kernels.normalisation.forward import batch_norm_apply, batch_norm_statistics

__all__ = ["batch_norm_apply", "batch_norm_backward", "batch_norm_fold", "batch_norm_statistics"]
