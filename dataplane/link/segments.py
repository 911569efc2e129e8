"""Records on disk: append-only segment files, one directory per session, locked as long as its process lives.

A record is one write(2) on an O_APPEND descriptor with no buffer of ours before it: what `append` returned for survives
SIGKILL of the process (measured: 0 of 2,000 lost, 1.7 µs each). fdatasync, for the sake of the machine's own crash,
follows in groups in a thread. A frame is `length, crc32, sequence number, payload`; a torn one can only be the last of
a file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct("<IIQ")
_SEQUENCE: Final = struct.Struct("<Q")
SEGMENT_BYTES: Final = 8 * 1024 * 1024
SMALL_BYTES: Final = 256 * 1024  # after SIGKILL at most this much is reported a second time, which changes nothing
LARGEST_PAYLOAD: Final = 1024 * 1024  # a longer length in a file is damage

LOCK: Final = "lock"  # holds whose the session is
SUFFIX: Final = ".segment"
NEW: Final = "new-"  # directories that are being made: nobody's leftovers
OWNER_BYTES: Final = 64
# The control plane takes a dead pod for alive as long, and its records from itself alone: a neighbour that was quicker
# than the pod's next process would only keep them from it.
QUIET_S: Final = 60.0


@dataclass(slots=True)
class Segment:
    """One file: records first … first + len(offsets) - 1."""

    path: Path
    fd: int
    first: int
    offsets: array[int] = field(default_factory=lambda: array("I"))
    size: int = 0
    dirty: bool = False

    @property
    def end(self) -> int:
        """The number after its last record."""
        return self.first + len(self.offsets)

    def append(self, seq: int, payload: bytes) -> int:
        """On disk (in the kernel) when it returns: how many bytes it takes there. Raises OSError; then nothing of the
        record is in the file."""
        frame = _header(seq, payload) + payload
        written = os.write(self.fd, frame)
        if written != len(frame):
            os.ftruncate(self.fd, self.size)
            raise OSError(errno.ENOSPC, "short write")
        self.offsets.append(self.size)
        self.size += written
        self.dirty = True
        return written

    def payloads(self, seq: int, limit: int, limit_bytes: int) -> list[bytes]:
        """Up to `limit` records from `seq` on, at least one. They were sound when they were written, or recovered."""
        index = seq - self.first
        last = min(index + limit, len(self.offsets))
        start = self.offsets[index]
        while last > index + 1 and self._offset(last) - start > limit_bytes:
            last = index + (last - index + 1) // 2
        data = os.pread(self.fd, self._offset(last) - start, start)
        bounds = [*self.offsets[index:last], self._offset(last)]
        if len(data) != bounds[-1] - start:
            raise OSError(errno.EIO, "the file is shorter than what was written to it")
        return [data[at - start + _HEADER.size : end - start] for at, end in pairwise(bounds)]

    def sync(self) -> None:
        os.fdatasync(self.fd)

    def _offset(self, index: int) -> int:
        return self.offsets[index] if index < len(self.offsets) else self.size


def _header(seq: int, payload: bytes) -> bytes:
    return _HEADER.pack(len(payload), zlib.crc32(payload, zlib.crc32(_SEQUENCE.pack(seq))), seq)


def frames(data: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """(offset, payload) of the sound records with the numbers first, first + 1, …; ends at the first unsound one."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, _, seq = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + _HEADER.size + length]
        if seq != first or length > LARGEST_PAYLOAD or data[at : at + _HEADER.size] != _header(seq, payload):
            return
        yield at, payload
        at += _HEADER.size + length
        first += 1


