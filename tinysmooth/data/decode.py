"""From image files to one array: decoding, squaring and shrinking, on all cores."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from tinysmooth.checks import check_int
from tinysmooth.data.dataset import DataWarning
from tinysmooth.kernels.thread_count import get_num_threads

__all__ = ["DECODER", "MOST_FAULTS", "decode_files", "read_image", "report_faults"]

#: Says how pixels come about; part of the fingerprint of the cache. Count up with every change.
DECODER = f"2, Pillow {PIL.__version__}"

#: Share of unreadable files at which the folder, not the files, is the problem.
MOST_FAULTS = 0.05

# What Pillow raises for broken files; SyntaxError comes from its PNG reader.
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    struct.error,
    Image.DecompressionBombError,
)

_ORIENTATION = 0x0112  # the EXIF entry that says how the camera was held
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _UnclearError(ValueError):
    """An image whose numbers do not say which colours they are."""


def read_image(path: str | os.PathLike[str], size: int) -> np.ndarray[Any, Any]:
    """Read one image of any kind as the models want it: RGB, square, ``size`` pixels.

    The longer side is cropped evenly at both ends, after the shorter one was brought to ``size``
    with Lanczos' filter. Greyscale, palette and CMYK images become RGB, transparent ones stand on
    white, and photographs are turned upright as their EXIF entry says. Numbers in [0, 1] or
    [0, 255] are taken for grey levels where a file holds real numbers.

    Parameters
    ----------
    path : str or Path
        The file; any format that Pillow reads.
    size : int
        Pixels along each side, at least 8.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, truncated, damaged or no image, or holds numbers that nobody can tell
        the colours of.
    TypeError
        If an argument has the wrong type.
    """
    where = "read_image"
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{where}: path is a {type(path).__name__}; expected a path")
    side = check_int(where, "size", size, minimum=8)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{where}: {path} is not a file; expected an image file")
    try:
        with _quiet_pillow():
            return _read(path, side)
    except _BROKEN as error:
        raise ValueError(f"{where}: {path}: {_fault(path, error)}; expected an image") from error


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Ignore Pillow's remarks on odd metadata; what cannot be read is reported by us.

    Around all threads at once: warning filters belong to the process, not to a thread.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def _read(path: str | os.PathLike[str], size: int) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        _check_depth(image)
        # A large JPEG is decoded at a half, a quarter or an eighth, never below twice the size.
        image.draft(None, (2 * size, 2 * size))
        upright = _to_rgb(_upright(image))
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS))


def _upright(image: Image.Image) -> Image.Image:
    """Turn a photograph as its EXIF entry says; damaged entries say nothing."""
    try:
        turn = _TURNS.get(image.getexif()[_ORIENTATION])
    except _BROKEN:
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # Pillow would clip these
        image = _to_grey(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, clear).convert("RGB")
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")


def _to_grey(image: Image.Image) -> Image.Image:
    """Turn wide integers or real numbers into 8 bits a pixel, with a transparent level if any."""
    wide = np.asarray(image)
    low, high = wide.min(initial=0), wide.max(initial=0)
    most, what = (255, "real numbers") if image.mode == "F" else (65535, "integers")
    if not (low >= 0 and high <= most):  # NaN is not either
        raise _UnclearError(f"{what} from {low:g} to {high:g}, not in 0 to {most}")
    if image.mode == "F":
        levels = np.rint(wide * (255 if high <= 1 else 1)).astype(np.uint8)
    else:
        levels = (wide >> (8 if high > 255 else 0)).astype(np.uint8)
    grey = Image.fromarray(levels)
    if "transparency" in image.info:
        seen = np.where(wide == image.info["transparency"], 0, 255).astype(np.uint8)
        grey.putalpha(Image.fromarray(seen))
    return grey


def _check_depth(image: Image.Image) -> None:
    """Refuse 16-bit colours of which one is transparent: Pillow keeps 8 bits, and many match it."""
    deep = any("16" in str(part.args) for part in getattr(image, "tile", ()))
    if image.mode == "RGB" and deep and "transparency" in image.info:
        raise _UnclearError("16-bit colours of which one is transparent")


def _fault(path: str | os.PathLike[str], error: BaseException) -> str:
    try:
        if os.stat(path).st_size == 0:
            return "empty file"
    except OSError:
        return "cannot be opened"
    if isinstance(error, _UnclearError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, PermissionError | IsADirectoryError):
        return "cannot be opened" if isinstance(error, PermissionError) else "a folder"
    if "truncated" in str(error).lower():
        return "truncated"
    return f"damaged ({str(error)[:60]})"


def decode_files(
    paths: Sequence[Path],
    out: np.ndarray[Any, Any],
    *,
    progress: bool | None = None,
    label: str = "decoding",
) -> dict[int, str]:
    """Decode files into the rows of ``out``; return what is wrong with those that cannot be.

    Parameters
    ----------
    paths : sequence of Path
        N files.
    out : ndarray of uint8, shape (N, size, size, 3)
        Written in place; the row of an unreadable file is filled with zeros.
    progress : bool, optional
        Whether to show a progress bar; by default, if standard error is a terminal.
    label : str, optional
        What the bar says.

    Returns
    -------
    dict of int to str
        The fault of each unreadable file, by its row, in order.
    """
    size = out.shape[1]
    faults: dict[int, str] = {}

    def decode(row: int) -> None:
        try:
            out[row] = _read(paths[row], size)
        except _BROKEN as error:
            out[row] = 0
            faults[row] = _fault(paths[row], error)

    hidden = None if progress is None else not progress
    # Pillow releases the interpreter's lock while it decodes and resizes.
    with (
        _quiet_pillow(),
        ThreadPoolExecutor(get_num_threads()) as pool,
        tqdm(total=len(paths), desc=label, unit="image", disable=hidden) as bar,
    ):
        try:
            for _ in pool.map(decode, range(len(paths))):
                bar.update()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return dict(sorted(faults.items()))


def report_faults(where: str, faults: dict[str, str], total: int, folder: Path) -> None:
    """Name unreadable files in one warning, or give up if there are too many.

    Parameters
    ----------
    where : str
        The function that reads.
    faults : dict of str to str
        What is wrong with each file.
    total : int
        How many files were read.
    folder : Path
        Where they are.

    Raises
    ------
    ValueError
        If more than `MOST_FAULTS` of the files are unreadable.
    """
    if not faults:
        return
    named = [f"{name} ({fault})" for name, fault in faults.items()]
    if len(faults) > MOST_FAULTS * total:
        raise ValueError(
            f"{where}: {len(faults)} of {total} images in {folder} cannot be read; expected at "
            f"most {MOST_FAULTS:.0%}. The first: {'; '.join(named[:5])}. Fetch the archive again"
        )
    more = f"; and {len(named) - 20} more" if len(named) > 20 else ""
    warnings.warn(
        f"{where}: skipped {len(faults)} of {total} images in {folder}: "
        f"{'; '.join(named[:20])}{more}",
        DataWarning,
        stacklevel=3,
    )
