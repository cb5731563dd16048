"""The four IDX files: found, downloaded, checked; never silently wrong."""

import errno
import gzip
import hashlib
import random
import socket
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from torchvision import datasets

from bnexp.data import idx
from bnexp.errors import DataError, StorageError


def idx_file(array):
    """The IDX file of an array of bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


RNG = np.random.default_rng(0)
ARRAYS = (
    RNG.integers(256, size=(7, 3, 4), dtype=np.uint8),
    RNG.integers(10, size=7, dtype=np.uint8),
    RNG.integers(256, size=(5, 3, 4), dtype=np.uint8),
    RNG.integers(10, size=5, dtype=np.uint8),
)
RAW = {file: idx_file(array) for file, array in zip(idx.FILES, ARRAYS, strict=True)}
PACKED = {f"{file}.gz": gzip.compress(content, mtime=0) for file, content in RAW.items()}


def md5(content):
    """The md5 as torchvision writes it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def published(monkeypatch):
    """The small set above is what is published as MNIST and KMNIST, by nobody."""
    monkeypatch.setattr(idx, "MNIST_MD5", {file: md5(raw) for file, raw in RAW.items()})
    resources = [(file, md5(packed)) for file, packed in PACKED.items()]
    for source in (datasets.MNIST, datasets.KMNIST):
        monkeypatch.setattr(source, "resources", resources)
        monkeypatch.setattr(source, "mirrors", [])
    monkeypatch.setenv("no_proxy", "*")


