"""Training: fit, evaluate, checkpoint and resume, the run folder, weights on disk."""

from tinysmooth.training.config import PRESET_MINUTES, PRESETS, OptionError, TrainConfig
from tinysmooth.training.evaluation import Evaluation, evaluate
from tinysmooth.training.fit import fit
from tinysmooth.training.groups import decay_groups
from tinysmooth.training.history import EpochRow, read_history
from tinysmooth.training.interrupt import TrainingInterrupted
from tinysmooth.training.job import TrainedRun, load_model, resume, train
from tinysmooth.training.loop import DivergedError
from tinysmooth.training.mixing import shrink
from tinysmooth.training.run_folder import RunFolder
from tinysmooth.training.storage import CorruptFileError, load, save

__all__ = [
    "PRESETS",
    "PRESET_MINUTES",
    "CorruptFileError",
    "DivergedError",
    "EpochRow",
    "Evaluation",
    "OptionError",
    "RunFolder",
    "TrainConfig",
    "TrainedRun",
    "TrainingInterrupted",
    "decay_groups",
    "evaluate",
    "fit",
    "load",
    "load_model",
    "read_history",
    "resume",
    "save",
    "shrink",
    "train",
]
