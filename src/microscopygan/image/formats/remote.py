"""Zarr at URLs: requests are repeated and limited in time, and their faults are no damage."""

import asyncio
import itertools
import json
import math
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from zarr.storage import WrapperStore

from ..atomic import Target, another_run, may_run, owner_of, this_process
from ..lazy import one_line
from . import ZARR_METADATA, without_secrets
from .bounded import Limit, check_size

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_PACKAGES = {
    **{"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"},
    **{"az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"},
}
_PAUSE = 0.5  # seconds before a request is repeated; each further time twice as long
_TRIES = 2  # within the time limit, where nothing comes: a connection may have been lost
_LONGEST = 10  # time limits that one answer may take where data keep coming
_AT_ONCE = 16  # requests that only ask whether something is there
_PASSING = (408, 425, 429)  # states of HTTP below 500 that may pass
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_LASTING_TOO = (NotImplementedError, ValueError, TypeError)
_NO_SERVER = ("ClientConnectorError", "ClientConnectorDNSError", "EndpointConnectionError")

_held: set[str] = set()  # locks of this process
_closing: weakref.WeakSet[Any] = weakref.WeakSet()  # file systems whose connections are closed


class PatientStore(WrapperStore[Any]):
    """A store at a URL, which takes its time and tells what it lacks.

    A request that fails in a way that may pass (no answer, a broken connection, a busy server) is
    repeated, after pauses that double, until `timeout` seconds have passed.

    Parameters
    ----------
    url
        Of the group or array.
    timeout
        Seconds without any data after which a request has failed.
    read_only
        Whether nothing is written.

    Attributes
    ----------
    asked, missing
        The keys that were read, and those of them that are not there.
    limit
        As of `BoundedStore`.

    Raises
    ------
    ValueError
        Another kind of URL, or a package for it is not installed.
    ConnectionError
        Of each method: the server does not answer, or refuses.
    """

    def __init__(self, url: str, timeout: float, read_only: bool = True) -> None:
        super().__init__(_opened(url, timeout, read_only))
        self.url, self.timeout = url, timeout
        self.limit: Limit | None = None
        self.asked: set[str] = set()
        self.missing: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return PatientStore, (self.url, self.timeout, self.read_only)

    def _with_store(self, store: Any) -> "PatientStore":
        return PatientStore(self.url, self.timeout, store.read_only)

    async def get(
        self, key: str, prototype: "BufferPrototype", byte_range: "ByteRequest | None" = None
    ) -> "Buffer | None":
        """Return what is stored under a key, None where nothing is."""
        found: Buffer | None = await self._repeated(
            partial(self._store.get, key, prototype, byte_range)
        )
        self.asked.add(key)
        check_size(key, found, self.limit, whole=byte_range is None)
        if found is None:
            self.missing.add(key)
        return found

    async def get_partial_values(
        self,
        prototype: "BufferPrototype",
        key_ranges: "Iterable[tuple[str, ByteRequest | None]]",
    ) -> "list[Buffer | None]":
        """Return parts of what is stored under keys."""
        wanted = list(key_ranges)
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in wanted)))

    async def exists(self, key: str) -> bool:
        """Tell whether something is stored under a key."""
        from zarr.abc.store import RangeByteRequest
        from zarr.core.buffer import default_buffer_prototype

        one = RangeByteRequest(0, 1)
        return await self.get(key, default_buffer_prototype(), one) is not None

    async def set(self, key: str, value: "Buffer") -> None:
        """Store something under a key."""
        await self._repeated(partial(self._store.set, key, value))

    async def delete(self, key: str) -> None:
        """Remove a key."""
        await self._repeated(partial(self._store.delete, key))

    async def delete_dir(self, prefix: str) -> None:
        """Remove all keys that begin so."""
        await self._repeated(partial(self._store.delete_dir, prefix))

    async def _repeated(self, request: Callable[[], Awaitable[Any]]) -> Any:
        end = time.monotonic() + self.timeout
        for number in itertools.count():
            pause = _PAUSE * 2**number
            try:
                answer = await asyncio.wait_for(request(), _LONGEST * self.timeout)
                _close_at_end(self._store.fs)
                return answer
            except Exception as error:
                pause = 0.0 if isinstance(error, TimeoutError) else pause
                if not self._may_pass(error) or time.monotonic() + pause > end:
                    raise self._explained(error) from None
            await asyncio.sleep(pause)

    def _may_pass(self, error: Exception) -> bool:
        if type(error).__name__ in _NO_SERVER:  # a name that is wrong, unless it was right before
            return bool(self.asked)
        status = getattr(error, "status", None)
        if isinstance(status, int) and 400 <= status < 500:
            return status in _PASSING
        lasting = isinstance(error, _LASTING + _LASTING_TOO)
        return not (lasting or "Credentials" in type(error).__name__)

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, (*_LASTING, NotImplementedError)):
            return error
        if isinstance(error, TimeoutError):
            return TimeoutError(f"no answer within {self.timeout:g} s")
        status = getattr(error, "status", None)
        if status in (401, 403):
            return PermissionError(f"{status} {getattr(error, 'message', '')}")
        said = f"{status} {getattr(error, 'message', '')}" if status else one_line(error)
        return ConnectionError(without_secrets(said.strip()))