def place(root, folder, contents):
    """Write files where torchvision has them; returns the folder."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (raw / file).write_bytes(content)
    return raw


def assert_whole(loaded):
    """The four arrays are those published."""
    for array, expected in zip(loaded, ARRAYS, strict=True):
        assert np.array_equal(array, expected)


def refused(name, root, error=DataError):
    """The text of the error, which has one or two lines."""
    with pytest.raises(error) as caught:
        idx.load(name, root)
    text = str(caught.value)
    assert text.count("\n") <= 1
    return text


def mutated(content, rng):
    """The content truncated, extended, or with one to three bytes changed."""
    kind = rng.choice(["truncate", "extend", "change"])
    if kind == "truncate":
        return content[: rng.randrange(len(content))]
    if kind == "extend":
        return content + rng.randbytes(rng.randint(1, 40))
    changed = bytearray(content)
    for place in rng.sample(range(len(content)), rng.randint(1, 3)):
        changed[place] ^= rng.randint(1, 255)
    return bytes(changed)


# Reading what is there


@pytest.mark.parametrize(("name", "folder"), idx.CLASSES.items())
def test_unpacked_files_are_read_without_torchvision(tmp_path, monkeypatch, name, folder):
    """A torchvision that cannot be imported is no hindrance when the files are there."""
    place(tmp_path, folder, RAW)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert_whole(idx.load(name, tmp_path))


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("kmnist", "KMNIST")])
def test_packed_files_are_read_as_they_are(tmp_path, name, folder):
    """Files that are there as .gz need neither a download nor a writable folder."""
    raw = place(tmp_path, folder, PACKED)
    assert_whole(idx.load(name, tmp_path))
    assert sorted(path.name for path in raw.iterdir()) == sorted(PACKED)


def test_arrays_are_those_torchvision_reads(tmp_path):
    """The MNIST class of torchvision reads the same images and labels from the same files."""
    place(tmp_path, "MNIST", RAW)
    train_images, train_labels, test_images, test_labels = idx.load("mnist", tmp_path)
    train, test = datasets.MNIST(tmp_path, train=True), datasets.MNIST(tmp_path, train=False)
    assert np.array_equal(train.data, train_images)
    assert np.array_equal(train.targets, train_labels)
    assert np.array_equal(test.data, test_images)
    assert np.array_equal(test.targets, test_labels)


# Damage


@pytest.mark.parametrize(
    ("name", "files", "beside", "refusals"),
    [
        ("mnist", RAW, {}, {200}),
        ("mnist", PACKED, {}, set(range(180, 201))),  # gzip's time stamp may change
        ("mnist", PACKED, RAW, {0}),
        ("kmnist", PACKED, {}, {200}),
        ("kmnist", PACKED, RAW, {200}),
        ("kmnist", RAW, PACKED, {0}),
    ],
    ids=["mnist", "mnist.gz", "mnist.gz+raw", "kmnist.gz", "kmnist.gz+raw", "kmnist+gz"],
)
def test_no_mutated_file_gives_other_data(tmp_path, name, files, beside, refusals):
    """Of 200 mutated files each is refused by name, or the data is bitwise the published one."""
    rng = random.Random(5)
    raw = place(tmp_path, idx.CLASSES[name], {**files, **beside})
    refused_by_name = []
    for _ in range(200):
        file = rng.choice(list(files))
        (raw / file).write_bytes(mutated(files[file], rng))
        try:
            assert_whole(idx.load(name, tmp_path))
        except DataError as error:
            refused_by_name.append(str(error).startswith(f"{raw / file}: damaged ("))
        (raw / file).write_bytes(files[file])
    assert all(refused_by_name)
    assert len(refused_by_name) in refusals


def test_unpacked_files_without_md5_are_checked_by_their_sizes(tmp_path):
    """KMNIST unpacked, no .gz beside: any truncation, extension or other header is refused."""
    rng = random.Random(6)
    raw = place(tmp_path, "KMNIST", RAW)
    for _ in range(100):
        file = rng.choice(idx.FILES)
        header = 16 if "images" in file else 8
        whole = RAW[file]
        bad = rng.choice([mutated(whole[:header], rng) + whole[header:], whole[:-1], whole + b"0"])
        (raw / file).write_bytes(bad)
        assert refused("kmnist", tmp_path).startswith(f"{raw / file}: ")
        (raw / file).write_bytes(whole)


def test_other_images_in_the_place_of_mnist_are_refused(tmp_path):
    """A sound IDX file with other pixels is named, with both md5s and what to do."""
    raw = place(tmp_path, "MNIST", RAW)
    other = idx_file(255 - ARRAYS[0])
    (raw / idx.FILES[0]).write_bytes(other)
    assert refused("mnist", tmp_path) == (
        f"{raw / idx.FILES[0]}: damaged (md5 {md5(other)}, not {md5(RAW[idx.FILES[0]])}).\n"
        "Delete it and run again, to download it."
    )


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        (0, b"", "no IDX file of bytes in 3 dimensions"),
        (0, RAW[idx.FILES[1]], "no IDX file of bytes in 3 dimensions"),
        (1, RAW[idx.FILES[0]], "no IDX file of bytes in 1 dimensions"),
        (0, RAW[idx.FILES[0]][:-1], "99 bytes, where its header promises 100 for [7, 3, 4]"),
        (0, idx_file(ARRAYS[0][:0]), "16 bytes, where its header promises 16 for [0, 3, 4]"),
        (1, idx_file(ARRAYS[1][:6]), "6 labels, and 7 images in train-images-idx3-ubyte"),
        (3, idx_file(ARRAYS[3] + 10), f"label {ARRAYS[3].max() + 10}, where 0 to 9 are"),
        (
            2,
            idx_file(ARRAYS[2][:, :2]),
            "its images have another size than train-images-idx3-ubyte's",
        ),
        (0, b"\0\0\x08\3" + b"\xff" * 12, "promises 79228162458924105385300197391"),
    ],
)
def test_damage_is_described(tmp_path, file, content, why):
    """Each kind of damage that needs no md5 to be seen is named with its file."""
    raw = place(tmp_path, "KMNIST", RAW)
    (raw / idx.FILES[file]).write_bytes(content)
    text = refused("kmnist", tmp_path)
    assert text.startswith(f"{raw / idx.FILES[file]}: damaged (")
    assert why in text


def test_a_packed_file_that_is_none_is_refused(tmp_path):
    """A .gz of MNIST that cannot be unpacked is damaged, not a traceback."""
    raw = place(tmp_path, "MNIST", PACKED)
    (raw / f"{idx.FILES[0]}.gz").write_bytes(b"<html>not found</html>")
    assert "damaged (Not a gzipped file" in refused("mnist", tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """A file the system does not give is no traceback."""
    raw = place(tmp_path, "MNIST", RAW)

    def denied(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.open", denied)
    expected = f"{raw / idx.FILES[0]}: cannot be read (Permission denied)."
    assert refused("mnist", tmp_path) == expected


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_a_file_that_unpacks_to_far_more_than_any_data_set_is_refused_before(tmp_path, name):
    """Of 200 MB of zeros, packed into 200 kB, no more is unpacked than the largest file has."""
    raw = place(tmp_path, idx.CLASSES[name], PACKED)
    (raw / f"{idx.FILES[0]}.gz").write_bytes(gzip.compress(bytes(2 * idx.MOST_BYTES), 1, mtime=0))
    tracemalloc.start()
    text = refused(name, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "damaged (" in text
    assert peak < 2 * idx.MOST_BYTES


# Download


@pytest.fixture
def server():
    """A web server on this machine: `.files` by path, and the paths it was `.asked` for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            if (content := self.server.files.get(self.path)) is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) + self.server.withheld))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.files = {f"/{file}": content for file, content in PACKED.items()}
        httpd.asked, httpd.withheld = [], 0
        httpd.url = f"http://127.0.0.1:{httpd.server_port}/"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


