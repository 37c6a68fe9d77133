"""Tiny folders and archives with the layout of Imagenette, for the tests of the data room."""

import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from tinysmooth.data import SPLITS, WNIDS

# One colour a class, far apart, so that a decoded pixel tells its class.
COLOURS = [(25 * k, 250 - 25 * k, 60 + 120 * (k % 2)) for k in range(10)]


def make_tree(root: Path, train: int = 4, val: int = 2) -> Path:
    """Write ``root``/imagenette2-160 with a few plain JPEG files in each class folder."""
    folder = root / "imagenette2-160"
    rows = ["path,noisy_labels_0,noisy_labels_1,noisy_labels_5,noisy_labels_25,noisy_labels_50,x"]
    for split, count in zip(SPLITS, (train, val), strict=True):
        for label, wnid in enumerate(WNIDS):
            (folder / split / wnid).mkdir(parents=True)
            for k in range(count):
                name = f"{split}/{wnid}/{wnid}_{k}.JPEG"
                size = (24, 16) if k % 2 else (16, 20)
                Image.new("RGB", size, COLOURS[label]).save(folder / name, "JPEG", quality=95)
                wrong = WNIDS[(label + 1) % 10]
                half = wrong if k % 2 and split == "train" else wnid
                rows.append(f"{name},{wnid},{wnid},{wnid},{wrong if k == 1 else wnid},{half},x")
    (folder / "noisy_imagenette.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def make_archive(folder: Path, path: Path) -> Path:
    """Pack a folder as a .tgz under its own name."""
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, folder.name)
    return path


def class_of(pixel: np.ndarray) -> int:
    """Return the class whose colour is nearest."""
    return int(np.abs(np.array(COLOURS) - pixel.astype(int)).sum(axis=1).argmin())
