"""Convolution, rung by rung; the walk through the fast path will stand here."""
