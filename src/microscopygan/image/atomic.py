"""Outputs that appear complete or not at all; large ones are written by one run at a time."""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRESS = "microscopygan_progress"  # array of a Zarr output's group: 1 for each finished block

_held: set[Path] = set()  # locks of this process
_UNNAMED = 10  # seconds that a lock may be empty, between being made and being written
_STEP = 2**24  # bytes written at once where a file system cannot reserve space


class Cancelled(Exception):  # noqa: N818  (it is no error)
    """The work is not wanted any more: what was written of its output is discarded."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write a file completely or not at all.

    Parameters
    ----------
    path
        The file, whose folder exists; one that is there is replaced.

    Yields
    ------
    Path
        An empty file beside it to write. It takes the name `path` when the block ends, and is
        removed where the block raises.

    Raises
    ------
    OSError
        The folder may not be written to, or the disk is full.

    Examples
    --------
    >>> with whole(Path("run.json")) as part:  # doctest: +SKIP
    ...     part.write_text("{}")
    """
    part = new_part(path.with_name(f".{path.name}.{os.getpid()}.part"))
    try:
        yield part
        flush(part)
        os.replace(part, path)
    finally:
        remove(part)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> Path:
    """Write a text file (UTF-8) completely or not at all.

    Parameters
    ----------
    path
        File to make; its folder is made where missing.
    text
        The whole content.
    overwrite
        Replace a file that is there.

    Returns
    -------
    `path`.

    Raises
    ------
    FileExistsError
        `path` exists and `overwrite` is not set.
    OSError
        The folder cannot be written to.
    """
    if path.is_dir():
        raise FileExistsError(f"expected a file name to write, got the folder {path}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name or allow overwriting")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
    return path


def new_part(part: Path) -> Path:
    """Make an empty file, in place of what an earlier run left there; links are not followed."""
    remove(part)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(part, flags, 0o666))
    return part


