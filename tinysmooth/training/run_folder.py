"""The folder of one run: which file holds what."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import ModuleType
from typing import Any

from tinysmooth.training.atomic import remove_leftovers, write_atomically
from tinysmooth.training.config import OptionError, TrainConfig
from tinysmooth.training.notes import check_notes

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["RunFolder"]

_FORMAT = 1
# What only a run leaves that had written a checkpoint before.
_WRITTEN_LATER = ("history.csv", "weights.npz", "evaluation.npz", "result.json")


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run folder.

    Attributes
    ----------
    path : Path
        The folder; inside lie ``config.json``, ``history.csv``, ``weights.npz``,
        ``checkpoint.npz``, ``report.md`` and the pictures of the report.
    """

    path: Path

    @property
    def config(self) -> Path:
        """Options of the run, the data it found, and the versions it ran on."""
        return self.path / "config.json"

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.path / "history.csv"

    @property
    def weights(self) -> Path:
        """The model after the last finished epoch, or where Ctrl-C stopped it."""
        return self.path / "weights.npz"

    @property
    def checkpoint(self) -> Path:
        """All that is needed to go on."""
        return self.path / "checkpoint.npz"

    @property
    def report(self) -> Path:
        """The run in words and pictures."""
        return self.path / "report.md"

    def written_later(self) -> list[str]:
        """Names of the files here that are written after the first checkpoint."""
        return [name for name in _WRITTEN_LATER if (self.path / name).exists()]

    @classmethod
    def check_new(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Return the layout of a folder that does not exist yet, or is empty; creates nothing.

        Raises
        ------
        OptionError
            If there is something else at ``path``.
        """
        folder = Path(path)
        if folder.is_dir() and any(folder.iterdir()):
            fix = (
                f"Go on with that run by --resume {quote(str(path))}, or choose another --out"
                if cls(folder).config.exists()
                else "Choose another --out"
            )
            raise OptionError(
                "out",
                f"train: out is {str(path)!r}, which is not empty; expected a new folder. {fix}",
            )
        for parent in (folder, *folder.parents):
            if parent.exists():
                if not parent.is_dir():
                    raise OptionError(
                        "out",
                        f"train: out is {str(path)!r}, but {str(parent)!r} is a file; "
                        "expected a folder that can be made",
                    )
                if not os.access(parent, os.W_OK):
                    raise OptionError(
                        "out",
                        f"train: out is {str(path)!r}, but {str(parent)!r} is read-only; "
                        "expected a folder that can be written",
                    )
                break
        return cls(folder)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Return the layout of an existing run.

        Raises
        ------
        FileNotFoundError
            If there is no run at ``path``.
        """
        folder = cls(Path(path))
        if not folder.config.is_file():
            what = "has no config.json" if folder.path.is_dir() else "is no folder"
            raise FileNotFoundError(
                f"run folder: {str(path)!r} {what}; expected a folder that `tinysmooth train` wrote"
            )
        return folder

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"run folder: {str(self.path)!r} could not be made ({error.strerror}); expected a "
                "place that can be written",
            ) from error

    def create(self, config: TrainConfig, notes: dict[str, Any]) -> None:
        """Make the folder and write ``config.json``: the options, and notes on data and machine.

        Raises
        ------
        OSError
            If the folder cannot be made, or the file cannot be written.
        """
        self.make()
        content = {"format": _FORMAT, "options": config.to_dict(), **notes}
        text = json.dumps(content, indent=2) + "\n"
        write_atomically(self.config, text.encode("utf-8"))

    def read_config(self) -> tuple[TrainConfig, dict[str, Any]]:
        """Return the options and the whole content of ``config.json``.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        try:
            content = json.loads(self.config.read_text(encoding="utf-8"))
            check_notes(content)
            return TrainConfig.from_dict(content["options"]), content
        except (KeyError, TypeError, ValueError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"run folder: {str(self.config)!r} is damaged ({reason}); "
                "expected the file that `tinysmooth train` wrote"
            ) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training in this folder; the system frees it on any end.

        Raises
        ------
        RuntimeError
            If another process is at work here.
        """
        if fcntl is None:
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError(
                    f"run folder: another process is training in {str(self.path)!r}; expected "
                    "one at a time. Wait for it, or stop it"
                ) from None
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            os.close(handle)

    def tidy(self) -> None:
        """Remove temporary files of a process that was killed."""
        remove_leftovers(self.path)
