"""The ten classes of Imagenette, in the order of their WordNet identifiers.

Source: fast.ai, https://github.com/fastai/imagenette. The index of a class is its place in these
tuples, which is also the alphabetical order of the folders, as PyTorch's ``ImageFolder`` has it.
"""

from __future__ import annotations

__all__ = ["CLASS_NAMES", "NUM_CLASSES", "WNIDS"]

#: Folder names (WordNet identifiers) of the classes.
WNIDS: tuple[str, ...] = (
    "n01440764",
    "n02102040",
    "n02979186",
    "n03000684",
    "n03028079",
    "n03394916",
    "n03417042",
    "n03425413",
    "n03445777",
    "n03888257",
)

#: Readable names of the classes.
CLASS_NAMES: tuple[str, ...] = (
    "tench",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "golf ball",
    "parachute",
)

#: How many classes there are.
NUM_CLASSES = len(WNIDS)
