"""MNIST and the data sets in its format: four IDX files, found or downloaded, and checked.

A damaged file must not become a silently different experiment. torchvision's own reader trusts
every file that has the right name. So the files are read here, and torchvision's classes supply
only the mirrors and the md5 of each download.
"""

import gzip
import hashlib
import math
import os.path
import zlib
from contextlib import suppress
from http.client import HTTPException
from io import BufferedIOBase, BytesIO
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from bnexp.errors import DataError, StorageError
from bnexp.files.atomic import write_whole

Bytes = NDArray[np.uint8]

# Each set's class in torchvision.datasets, which names its folder too.
CLASSES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
# The md5 of each unpacked file of MNIST. torchvision knows only those of the packed files.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FILES = tuple(MNIST_MD5)  # the names are the same in every set
# Seconds for one connection or one read. A host with eight addresses is given up after 40 s.
TIMEOUT = 5.0
MOST_BYTES = 100_000_000  # of a file: the largest has 47 million, unpacked


def load(name: str, root: str | Path) -> list[Bytes]:
    """The arrays of a data set of `CLASSES`: training images and labels, test images and labels.

    Images are (n, rows, columns), labels (n,). The files lie where torchvision puts them, such as
    `root/MNIST/raw`, each unpacked or as `.gz`. What is missing is downloaded.

    Raises:
        DataError: files are missing and cannot be downloaded, or are damaged.
        StorageError: what is missing cannot be stored there.
    """
    home = os.path.expanduser(root)  # unlike Path.expanduser, it leaves an unknown ~user alone
    folder = Path(home).absolute() / CLASSES[name] / "raw"
    if _missing(name, folder):
        _download(name, folder)
    paths = _find(name, folder)
    arrays = {file: _read(name, paths[file]) for file in FILES}
    for images, labels in (FILES[:2], FILES[2:]):
        if (found := len(arrays[labels])) != (n := len(arrays[images])):
            raise _damaged(paths[labels], f"{found} labels, and {n} images in {paths[images].name}")
    if arrays[FILES[0]].shape[1:] != arrays[FILES[2]].shape[1:]:
        raise _damaged(paths[FILES[2]], f"its images have another size than {FILES[0]}'s")
    return list(arrays.values())


def _find(name: str, folder: Path) -> dict[str, Path]:
    """Where each of `FILES` is. If it is there twice, the one whose md5 is known counts."""
    endings = (".gz", "") if name == "mnist" else ("", ".gz")
    paths = [(file, folder / f"{file}{ending}") for ending in endings for file in FILES]
    # Unlike Path.is_file, this is False in a folder that may not be looked into.
    return {file: path for file, path in paths if os.path.isfile(path)}


def _missing(name: str, folder: Path) -> list[str]:
    return [file for file in FILES if file not in _find(name, folder)]


def _read(name: str, path: Path) -> Bytes:
    """Read one of `FILES` and check it.

    Of MNIST the md5 of the unpacked file is known, of the other sets only that of the packed one.
    """
    try:
        with path.open("rb") as file:
            content = _bounded(file)
        if path.suffix == ".gz":
            if name != "mnist":
                _checked(content, _torchvision(name)[1][path.name])
            with gzip.open(BytesIO(content)) as unpacked:
                content = _bounded(unpacked)
        if name == "mnist":
            _checked(content, MNIST_MD5[path.stem])
        return _parse(content, 3 if "images" in path.stem else 1)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error


def _bounded(file: BufferedIOBase) -> bytes:
    """All bytes of a file, which may be no more than the largest of these data sets has.

    Ten megabytes of a gzip file can unpack to ten gigabytes.
    """
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    return content


def _parse(content: bytes, dimensions: int) -> Bytes:
    """The array of an IDX file.

    The file begins with the bytes 0, 0, 8 (which stands for uint8) and the number of dimensions.
    The size of each dimension follows, as a big-endian 4-byte integer, and then the data.
    """
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(f"no IDX file of bytes in {dimensions} dimensions")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    promised = header + math.prod(shape)
    if len(content) != promised or 0 in shape:
        raise ValueError(f"{len(content)} bytes, where its header promises {promised} for {shape}")
    array = np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    if dimensions == 1 and array.max() > 9:
        raise ValueError(f"label {array.max()}, where 0 to 9 are")
    return array


def _torchvision(name: str) -> tuple[list[str], dict[str, str]]:
    """The addresses that hold a data set, each ending in a slash, and each packed file's md5."""
    try:
        from torchvision import datasets
    # These are what a torchvision that was built for another torch raises; AttributeError comes
    # when it is imported for a second time.
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise DataError(
            f"torchvision does not fit the installed torch ({' '.join(str(error).split())}).\n"
            "Install both from one index: pip install --force-reinstall torch torchvision"
        ) from error
    source = getattr(datasets, CLASSES[name])
    return source.mirrors, dict(source.resources)


def _download(name: str, folder: Path) -> None:
    """Put the missing files into the folder, as `.gz`.

    A file is written only after its md5 was found right, so a broken download leaves nothing. The
    folders that were made for it are removed, since `data.root` may have been a mistake.
    """
    mirrors, md5s = _torchvision(name)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            # Ask again: another process may have downloaded everything while it held the lock.
            packed = [f"{file}.gz" for file in _missing(name, folder)]
            try:
                for file in tqdm(packed, f"download {name}", disable=None):
                    write_whole(folder / file, _fetch(mirrors, md5s[file], file))
            except OSError:
                _remove_empty(made, folder / ".lock")
                raise
    except OSError as error:
        kind = DataError if isinstance(error, ConnectionError) else StorageError
        raise kind(
            f"{name}: {', '.join(_missing(name, folder))} missing in {folder}, and not downloaded "
            f"({' '.join(str(error).split())}).\nPut them there, as they are or as .gz, or choose "
            "data.root (BNEXP_DATA); `--config quickstart` needs no download."
        ) from error


def _remove_empty(made: list[Path], lock: Path) -> None:
    """Remove the folders that were made, if nothing but the lock is in them."""
    if made and [*lock.parent.iterdir()] == [lock]:
        lock.unlink()
        with suppress(OSError):  # another process has put something there
            for each in made:
                each.rmdir()


def _fetch(mirrors: list[str], md5: str, file: str) -> bytes:
    """Download one file from the first mirror that has the right one.

    Raises:
        ConnectionError: none of them has.
    """
    failures = []
    for mirror in mirrors:
        # Some of torchvision's mirrors speak plain http. What is trusted is the md5.
        request = Request(mirror + file, headers={"User-Agent": "bnexp"})
        try:
            with urlopen(request, timeout=TIMEOUT) as response:
                return _checked(_bounded(response), md5)
        except (OSError, HTTPException, ValueError) as error:
            failures.append(f"{mirror}: {error}")
    raise ConnectionError("; ".join(failures))


def _checked(content: bytes, md5: str) -> bytes:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(f"md5 {found}, not {md5}")
    return content


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path}: damaged ({why}).\nDelete it and run again, to download it.")
