"""The kernels in plain NumPy: made to be read against the formula, not to be fast.

Each room has a compiled twin of the same name one folder up, with the same functions and the same
signatures; the tests hold both equal. Convolution, which has a ladder of versions, keeps its
reference beside them in ``kernels/convolution``.

Arrays are NHWC (image, row, column, channel), float32 or float64; results have the dtype of ``x``
or ``grad``. Nothing is validated here: the operations do that before any work starts.
"""
