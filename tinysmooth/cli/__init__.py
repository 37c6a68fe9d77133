"""The command line: one room a command, no logic of its own.

A command is a module with ``NAME``, ``HELP``, ``configure(parser)`` and ``run(args)``, entered in
``COMMANDS``. ``run`` returns the exit code; it raises ``UsageError`` for wrong usage (exit code 2)
and anything else for a failure (exit code 1).
"""

from tinysmooth.cli.main import COMMANDS, build_parser, main
from tinysmooth.cli.options import UsageError

__all__ = ["COMMANDS", "UsageError", "build_parser", "main"]
