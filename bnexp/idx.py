"""MNIST and the sets in its format: four IDX files, found or downloaded, and checked.

A damaged file must not become a silently different experiment. torchvision's own reader trusts any
file of the right name, so files are read here; its classes supply the mirrors and the md5 of each
download, and are imported only for those.
"""

import gzip
import hashlib
import math
import os.path
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from bnexp.errors import DataError, StorageError
from bnexp.storage import write_whole

Bytes = NDArray[np.uint8]

# Each set's class in torchvision.datasets, which names its folder too.
CLASSES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
# The md5 of each unpacked file of MNIST; torchvision has those of the packed files alone.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FILES = tuple(MNIST_MD5)  # every set's
# Seconds for one connection or one read. A host of eight addresses is given up after eight of them.
TIMEOUT = 5.0


def load(name: str, root: str | Path) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Read a data set, after downloading what is missing of it.

    Args:
        name: a key of `CLASSES`.
        root: the folder of all data sets; the files lie where torchvision has them, such as
            `root/MNIST/raw`, each unpacked or as `.gz`.

    Returns:
        Training images (n, rows, columns) and labels (n,), test images (m, rows, columns) and
        labels (m,): uint8, labels 0 to 9.

    Raises:
        DataError: files are missing and cannot be downloaded, or are damaged.
        StorageError: what is missing cannot be stored there.
    """
    root = Path(os.path.expanduser(root))  # noqa: PTH111  (leaves an unknown ~user as it is)
    folder = root.absolute() / CLASSES[name] / "raw"
    if _missing(name, folder):
        _download(name, folder)
    paths = _find(name, folder)
    train_images, train_labels = _read_pair(name, paths[FILES[0]], paths[FILES[1]])
    test_images, test_labels = _read_pair(name, paths[FILES[2]], paths[FILES[3]])
    if train_images.shape[1:] != test_images.shape[1:]:
        raise _damaged(paths[FILES[2]], f"its images have another size than {FILES[0]}'s")
    return train_images, train_labels, test_images, test_labels


def parse(content: bytes, dimensions: int) -> Bytes:
    """The array in an IDX file of bytes: 0, 0, 8 (uint8), dimensions, each size as >u4, the data.

    Raises:
        ValueError: it is not one, or does not hold what its header promises.
    """
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(f"no IDX file of bytes in {dimensions} dimensions")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    promised = header + math.prod(shape)
    if len(content) != promised or 0 in shape:
        raise ValueError(f"{len(content)} bytes, where its header promises {promised} for {shape}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read(name: str, path: Path) -> Bytes:
    """Read one of `FILES`, unpacked or `.gz`, checked by the strongest means there is.

    MNIST's content has a known md5. The other sets have one of the packed file only; unpacked,
    it is their header, sizes and labels that are checked.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        if path.suffix == ".gz":
            if name != "mnist":
                _check_md5(content, dict(_torchvision(name).resources)[path.name])
            content = gzip.decompress(content)
        if name == "mnist":
            _check_md5(content, MNIST_MD5[path.stem])
        return parse(content, 3 if "images" in path.stem else 1)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from error


def _read_pair(name: str, images_path: Path, labels_path: Path) -> tuple[Bytes, Bytes]:
    images, labels = read(name, images_path), read(name, labels_path)
    if len(images) != len(labels):
        why = f"{len(labels)} labels, and {len(images)} images in {images_path.name}"
        raise _damaged(labels_path, why)
    if labels.max() > 9:
        raise _damaged(labels_path, f"label {labels.max()}, where 0 to 9 are")
    return images, labels


def _find(name: str, folder: Path) -> dict[str, Path]:
    """Where each of `FILES` is; of two, the one that has an md5."""
    found = {}
    for file in FILES:
        both = (folder / file, folder / f"{file}.gz")
        # Unlike Path.is_file, this is False in a folder that may not be looked into.
        if there := [path for path in both if os.path.isfile(path)]:  # noqa: PTH113
            found[file] = there[0] if name == "mnist" else there[-1]
    return found


def _missing(name: str, folder: Path) -> list[str]:
    return [file for file in FILES if file not in _find(name, folder)]


def _torchvision(name: str) -> Any:  # noqa: ANN401  (torchvision has no types)
    """The set's class, of which `mirrors` and `resources` are used."""
    try:
        from torchvision import datasets
    # What a torchvision of another torch raises: the last of these when imported a second time.
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise DataError(
            f"torchvision does not fit the installed torch ({_one_line(error)}).\n"
            "Install both from one index: pip install --force-reinstall torch torchvision"
        ) from error
    return getattr(datasets, CLASSES[name])


def _download(name: str, folder: Path) -> None:
    """Put the missing files there as `.gz`; nothing is on the disk before its md5 is right."""
    source = _torchvision(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            # Asked anew: a process that held the lock may have left nothing to do.
            for packed in [f"{file}.gz" for file in _missing(name, folder)]:
                content = _fetch(source.mirrors, packed, dict(source.resources)[packed])
                write_whole(folder / packed, content)
    except OSError as error:
        kind = DataError if isinstance(error, ConnectionError) else StorageError
        raise kind(
            f"{name}: {', '.join(_missing(name, folder))} missing in {folder}, and not downloaded "
            f"({_one_line(error)}).\nPut them there, as they are or as .gz, or choose data.root "
            "(BNEXP_DATA); `--config quickstart` needs no download."
        ) from error


def _fetch(mirrors: Sequence[str], file: str, md5: str) -> bytes:
    """Download one file into memory, from the first mirror that has the right one.

    Raises:
        ConnectionError: none has.
    """
    failures = []
    for mirror in mirrors:
        # Plain http is among torchvision's mirrors: the md5 is what is trusted.
        request = Request(mirror + file, headers={"User-Agent": "bnexp"})  # noqa: S310
        content = bytearray()
        try:
            with (
                tqdm(desc=f"download {file}", unit="B", unit_scale=True, disable=None) as bar,
                urlopen(request, timeout=TIMEOUT) as response,  # noqa: S310
            ):
                while chunk := response.read(1 << 16):
                    content += chunk
                    bar.update(len(chunk))
            _check_md5(content, md5)
        except (OSError, HTTPException, ValueError) as error:
            failures.append(f"{mirror}: {error}")
            if isinstance(error, HTTPError):
                error.close()  # it is the response, too
        else:
            return bytes(content)
    raise ConnectionError("; ".join(failures))


def _check_md5(content: bytes | bytearray, expected: str) -> None:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(f"md5 {found}, not {expected}")


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path}: damaged ({why}).\nDelete it and run again, to download it.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