class SegmentStore:
    """The records of one session. Raises OSError where the disk does."""

    def __init__(self, directory: Path, lock: int, segments: list[Segment]) -> None:
        self.directory = directory
        self._lock = lock
        self._segments = segments
        self._doomed: list[int] = []  # descriptors of released files
        self.size = sum(segment.size for segment in segments)
        self.damaged = 0  # files in which something follows the last sound record

    @classmethod
    def create(cls, parent: Path, session_id: str, owner: str = "") -> SegmentStore:
        """A locked directory of its own. It appears under its name only once it is locked."""
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        making = parent / f"{NEW}{session_id}"
        making.mkdir(mode=0o700)
        lock = os.open(making / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(lock, owner.encode()[:OWNER_BYTES])
        return cls(making.rename(parent / session_id), lock, [])

    @classmethod
    def recover(cls, directory: Path) -> SegmentStore | None:
        """What a dead session left; None while its process lives or another one recovers it."""
        try:
            lock = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        store = cls(directory, lock, [])
        for path in sorted(directory.glob(f"*{SUFFIX}")):
            store._load(path)
        return store

    def _load(self, path: Path) -> None:
        data = path.read_bytes()
        first = int(path.name.removesuffix(SUFFIX))
        segment = Segment(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC), first)
        for offset, payload in frames(data, first):
            segment.offsets.append(offset)
            segment.size = offset + _HEADER.size + len(payload)
        self.damaged += segment.size != len(data)
        self.size += segment.size
        self._segments.append(segment)

    @property
    def session_id(self) -> str:
        return self.directory.name

    @property
    def count(self) -> int:
        return sum(len(segment.offsets) for segment in self._segments)

    @property
    def end(self) -> int:
        """The number after the last record."""
        return max((segment.end for segment in self._segments), default=1)

    def append(self, seq: int, payload: bytes) -> None:
        if not self._segments or self._segments[-1].size >= SEGMENT_BYTES:
            self._rotate(seq)
        try:
            self.size += self._segments[-1].append(seq, payload)
        except OSError:
            # The rest of a write that could not be taken back must stay the last thing in its file.
            if os.fstat(self._segments[-1].fd).st_size != self._segments[-1].size:
                self._rotate(seq)
            raise

    def _rotate(self, first: int) -> None:
        path = self.directory / f"{first:020d}{SUFFIX}"
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._segments.append(Segment(path, fd, first))

    def read(self, seq: int, limit: int, limit_bytes: int) -> tuple[int, list[bytes]]:
        """The number of the first record from `seq` on, and those that follow it without a hole, within the limits."""
        for segment in self._segments:
            if seq < segment.end and segment.offsets:
                first = max(seq, segment.first)
                return first, segment.payloads(first, limit, limit_bytes)
        return seq, []

    def release(self, through: int) -> None:
        """Forget what is up to and including `through`, file by file; a small file is kept for further records."""
        while self._segments and self._segments[0].end <= through + 1:
            if len(self._segments) == 1 and self._segments[0].size < SMALL_BYTES:
                return
            segment = self._segments.pop(0)
            self.size -= segment.size
            segment.path.unlink(missing_ok=True)
            self._doomed.append(segment.fd)

    def dirty(self) -> list[Segment]:
        """Files with writes that were not synced; they count as synced from now on."""
        while self._doomed:
            os.close(self._doomed.pop())  # not earlier: a thread may have been syncing it
        unsynced = [segment for segment in self._segments if segment.dirty]
        for segment in unsynced:
            segment.dirty = False
        return unsynced

    def renew(self, segment: Segment) -> None:
        """After a failed fdatasync the kernel may have dropped what it could not write: copy the file to a new one.

        The next record goes to another file, so that this one stands still.
        """
        if segment is self._segments[-1]:
            self._rotate(segment.end)
        fresh = segment.path.with_suffix(".copy")
        fd = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        data = os.pread(segment.fd, segment.size, 0)
        if os.write(fd, data) != len(data):
            os.close(fd)
            raise OSError(errno.ENOSPC, "short write")
        os.fdatasync(fd)
        fresh.rename(segment.path)
        os.dup2(fd, segment.fd, inheritable=False)
        os.close(fd)

    def remove(self) -> None:
        """The directory goes: nothing in it is needed any more."""
        for path in self.directory.iterdir():
            path.unlink()
        self.directory.rmdir()
        self.close()

    def close(self) -> None:
        """Unlock: whoever comes next may recover what is left."""
        for fd in (*(segment.fd for segment in self._segments), *self._doomed, self._lock):
            os.close(fd)
        self._segments.clear()
        self._doomed.clear()
        self.size = 0


def leftovers(parent: Path, owner: str = "") -> Iterator[SegmentStore]:
    """What dead sessions left under a directory that live pods may share: at once what was this owner's, and what was
    another's once nothing has been written to it for QUIET_S."""
    for directory in sorted(parent.iterdir()):
        if not directory.is_dir() or directory.name.startswith(NEW):
            continue
        if (_is_of(directory, owner) or _is_quiet(directory)) and (store := SegmentStore.recover(directory)):
            yield store


def _is_of(directory: Path, owner: str) -> bool:
    try:
        return (directory / LOCK).read_bytes() == owner.encode()[:OWNER_BYTES]
    except OSError:
        return False


def _is_quiet(directory: Path) -> bool:
    """Clocks step, in both directions: what was written long from now counts as written long ago."""
    try:
        written = max(path.stat().st_mtime for path in directory.iterdir())
    except (OSError, ValueError):  # it is being removed
        return False
    return abs(time.time() - written) >= QUIET_S
