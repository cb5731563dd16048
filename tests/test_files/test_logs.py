"""Logs that only grow: read at any time, continued after a crash, refused when damaged."""

import os

import numpy as np
import pytest
from helpers.disks import SlowFile

from bnexp.errors import DamagedError
from bnexp.files import atomic, headers, logs
from bnexp.files.atomic import Extent, extent


def slow(monkeypatch, **limits):
    """Every file that is opened from here on takes only so much."""
    for name in ("open_new", "open_regular"):
        opened = getattr(logs, name)
        monkeypatch.setattr(
            logs, name, lambda *args, opened=opened: SlowFile(opened(*args), **limits)
        )


def test_an_array_can_be_read_at_any_time(tmp_path):
    """`numpy.load` sees the rows of the last `commit`, through every change of the digits."""
    array = logs.AppendedArray(tmp_path / "a.npy", (2, 3))
    array.start()
    row = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    for rows in range(1, 121):
        array.append_rows(row + np.float32(rows))
        assert len(np.load(array.path, mmap_mode="r")) == rows - 1
        array.commit()
        assert len(np.load(array.path, mmap_mode="r")) == rows
    array.close()
    np.testing.assert_array_equal(np.load(array.path)[:, 1, 2], np.arange(1, 121) + 5)
    assert {len(headers.npy_header(10**digits, (2, 3))) for digits in range(18)} == {128}


def test_rows_of_another_shape_are_refused(tmp_path):
    """One row of six numbers would be read as two rows of three."""
    array = logs.AppendedArray(tmp_path / "a.npy", (3,))
    array.start()
    with pytest.raises(ValueError, match=r"rows \(6,\) among rows \(3,\)"):
        array.append_rows(np.zeros((1, 6), np.float32))
    array.close()
    assert array.extent().bytes == 0


def test_rows_are_on_the_disk_before_they_are_promised(tmp_path, monkeypatch):
    """A power cut between the two leaves rows that no header counts, and never the opposite."""
    array, promised = logs.AppendedArray(tmp_path / "a.npy", (2, 3)), []
    array.start()
    array.append(bytes(24))
    monkeypatch.setattr(os, "fsync", lambda _: promised.append(len(np.load(array.path, "r"))))
    array.commit()
    array.close()
    assert promised == [0, 1]


def test_a_reader_of_rows_that_are_written_anew_is_not_killed(tmp_path):
    """It has mapped rows behind those that are continued; as many are appended, then committed."""
    array = logs.AppendedArray(tmp_path / "a.npy", (2048,))
    array.start()
    array.append(bytes(8192))
    kept = array.extent()
    array.append(bytes(8192))
    array.commit()
    array.close()
    mapped = np.load(array.path, mmap_mode="r")
    array = logs.AppendedArray(array.path, (2048,))
    array.resume(kept)
    assert len(np.load(array.path, mmap_mode="r")) == 1
    assert mapped[1].sum() == 0.0  # without its page, the process would end here
    array.append(np.ones(2048, np.float32).tobytes())
    array.commit()
    array.close()
    np.testing.assert_array_equal(np.load(array.path)[:, 0], [0, 1])
    assert array.path.stat().st_size == 128 + 2 * 8192


def test_rows_that_are_not_written_anew_are_cut_off(tmp_path):
    """At the next commit; before it, no header counts them."""
    array = logs.AppendedArray(tmp_path / "a.npy", (2,))
    array.start()
    array.append(bytes(24))
    array.close()
    array.resume(Extent(8, 0))
    assert (len(np.load(array.path)), array.path.stat().st_size) == (1, 128 + 24)
    array.commit()
    array.close()
    assert (len(np.load(array.path)), array.path.stat().st_size) == (1, 128 + 8)


def test_a_write_that_takes_a_part_is_completed(tmp_path, monkeypatch):
    """Nothing of what was appended is missing when the system takes it in pieces."""
    slow(monkeypatch, at_once=3, room=1000)
    file = logs.AppendedFile(tmp_path / "a.csv", b"header\n")
    file.start()
    file.append(b"0123456789" * 9)
    file.commit()
    file.close()
    monkeypatch.undo()
    assert file.path.read_bytes() == b"header\n" + b"0123456789" * 9
    file.check(file.extent())