def _close_at_end(files: Any) -> None:
    """Close the connections of a file system with it, or at the program's end."""
    opened = getattr(files, "_session", None) or getattr(files, "_s3creator", None)
    if opened is not None and files not in _closing:
        _closing.add(files)
        weakref.finalize(files, type(files).close_session, asyncio.get_running_loop(), opened)


def missing_keys(array: Any) -> int:
    """Count the chunks (or shards) of an array in a `PatientStore` that are not there.

    Those that were not read yet are asked for.
    """
    from zarr.core.sync import sync

    store, inner = array.store, array.path
    blocks = array.shards or array.chunks
    counts = [range(-(-n // b)) for n, b in zip(array.shape, blocks, strict=True)]
    encode = array.metadata.encode_chunk_key
    keys = (f"{inner}/{encode(place)}".lstrip("/") for place in itertools.product(*counts))

    async def lacking() -> int:
        number = 0
        for some in iter(lambda: list(itertools.islice(keys, 1024)), []):
            unknown = [key for key in some if key not in store.asked]
            for first in range(0, len(unknown), _AT_ONCE):
                await asyncio.gather(*map(store.exists, unknown[first : first + _AT_ONCE]))
            number += sum(key in store.missing for key in some)
        return number

    return int(sync(lacking()))


class RemoteFolder:
    """A Zarr output at a URL: it is written beside its name, and copied there when it is whole.

    Parameters
    ----------
    url
        The output.
    timeout
        As for `PatientStore`.

    Raises
    ------
    ValueError
        As for `PatientStore`; or nothing can be written there.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.path, self.part = url.rstrip("/"), f"{url.rstrip('/')}.part"
        self._timeout = timeout
        if urlsplit(url).scheme in ("http", "https"):
            raise ValueError(
                f"{without_secrets(url)}: expected an output of s3:// and the like, got a URL that "
                "is only read; write it to this machine"
            )

    def store(self, inner: str = "", *, read_only: bool = False) -> PatientStore:
        """Return the store of the unfinished output, or of a folder in it."""
        return PatientStore(f"{self.part}/{inner}".rstrip("/"), self._timeout, read_only)

    def beside(self, url: str) -> PatientStore:
        """Return the store of a group above the output."""
        return PatientStore(url, self._timeout, read_only=False)

    def exists(self, url: str | None = None) -> bool:
        """Tell whether the output, or something else, is there."""
        with self._answers() as files:
            return bool(files.exists(url or self.path))

    def begun(self) -> bool:
        """Tell whether there is an unfinished output."""
        return self.exists(self.part)

    def resumes(self) -> bool:
        """Tell whether an unfinished output can be gone on with."""
        return any(self.exists(f"{self.part}/0/{name}") for name in ZARR_METADATA)

    def clear(self, url: str | None = None) -> None:
        """Remove what is unfinished, or something else."""
        with self._answers() as files:
            if files.exists(url or self.part):
                files.rm(url or self.part, recursive=True)

    def tidy(self) -> None:
        """Do nothing: writers that were killed leave nothing at a URL."""

    def publish(self) -> None:
        """Give the finished output its name; what makes it an image is copied last."""
        self.clear(self.path)
        with self._answers() as files:
            part = files._strip_protocol(self.part)
            inner = [name.removeprefix(part) for name in files.find(part)]
            last = [name for name in inner if name.strip("/") in ZARR_METADATA]
            for some in (sorted({*inner} - {*last}), last):
                begun = [f"{self.part}{name}" for name in some]
                files.copy(begun, [f"{self.path}{name}" for name in some])
        self.clear()

    @contextmanager
    def locked(self) -> Iterator["_RemoteLock"]:
        """Take the output's lock; give it back where creating the output fails."""
        lock = _RemoteLock(self)
        try:
            yield lock
        except BaseException:
            lock.release()
            raise

    def target(self, lock: "_RemoteLock", *rest: Any) -> Target:
        """Return the output being written."""
        return _RemoteTarget(self, lock, *rest)

    @contextmanager
    def _answers(self) -> Iterator[Any]:
        """Give the files there; what goes wrong with them gets one line."""
        files = _file_system(self.path, self._timeout)
        try:
            yield files
        except Exception as error:  # each package has exceptions of its own
            if isinstance(error, FileExistsError | FileNotFoundError):
                raise
            raise ConnectionError(
                f"{without_secrets(self.path)}: expected to write there, got no permission or no "
                f"answer ({without_secrets(one_line(error))}); check the name, or try again"
            ) from None


class _RemoteTarget(Target):
    """An output at a URL being written."""

    def __init__(self, folder: RemoteFolder, lock: Any, *rest: Any) -> None:
        super().__init__(folder.path, folder.part, lock, *rest)
        self._folder = folder

    def publish(self) -> None:
        """Copy the finished output to its name."""
        self._folder.publish()

    def clear(self) -> None:
        """Remove what was written."""
        self._folder.clear()


class _RemoteLock:
    """The right to write an output at a URL, as far as stores without exclusive files allow."""

    def __init__(self, folder: RemoteFolder) -> None:
        above, name = folder.path.rsplit("/", 1)
        self._url, self._folder = f"{above}/.{name}.lock", folder
        with folder._answers() as files:
            if files.exists(self._url):
                content = bytes(files.cat_file(self._url))
                owner = owner_of(content)
                if self._url in _held or may_run(owner, owner.get("since", 0.0), content):
                    raise another_run(folder.path, owner, self._url)
            about = owner_of(this_process()) | {"since": time.time()}
            files.pipe_file(self._url, json.dumps(about).encode())
        _held.add(self._url)

    def release(self) -> None:
        """Give the right back."""
        if self._url in _held:
            _held.discard(self._url)
            self._folder.clear(self._url)


def _file_system(url: str, timeout: float) -> Any:
    """Return the files at a URL."""
    _opened(url, timeout, True)  # raises one line where the URL is of another kind
    from fsspec.core import url_to_fs

    settings = _settings(urlsplit(url).scheme, timeout)
    return url_to_fs(url, use_listings_cache=False, **settings)[0]


def _opened(url: str, timeout: float, read_only: bool) -> Any:
    """Open the store that knows this kind of URL."""
    from zarr.storage import FsspecStore

    scheme = urlsplit(url).scheme
    try:
        store = FsspecStore.from_url(url, _settings(scheme, timeout), read_only)
    except ValueError as error:
        raise ValueError(
            f"{without_secrets(url)}: expected a URL such as https://… or s3://…, got another kind "
            f"({one_line(error, 80)}); copy it to this machine"
        ) from None
    except ImportError:
        package = _PACKAGES.get(scheme, "fsspec")
        raise ValueError(
            f"{without_secrets(url)}: expected the package {package} for {scheme} URLs, which is "
            f"not installed; try: pip install 'microscopygan[remote]' {package}"
        ) from None
    if scheme == "s3":
        store.fs.retries = 1
    return store


def _settings(scheme: str, timeout: float) -> dict[str, Any]:
    """Return how the package for a kind of URL is told how long one try may take."""
    seconds = timeout / _TRIES
    if scheme in ("http", "https"):
        import aiohttp

        limit = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        return {"client_kwargs": {"timeout": limit}}
    if scheme == "s3":
        whole, once = math.ceil(seconds), {"max_attempts": 0}
        limits = {"connect_timeout": whole, "read_timeout": whole, "retries": once}
        return {"config_kwargs": limits}
    return {}