class Lock:
    """The right to write an output: a file beside it that names the process.

    Parameters
    ----------
    path
        The output; the lock is ``.NAME.lock`` in its folder.

    Raises
    ------
    FileExistsError
        Another run holds it. The lock of a process that has ended on this machine is taken over.
    OSError
        The folder may not be written to, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.parent.resolve() / f".{path.name}.lock"
        while not self._taken():
            self._clear_stale(path)
        _held.add(self.path)

    def release(self) -> None:
        """Give the right back."""
        if self.path in _held:
            _held.discard(self.path)
            self.path.unlink(missing_ok=True)

    def _taken(self) -> bool:
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, this_process())
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return True

    def _clear_stale(self, output: Path) -> None:
        """Remove the lock of a process that has ended; raise where it may still run."""
        try:
            content = self.path.read_bytes()
            owner = owner_of(content)
            runs = self.path in _held or may_run(owner, self.path.stat().st_mtime, content)
        except FileNotFoundError:  # given back meanwhile
            return
        if runs:
            raise another_run(output, owner, self.path)
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if aside.read_bytes() != content:  # another run has taken it over meanwhile
            os.rename(aside, self.path)
        else:
            aside.unlink()


@contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Make an output's folder and take its lock; give it back where creating the output fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


@contextmanager
def begun(path: Path) -> Iterator[tuple[Path, Lock]]:
    """Begin an output that is one file: an empty part beside it, and its lock.

    Both are gone where creating the output fails; else a `Target` takes them over.
    """
    with locked(path) as lock:
        part = new_part(path.with_name(f".{path.name}.part"))
        try:
            yield part, lock
        except BaseException:
            remove(part)
            raise


def discard_interrupted(path: Path) -> None:
    """Remove what a run that was killed left of an output that it was writing.

    Raises
    ------
    FileExistsError
        A run writes it now.
    OSError
        The folder may not be written to.
    """
    if not path.parent.is_dir():
        return
    lock = Lock(path)
    for part in (f".{path.name}.part", f"{path.name}.part", f".{path.name}.old"):
        remove(path.with_name(part))
    lock.release()


class Target:
    """An output being written; a context manager that finishes it, or discards it on an error.

    Parameters
    ----------
    path
        The output's final name.
    partial
        Where it is written until then: a file ``.NAME.part`` or a folder ``NAME.part``. Of a
        subclass, which overrides `publish` and `clear`, both may lie elsewhere than on a disk.
    lock
        Held until the end.
    array
        See below.
    complete
        Writes what is still missing, called by `finish`.
    blocks, group
        See below.

    Attributes
    ----------
    array
        The pixels, with the axes of the header; regions may be written and read in any order.
        It can be sent to other processes.
    blocks
        Shape of the smallest region that different processes may write independently (a shard or
        chunk of a Zarr); None: one writer only.
    group
        The Zarr group where a job may mark finished blocks in an array named `PROGRESS`, which
        `finish` deletes; None for other formats.

    Notes
    -----
    A Zarr target that is interrupted (Ctrl-C, a kill) keeps what is written, so that
    ``create(..., resume=True)`` goes on with it. One with finished blocks keeps them on errors,
    too, that may be gone then: a full disk, lost workers, too little memory; but not on a
    `ValueError`, such as damaged pixels, and not where the work is `Cancelled`.
    """

    def __init__(
        self,
        path: Any,
        partial: Any,
        lock: Lock,
        array: Any,
        complete: Callable[[], None],
        blocks: tuple[int, ...] | None = None,
        group: Any = None,
    ) -> None:
        self.path, self.partial, self.array = path, partial, array
        self.blocks, self.group = blocks, group
        self._lock, self._complete = lock, complete

    def finish(self) -> None:
        """Complete the output (metadata, pyramid), put it in its place and give the lock back.

        Raises
        ------
        OSError
            The disk is full; the output is discarded, or kept as the notes say.
        """
        begun = self._begun()
        try:
            self._complete()
            self.publish()
        except BaseException as error:
            self._end(error, begun)
            raise
        self._lock.release()

    def discard(self) -> None:
        """Remove what was written and give the lock back; an output of that name stays."""
        self.clear()
        self._lock.release()

    def publish(self) -> None:
        """Give what is complete its final name, in place of what has it."""
        flush(self.partial)
        replace(self.partial, self.path)

    def clear(self) -> None:
        """Remove what was written."""
        remove(self.partial)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish()
        else:
            self._end(error, self._begun())

    def _end(self, error: BaseException, begun: bool) -> None:
        interrupted = self.group is not None and not isinstance(error, Exception)
        if interrupted or (begun and not isinstance(error, ValueError | Cancelled)):
            self._lock.release()
        else:
            self.discard()

    def _begun(self) -> bool:
        """Whether a block is marked as finished."""
        marks = self.group.get(PROGRESS) if self.group is not None else None
        return getattr(marks, "nchunks_initialized", 0) > 0


def reserve(path: Path) -> None:
    """Take the space of a sparse file on the disk, since a mapped file cannot report a full one.

    Raises
    ------
    OSError
        The disk is full.
    """
    size = path.stat().st_size
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        for start in range(0, size, _STEP):  # what is there is read and written back
            file.seek(start)
            block = file.read(_STEP)
            file.seek(start)
            file.write(block)


def flush(path: Path) -> None:
    """Bring a file, or all that was written lately for a folder, to the disk."""
    if path.is_dir():
        if hasattr(os, "sync"):
            os.sync()
        return
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def replace(partial: Path, path: Path) -> None:
    """Give a finished file or folder its final name, in place of what has it."""
    old = path.with_name(f".{path.name}.old")
    if path.is_dir():
        remove(old)
        os.rename(path, old)
    try:
        os.replace(partial, path)
    except OSError:
        if old.is_dir():
            os.rename(old, path)
        raise
    remove(old)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, whether it is there or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def another_run(output: Path | str, owner: dict[str, Any], lock: Path | str) -> FileExistsError:
    """Say that the owner of a lock writes an output."""
    who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
    return FileExistsError(
        f"{output}: expected to be the only run that writes it, got another one ({who}); wait for "
        f"it, or remove {lock} if it has ended"
    )


def this_process() -> bytes:
    """Return what a lock of this process says."""
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()


def owner_of(content: bytes) -> dict[str, Any]:
    """Return process and host that a lock names; empty where they cannot be read."""
    try:
        owner = json.loads(content)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def may_run(owner: dict[str, Any], locked: float, content: bytes) -> bool:
    """Tell whether the process that a lock names may still run: it does, or nobody can know."""
    if not content.strip(b"\0"):  # its process, or the machine, ended before it was written
        return time.time() - locked < _UNNAMED
    number = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(number, int) or number < 1:
        return True
    if number == os.getpid():
        return False  # an earlier process of the same number, since this one does not hold it
    import psutil

    try:
        started: float = psutil.Process(number).create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
    return started <= locked + 2  # seconds; one that was started later has taken over the number
