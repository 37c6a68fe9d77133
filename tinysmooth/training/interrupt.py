"""Ctrl-C at a moment of our choosing, so that no half-done step is ever saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["PoliteInterrupt", "StopRequestedError", "TrainingInterrupted"]


class StopRequestedError(Exception):
    """Ctrl-C came during an evaluation."""


class TrainingInterrupted(KeyboardInterrupt):  # noqa: N818  (it is no error)
    """Ctrl-C between two steps, with everything saved."""


class PoliteInterrupt:
    """Note the first Ctrl-C instead of raising; a second one raises at once.

    Python raises ``KeyboardInterrupt`` between any two instructions, for example when half of the
    parameters are updated. Inside this context the first one only sets ``requested``, which the
    training loop reads between two steps. Outside the main thread, or where the program has its
    own handler, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None
        self._installed = False

    def __enter__(self) -> Self:
        """Install the handler where that is possible."""
        here = threading.current_thread() is threading.main_thread()
        if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the previous handler back."""
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
