"""Disks that fail: full, cut off from power, or slow to take what is written."""

import errno
import os
from pathlib import Path

from bnexp.files import atomic


class Killed:
    """Stands for the end of the process."""


class PowerCut:
    """Stands for the end of the process, and of all that the system had not put on the disk yet."""


def no_room():
    """What the system says of a full disk."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class SlowFile:
    """A file that takes at most so many bytes in one write, and so many in all."""

    def __init__(self, file, at_once, room):
        self.file, self.at_once, self.room = file, at_once, room

    def write(self, data):
        """Write a part, as an unbuffered file may."""
        if not self.room:
            raise no_room()
        taken = self.file.write(data[: min(self.at_once, self.room)])
        self.room -= taken
        return taken

    def close(self):
        """Fail, as a network's file system may."""
        self.file.close()
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def __getattr__(self, name):
        return getattr(self.file, name)


class Disk:
    """The disk, on which a call fails, counted from 0; `calls` is how many there were.

    `changes` says of each call whether it changes what is found after the fault: only then does a
    fault at the next call leave another disk than a fault at this one. A process that is killed
    leaves all that it wrote, whether or not it was put on the disk. After a power cut there is only
    what was put on the disk, under the names that the files had.

    Args:
        patch: a monkeypatch.
        fatal: the call that fails; None: none does.
        error: the fault. `no_room` makes what is raised: every later write fails as well, and one
            that fails may have written a part. `Killed` and `PowerCut` are not raised, but say what
            there is `left`.
        look: is called with this disk before each call.
    """

    def __init__(self, patch, fatal, error, look=lambda _: None):
        self.calls, self.fatal, self.error, self.look = 0, fatal, error, look
        self.changes = []
        self.synced = {}  # content by inode
        opened = os.open

        def open_(path, flags, *args, **kwargs):
            if not flags & (os.O_WRONLY | os.O_RDWR) or ".lock" in str(path):
                return opened(path, flags, *args, **kwargs)
            self.called(takes_room=True, changes=flags & (os.O_CREAT | os.O_TRUNC) != 0)
            return opened(path, flags, *args, **kwargs)

        def fsync(descriptor):
            path = Path(f"/proc/self/fd/{descriptor}")
            kept = error is PowerCut and path.is_file()
            self.called(takes_room=True, changes=kept)
            if kept:
                self.synced[path.stat().st_ino] = path.read_bytes()

        fdopen = os.fdopen

        def fdopen_(descriptor, mode="r", *args, **kwargs):
            file = fdopen(descriptor, mode, *args, **kwargs)
            return File(file, self) if "+" in mode or "w" in mode else file

        patch.setattr(atomic.os, "open", open_)
        patch.setattr(atomic.os, "fdopen", fdopen_)
        patch.setattr(os, "fsync", fsync)
        for name in ("replace", "unlink", "mkdir"):
            patch.setattr(Path, name, self.counted(getattr(Path, name), takes_room=name == "mkdir"))

    def counted(self, original, *, takes_room=False, changes=True):
        """The function, which may fail."""

        def call(*args, **kwargs):
            self.called(takes_room=takes_room, changes=changes)
            return original(*args, **kwargs)

        return call

    def called(self, *, takes_room, changes):
        """Fail if this is the call, or comes after it."""
        self.look(self)
        number, self.calls = self.calls, self.calls + 1
        self.changes.append(changes)
        later = self.fatal is not None and number > self.fatal
        if number == self.fatal or (later and takes_room):
            raise self.error()

    def left(self, folder):
        """What a fault at the next call leaves: the content of each file by its name.

        Of a folder that is not there, None.
        """
        if not folder.exists():
            return None
        return {path.name: self._left(path) for path in folder.glob("*")}

    def _left(self, path):
        """The content of a file; after a power cut, what was put on the disk."""
        if self.error is PowerCut and not path.name.endswith(".lock"):
            return self.synced.get(path.stat().st_ino, b"")
        return path.read_bytes()


class File:
    """A file on such a disk."""

    def __init__(self, file, disk):
        self.file, self.disk = file, disk
        self.changes = disk.error is not PowerCut  # what is written is not on the disk yet
        self.truncate = disk.counted(file.truncate, changes=self.changes)

    def write(self, content):
        """Write all, or a part before failing.

        Bytes that replace others in place take no room, so a full disk does not refuse them.
        """
        in_place = self.file.tell() + len(content) <= os.fstat(self.file.fileno()).st_size
        if in_place and self.disk.error is no_room:
            return self.file.write(content)
        try:
            self.disk.called(takes_room=True, changes=self.changes)
        except OSError:
            self.file.write(content[: len(content) // 2])
            raise
        return self.file.write(content)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)
