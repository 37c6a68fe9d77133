"""``python -m tinysmooth``: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see ``tinysmooth.cli``)."""
    # Imported here, so that finding the entry point costs nothing.
    from tinysmooth.cli import main as run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
