"""Getting Imagenette: download, verify, unpack."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tinysmooth.checks import check_int
from tinysmooth.data.archive import folder_name, made, remove_leftovers, unpack
from tinysmooth.data.dataset import DataWarning
from tinysmooth.data.layout import check_layout
from tinysmooth.data.places import download_folder, is_offline

__all__ = ["ARCHIVES", "DEFAULT_URL", "FetchError", "fetch", "probe"]

_BASE = "https://s3.amazonaws.com/fast-ai-imageclas/"

#: The official archives and their SHA-256, as TensorFlow Datasets records them.
ARCHIVES: dict[str, str] = {
    f"{_BASE}imagenette2-160.tgz": (
        "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5"
    ),
    f"{_BASE}imagenette2-320.tgz": (
        "569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c"
    ),
    f"{_BASE}imagenette2.tgz": ("6cbfac238434d89fe99e651496f0812ebc7a10fa62bd42d6874042bf01de4efd"),
}

DEFAULT_URL = f"{_BASE}imagenette2-160.tgz"

# Seconds to connect, and between two pieces of data.
_TIMEOUT = (10, 60)
_TEMPORARY = ".fetching-"


class FetchError(OSError):
    """The archive could not be downloaded, or is not the one that was expected."""


def fetch(
    root: str | Path | None = None,
    *,
    url: str | None = None,
    archive: str | Path | None = None,
    sha256: str | None = None,
    retries: int = 3,
    progress: bool | None = None,
) -> Path:
    """Bring Imagenette to this machine, and return its folder.

    What is already there is not fetched again. Nothing half-done stays: the archive is verified
    before it is unpacked, and unpacked completely or not at all.

    Parameters
    ----------
    root : str or Path, optional
        The folder to unpack into, as ``<root>/imagenette2-160``. By default ``$TINYSMOOTH_DATA``,
        else ``data`` in the working folder if there is one, else the user's data folder.
    url : str, optional
        Where to download from; by default fast.ai's archive of 160-pixel images (99 MB).
    archive : str or Path, optional
        An archive that is already on disk, in place of a download.
    sha256 : str, optional
        The checksum (64 hexadecimal digits) that the archive must have. Known for the official
        addresses; another ``url`` without it is used with a warning.
    retries : int, optional
        How often a download that broke off is tried again.
    progress : bool, optional
        Whether to show progress bars; by default, if standard error is a terminal.

    Returns
    -------
    Path
        The folder with ``train`` and ``val``.

    Raises
    ------
    FetchError
        If there is no connection, the server refuses, the checksum is another one, or
        ``TINYSMOOTH_OFFLINE`` forbids downloads.
    ArchiveError
        If the archive is damaged or unsafe.
    FileNotFoundError
        If ``archive`` does not exist.
    TypeError, ValueError
        If an argument does not fit.
    """
    where = "fetch"
    wanted = _check_sha256(where, sha256)
    tries = check_int(where, "retries", retries, minimum=0)
    for name, path in (("root", root), ("archive", archive)):
        if path is not None and not isinstance(path, str | Path):
            raise TypeError(f"{where}: {name} is a {type(path).__name__}; expected a path or None")
    if archive is not None and url is not None:
        raise ValueError(f"{where}: url and archive are both given; expected one of them")
    parent = download_folder(None if root is None else Path(root).expanduser())

    if archive is not None:
        local = Path(archive).expanduser()
        if not local.is_file():
            raise FileNotFoundError(f"{where}: archive {local} is not a file; expected a .tgz file")
        if wanted is not None:
            _verify(local, wanted)
        there = _already(parent, local.name, any_version=False)
        return there or unpack(local, parent, check=check_layout, progress=progress)

    address = _check_url(where, DEFAULT_URL if url is None else url)
    name = Path(urlsplit(address).path).name or "imagenette.tgz"
    there = _already(parent, name, any_version=url is None)
    if there is not None:
        return there
    wanted = wanted or ARCHIVES.get(address)
    if is_offline():
        raise FetchError(f"{where}: TINYSMOOTH_OFFLINE is set; expected it unset to download")
    if wanted is None:
        warnings.warn(
            f"{address} comes without a checksum, so nobody can tell whether it is what its owner "
            "put there; give sha256 (--sha256) to verify it",
            DataWarning,
            stacklevel=2,
        )
    with made(parent):
        remove_leftovers(parent, _TEMPORARY)
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=parent) as temporary:
            local = _download(address, Path(temporary) / name, wanted, tries, progress)
            return unpack(local, parent, check=check_layout, progress=progress)


def probe(url: str | None = None, timeout: float = 5.0) -> None:
    """Ask the server for the archive's header, once, to see whether a download is possible.

    Raises
    ------
    FetchError
        If downloads are forbidden, or nobody answers within ``timeout`` seconds.
    """
    if is_offline():
        raise FetchError("TINYSMOOTH_OFFLINE is set")
    import requests

    try:
        requests.head(url or DEFAULT_URL, timeout=timeout).raise_for_status()
    except requests.RequestException as error:
        raise FetchError(_reason(error)) from error


def _already(parent: Path, archive_name: str, any_version: bool) -> Path | None:
    """Return the folder that the archive would become, if it is there."""
    folder = parent / folder_name(archive_name)
    for place in (folder, parent) if any_version else (folder,):
        try:
            return check_layout(place)
        except FileNotFoundError:
            continue
    return None


def _download(
    url: str, target: Path, sha256: str | None, retries: int, progress: bool | None
) -> Path:
    import pooch
    import requests

    show = sys.stderr.isatty() if progress is None else progress
    http = pooch.HTTPDownloader(progressbar=show, timeout=_TIMEOUT, chunk_size=1 << 18)

    def download(address: str, output: Any, store: Any) -> None:
        try:
            http(address, output, store)
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            if 400 <= status < 500 and status not in (408, 429):
                # Asking again does not help; FetchError is not among what pooch tries again.
                raise FetchError(f"fetch: {address}: {_reason(error)}") from error
            raise

    store = pooch.create(
        path=target.parent,
        base_url="",
        registry={target.name: None if sha256 is None else f"sha256:{sha256}"},
        urls={target.name: url},
        retry_if_failed=retries,
    )
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        store.fetch(target.name, downloader=download)
    except requests.RequestException as error:
        raise FetchError(
            f"fetch: {url}: {_reason(error)}, tried {retries + 1} times; expected an archive. "
            "Check the connection, or download it by other means and give its path (--archive)"
        ) from error
    except ValueError as error:
        # pooch names both checksums; only the disagreement matters to the reader.
        raise FetchError(
            f"fetch: {url} has another checksum than SHA-256 {sha256}; expected that one. The "
            "file was damaged on its way or is another one; nothing of it was kept"
        ) from error
    finally:
        logger.setLevel(level)
    return target


def _reason(error: Exception) -> str:
    """Say in a few words why a request failed; the library's own words run over several lines."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off in the middle"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return f"the request failed ({type(error).__name__})"


def _verify(path: Path, sha256: str) -> None:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise FetchError(f"fetch: {path} has SHA-256 {found}; expected {sha256}")


def _check_sha256(where: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{where}: sha256 is a {type(value).__name__}; expected a str or None")
    digits = value.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(f"{where}: sha256 is {value!r}; expected 64 hexadecimal digits")
    return digits


def _check_url(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{where}: url is a {type(value).__name__}; expected a str or None")
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValueError(f"{where}: url is {value!r}; {error}. Expected an address") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(
            f"{where}: url is {value!r}; expected one that begins with https:// or http://. "
            "For a file on disk use archive"
        )
    return value
