"""What the commands share: reading numbers, one-line messages, the error of wrong usage."""

from __future__ import annotations

import argparse

__all__ = ["Parser", "UsageError", "count_or_all", "one_line", "real", "whole"]


class UsageError(Exception):
    """Options that do not fit together or to this machine; exit code 2."""


class Parser(argparse.ArgumentParser):
    """A parser that takes options in full only: a shortened or misspelt one is wrong usage."""

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} came; expected a whole number") from None


def count_or_all(text: str) -> int | None:
    """Read a whole number, or "all" as None."""
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} came; expected a whole number or 'all'"
        ) from None


def real(text: str) -> float:
    """Read a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} came; expected a number") from None


def one_line(message: BaseException | Warning | str) -> str:
    """Say an exception in one line."""
    if isinstance(message, KeyError) and message.args:
        text = str(message.args[0])  # str() of a KeyError is the repr of its message
    elif isinstance(message, OSError) and message.strerror and message.filename:
        text = f"{message.strerror}: {str(message.filename)!r}"
    elif isinstance(message, OSError) and message.strerror:
        text = message.strerror
    else:
        text = str(message)
    line = " ".join(text.split())
    if isinstance(message, Exception) and not isinstance(message, Warning | ArithmeticError):
        return line or type(message).__name__
    return line
