"""Optimisers over one flat buffer, and schedules of the learning rate."""

from tinysmooth.optim.optimisers import SGD, AdamW, Optimiser
from tinysmooth.optim.schedules import Cosine, OneCycle, Schedule

__all__ = ["SGD", "AdamW", "Cosine", "OneCycle", "Optimiser", "Schedule"]
