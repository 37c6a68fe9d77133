"""The parser of all commands, and what an exception means to the shell."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import ModuleType

from tinysmooth import __version__
from tinysmooth.cli import bench, chapters, compare, fetch, info, predict, train
from tinysmooth.cli.options import Parser, UsageError, one_line

__all__ = ["COMMANDS", "build_parser", "main"]

COMMANDS: tuple[ModuleType, ...] = (train, compare, predict, fetch, chapters, bench, info)
"""The rooms of the commands, in the order of ``--help``."""

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


def build_parser() -> Parser:
    """Make the parser of all commands."""
    parser = Parser(
        prog="tinysmooth",
        description="Label smoothing from scratch: train small convnets and look inside.",
    )
    parser.add_argument("--version", action="version", version=f"tinysmooth {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True, parser_class=Parser
    )
    for room in COMMANDS:
        command = commands.add_parser(
            room.NAME,
            help=room.HELP,
            description=room.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        room.configure(command)
        command.add_argument(
            "--debug", action="store_true", help="show the traceback of a failure, for a bug report"
        )
        command.set_defaults(run=room.run, parser=command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process if left out.

    Returns
    -------
    int
        0 success, 1 failure with one line on standard error, 130 stopped by Ctrl-C. Wrong usage
        raises ``SystemExit(2)``, as argparse does, after a line that names the option.
    """
    _mend_streams()
    args = build_parser().parse_args(argv)
    name = f"tinysmooth {args.command}"
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest, **more: print(
            f"{name}: note: {one_line(message)}", file=sys.stderr
        )
        try:
            code: int = args.run(args)
            sys.stdout.flush()
            return code
        except UsageError as error:
            command: Parser = args.parser
            command.error(one_line(error).removeprefix(f"{args.command}: "))
        except KeyboardInterrupt as error:
            if args.debug:
                traceback.print_exc()
            print(f"{name}: {one_line(error) or 'stopped'}", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            _drop_output()  # its reader (`head`) has seen enough
            return FAILURE
        except Exception as error:
            if args.debug:
                traceback.print_exc()
            # A function of the command's name has said it already.
            text = one_line(error).removeprefix(f"{args.command}: ")
            print(f"{name}: {text}", file=sys.stderr)
            try:
                sys.stdout.flush()
            except OSError:
                _drop_output()
            return FAILURE


def _drop_output() -> None:
    """Let standard output go nowhere: Python flushes it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _mend_streams() -> None:
    """Let output go nowhere where the shell closed it, and every file name be printed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")