def assert_nothing_stored(root, folder="MNIST"):
    """No file but the lock is in the folder, if it is there at all."""
    assert {path.name for path in (root / folder / "raw").glob("*")} <= {".lock"}


@pytest.mark.parametrize(("name", "source"), [("mnist", "MNIST"), ("kmnist", "KMNIST")])
def test_missing_files_are_downloaded_once(tmp_path, monkeypatch, server, name, source):
    """The first load downloads four files, the second none; torchvision can read them too."""
    monkeypatch.setattr(getattr(datasets, source), "mirrors", [server.url])
    assert_whole(idx.load(name, tmp_path / "new"))
    assert server.asked == [f"/{file}" for file in PACKED]
    assert_whole(idx.load(name, tmp_path / "new"))
    assert len(server.asked) == 4
    theirs = getattr(datasets, source)(tmp_path / "new", download=True)
    assert len(server.asked) == 4
    assert np.array_equal(theirs.data, ARRAYS[0])


def test_only_what_is_missing_is_downloaded(tmp_path, monkeypatch, server):
    """Three files are there, unpacked or packed; the fourth is asked for."""
    three = {**dict(list(RAW.items())[:2]), idx.FILES[2] + ".gz": PACKED[idx.FILES[2] + ".gz"]}
    place(tmp_path, "MNIST", three)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url])
    assert_whole(idx.load("mnist", tmp_path))
    assert server.asked == [f"/{idx.FILES[3]}.gz"]


def test_the_next_mirror_is_tried(tmp_path, monkeypatch, server):
    """A mirror that does not have a file is no failure while another one does."""
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url + "gone/", server.url])
    assert_whole(idx.load("mnist", tmp_path))
    assert len(server.asked) == 8


def test_two_at_once_download_once(tmp_path, monkeypatch, server):
    """Who waits for the other's download finds nothing left to do."""
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url])
    with ThreadPoolExecutor(4) as pool:
        for loaded in pool.map(lambda _: idx.load("mnist", tmp_path), range(4)):
            assert_whole(loaded)
    assert len(server.asked) == 4