def test_what_is_committed_is_not_put_on_the_disk_again(tmp_path, monkeypatch):
    """Waiting for the disk is most of what a short run costs."""
    waits = []
    monkeypatch.setattr(os, "fsync", lambda _: waits.append(1))
    log = logs.AppendedArray(tmp_path / "a.npy", (1,))
    log.start()
    log.append_rows(np.zeros((3, 1), np.float32))
    log.commit()
    before = len(waits)
    log.commit()
    assert len(waits) == before
    log.append_rows(np.zeros((1, 1), np.float32))
    log.commit()
    log.close()
    assert len(waits) == before + 2
    assert len(np.load(tmp_path / "a.npy")) == 4


def test_a_full_disk_is_met_by_the_write_and_never_by_close(tmp_path, monkeypatch):
    """What was committed before can be continued from, and `close` has nothing left to say."""
    slow(monkeypatch, at_once=100, room=7 + 4 + 6)
    file = logs.AppendedFile(tmp_path / "a.csv", b"header\n")
    file.start()
    file.append(b"kept")
    file.commit()
    kept = file.extent()
    with pytest.raises(OSError, match="No space left"):
        file.append(b"0123456789" * 2)
    file.close()
    monkeypatch.undo()
    again = logs.AppendedFile(tmp_path / "a.csv", b"header\n")
    again.check(kept)
    again.resume(kept)
    again.append(b"!")
    again.commit()
    again.close()
    assert file.path.read_bytes() == b"header\nkept!"


@pytest.mark.parametrize("content", [b"header\nkep", b"header\nKept", b"Header\nkept", b"", None])
def test_a_log_that_is_not_what_was_written_is_refused(tmp_path, content):
    """Cut short, changed, empty or missing: one line with its name, and what to do."""
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.csv: .*; delete that run's folder and train"):
        logs.read_table(path, ("header",), extent(b"kept"))


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 12345])
def test_every_flipped_bit_of_an_arrays_header_is_found(tmp_path, rows):
    """One bit can change the number format, the shape or the count, and with it every value."""
    path, content = tmp_path / "a.npy", bytes(8 * rows)
    header = headers.npy_header(rows, (2,))
    path.write_bytes(header + content)
    assert logs.read_array(path, (2,), extent(content)).shape == (rows, 2)
    for place in range(8 * len(header)):
        changed = bytearray(header)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed + content)
        with pytest.raises(DamagedError, match="damaged"):
            logs.read_array(path, (2,), extent(content))


def test_a_reader_takes_the_promised_rows_and_no_more(tmp_path):
    """A header may already count rows that the status does not promise yet."""
    array = logs.AppendedArray(tmp_path / "a.npy", (2,))
    array.start()
    array.append_rows(np.ones((3, 2), np.float32))
    promised = array.extent()
    array.append_rows(np.zeros((2, 2), np.float32))
    array.commit()
    array.close()
    np.testing.assert_array_equal(logs.read_array(array.path, (2,), promised), np.ones((3, 2)))
    with pytest.raises(DamagedError, match="no whole number of rows"):
        logs.read_array(array.path, (2,), Extent(promised.bytes - 1, promised.crc32))
    with pytest.raises(DamagedError, match="header is not the one written"):
        logs.read_array(array.path, (3,), promised)


def test_a_table_is_read_back_exactly(tmp_path):
    """Numbers keep every digit, and what is missing is an empty cell."""
    rows = [(0, float("nan"), 0.1), (500, 1 / 3, 1e-300)]
    file = logs.AppendedFile(tmp_path / "m.csv", headers.csv_header(("step", "loss", "x")))
    file.start()
    for row in rows:
        file.append(headers.csv_row(row))
    file.commit()
    file.close()
    assert file.path.read_text() == "step,loss,x\n0,,0.1\n500,0.3333333333333333,1e-300\n"
    found = logs.read_table(file.path, ("step", "loss", "x"), file.extent())
    np.testing.assert_array_equal(found, rows)
    assert logs.read_last_row(file.path, ("step", "loss", "x"), file.extent()) == list(rows[-1])
    assert logs.read_last_row(file.path, ("step", "loss", "x"), extent(b"")) is None


def test_a_fifo_in_a_logs_place_is_refused_and_does_not_hang(tmp_path):
    """So are a link and a folder."""
    for name, make in (
        ("fifo", os.mkfifo),
        ("link", lambda path: path.symlink_to("elsewhere")),
        ("folder", lambda path: path.mkdir()),
    ):
        make(tmp_path / name)
        with pytest.raises(atomic.StorageError, match=name):
            logs.read_table(tmp_path / name, ("a",), extent(b""))
