"""Data: Imagenette, the drawn stand-in, and batches of either.

- ``classes``, ``dataset``, ``options``, ``places``: names, what loaders return, checks, folders;
- ``download``, ``archive``: download, verify, unpack safely;
- ``layout``, ``decode``, ``cache``, ``imagenette``: from files on disk to arrays;
- ``drawn``: pictures drawn by code, for tests, teaching and machines without a network;
- ``sources``: which of the two to use, said aloud;
- ``batches``: shuffling, augmentation, normalisation.
"""

from tinysmooth.data.archive import ArchiveError
from tinysmooth.data.batches import IMAGE_MEAN, IMAGE_STD, Batches, normalise
from tinysmooth.data.classes import CLASS_NAMES, NUM_CLASSES, WNIDS
from tinysmooth.data.dataset import SPLITS, Dataset, DataWarning, holdout_split
from tinysmooth.data.decode import read_image
from tinysmooth.data.download import FetchError, fetch
from tinysmooth.data.drawn import draw_image, load_drawn
from tinysmooth.data.imagenette import load_imagenette
from tinysmooth.data.layout import find_imagenette
from tinysmooth.data.options import NOISE_LEVELS
from tinysmooth.data.sources import KINDS, Source, choose_source, load

__all__ = [
    "CLASS_NAMES",
    "IMAGE_MEAN",
    "IMAGE_STD",
    "KINDS",
    "NOISE_LEVELS",
    "NUM_CLASSES",
    "SPLITS",
    "WNIDS",
    "ArchiveError",
    "Batches",
    "DataWarning",
    "Dataset",
    "FetchError",
    "Source",
    "choose_source",
    "draw_image",
    "fetch",
    "find_imagenette",
    "holdout_split",
    "load",
    "load_drawn",
    "load_imagenette",
    "normalise",
    "read_image",
]
