"""What operations remember of shapes, for tests that change what it was made of."""

from tinysmooth.kernels import blocks
from tinysmooth.kernels.convolution import (
    fast,
    few_channels,
    windows_plans,
    windows_route,
    winograd_bands_route,
    winograd_route,
    winograd_shared_route,
)
from tinysmooth.kernels.normalisation import backward, forward


def forget_plans():
    """Forget what was found for shapes, by other constants or numbers of threads."""
    windows_plans._cut.cache_clear()
    few_channels._prepare.cache_clear()
    for calls in ("_prepare_forward", "_prepare_backward", "_prepare_gradient"):
        getattr(windows_route, calls).cache_clear()
    for calls in ("_prepare_convolution", "_prepare_gradient"):
        getattr(winograd_route, calls).cache_clear()
    for calls in ("_prepare", "_prepare_gradient"):
        getattr(winograd_shared_route, calls).cache_clear()
    winograd_bands_route._prepare.cache_clear()
    for route in ("_forward", "_backward_data", "route_of_weight"):
        getattr(fast, route).cache_clear()
    for calls in ("_route", "_prepare"):
        getattr(blocks, calls).cache_clear()
    for calls in ("_prepare_sums", "_prepare_dx"):
        getattr(backward, calls).cache_clear()
    forward._prepare_apply.cache_clear()