def test_a_failed_download_names_the_files_the_place_and_the_way_out(tmp_path, monkeypatch, server):
    """The whole text of the error for missing data."""
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url + "gone/"])
    assert refused("mnist", tmp_path) == (
        "mnist: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        f"t10k-labels-idx1-ubyte missing in {tmp_path / 'MNIST' / 'raw'}, and not downloaded "
        f"({server.url}gone/: HTTP Error 404: Not Found).\n"
        "Put them there, as they are or as .gz, or choose data.root (BNEXP_DATA); "
        "`--config quickstart` needs no download."
    )
    assert_nothing_stored(tmp_path)


def test_a_failed_download_leaves_no_folder_that_it_has_made(tmp_path, monkeypatch, server):
    """As of a mistyped BNEXP_DATA; what was there stays."""
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url + "gone/"])
    refused("mnist", tmp_path / "no" / "such" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    refused("mnist", tmp_path)
    assert (tmp_path / "MNIST" / "raw").is_dir()


def test_a_wrong_download_is_not_used(tmp_path, monkeypatch, server):
    """Another md5 than torchvision's: refused, and nothing is left on the disk."""
    server.files[f"/{idx.FILES[0]}.gz"] = gzip.compress(idx_file(255 - ARRAYS[0]), mtime=0)
    monkeypatch.setattr(datasets.KMNIST, "mirrors", [server.url])
    assert f"not {md5(PACKED[idx.FILES[0] + '.gz'])})" in refused("kmnist", tmp_path)
    assert_nothing_stored(tmp_path, "KMNIST")


def test_a_download_cut_short_is_not_used(tmp_path, monkeypatch, server):
    """A connection closed before the promised end leaves nothing on the disk."""
    server.files[f"/{idx.FILES[0]}.gz"] = PACKED[f"{idx.FILES[0]}.gz"][:50]
    server.withheld = 20
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url])
    assert "not downloaded" in refused("mnist", tmp_path)
    assert_nothing_stored(tmp_path)


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    """The timeout is the download's own: the process's default for sockets is left alone."""
    monkeypatch.setattr(idx, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(datasets.MNIST, "mirrors", [mirror])
        assert f"({mirror}: timed out)" in refused("mnist", tmp_path)
    assert socket.getdefaulttimeout() is None
    assert_nothing_stored(tmp_path)


def test_a_server_that_speaks_no_http_is_reported(tmp_path, monkeypatch):
    """Whatever answers in the mirror's place is no traceback."""

    def greet(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"220 mail.example ready\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(greet, listener)
        mirror = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        monkeypatch.setattr(datasets.MNIST, "mirrors", [mirror])
        assert "220 mail.example ready" in refused("mnist", tmp_path)
    assert_nothing_stored(tmp_path)


def test_a_refused_connection_is_reported(tmp_path, monkeypatch):
    """No server at all."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        mirror = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    monkeypatch.setattr(datasets.MNIST, "mirrors", [mirror])
    assert "Connection refused" in refused("mnist", tmp_path)
    assert_nothing_stored(tmp_path)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "data").write_text("a file")
    text = refused("mnist", tmp_path / "data", StorageError)
    assert "Not a directory" in text
    assert "train-images-idx3-ubyte" in text


def test_a_full_disk_is_a_storage_error(tmp_path, monkeypatch, server):
    """Sound downloads that cannot be stored are no data error."""

    def full(path, _content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(idx, "write_whole", full)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url])
    assert "No space left on device" in refused("mnist", tmp_path, StorageError)


def test_a_torchvision_of_another_torch_is_named_with_the_way_out(tmp_path, monkeypatch):
    """The import error people meet becomes two lines."""
    package = tmp_path / "torchvision"
    package.mkdir()
    reason = "operator torchvision::nms does not exist"
    (package / "__init__.py").write_text(f"raise RuntimeError({reason!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision")
    assert refused("mnist", tmp_path) == (
        f"torchvision does not fit the installed torch ({reason}).\n"
        "Install both from one index: pip install --force-reinstall torch torchvision"
    )
