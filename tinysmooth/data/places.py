"""Where things are: the folders that may hold Imagenette, and the cache of decoded images."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder", "download_folder", "is_offline", "search_folders", "user_folder"]


def user_folder(kind: str) -> Path | None:
    """Return the user's folder for ``kind`` ("data" or "cache"), or None without a home."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else home / "AppData" / "Local") / "tinysmooth" / kind
    if sys.platform == "darwin":
        library = home / "Library"
        return library / ("Caches" if kind == "cache" else "Application Support") / "tinysmooth"
    variable, usual = ("XDG_CACHE_HOME", ".cache") if kind == "cache" else (
        "XDG_DATA_HOME", ".local/share")  # fmt: skip
    base = os.environ.get(variable, "")
    # The XDG specification: a relative path is invalid and must be ignored.
    return (Path(base) if os.path.isabs(base) else home / usual) / "tinysmooth"


def search_folders(root: Path | None) -> list[Path]:
    """Return the folders that may hold Imagenette: ``root`` alone, or the usual places in order.

    The usual places: ``$TINYSMOOTH_DATA``, ``data`` in the working folder, the user's data folder.
    """
    if root is not None:
        return [root]
    named = os.environ.get("TINYSMOOTH_DATA")
    own = user_folder("data")
    places = [Path(named).expanduser() if named else None, Path("data"), own]
    return [place for place in places if place is not None]


def download_folder(root: Path | None) -> Path:
    """Return the folder that a download goes into.

    ``root``, else ``$TINYSMOOTH_DATA``, else ``data`` in the working folder if it exists (as it
    does in a clone of the repository), else the user's data folder.
    """
    named = os.environ.get("TINYSMOOTH_DATA")
    if root is not None:
        return root
    if named:
        return Path(named).expanduser()
    here, own = Path("data"), user_folder("data")
    return here if here.is_dir() or own is None else own


def cache_folder() -> Path | None:
    """Return the folder of decoded images, or None where there is none.

    ``$TINYSMOOTH_CACHE`` names another place, or switches the cache off (``off``).
    """
    named = os.environ.get("TINYSMOOTH_CACHE", "")
    if named.lower() in ("off", "0", "none"):
        return None
    base = Path(named).expanduser() if named else user_folder("cache")
    return None if base is None else base / "images"


def is_offline() -> bool:
    """Return whether ``TINYSMOOTH_OFFLINE`` forbids every download."""
    return os.environ.get("TINYSMOOTH_OFFLINE", "").lower() not in ("", "0", "false", "no")
