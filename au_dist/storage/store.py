"""One door to object storage: ``s3://bucket/prefix`` or a folder, the same few verbs for both.

Bulk bytes travel through pyarrow (whose retries outlast the restart of a store); objects that may be written once
only go through s3fs, which can send ``If-None-Match: *``. Both get server, keys, region and proxy from
`au_dist.storage.access`. Errors of either client leave this module as `StorageError`.
"""

import contextlib
import functools
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from au_dist.core.errors import AbsentError, AuDistError, RefusedError, StorageError
from au_dist.storage.access import Access, access
from au_dist.storage.retries import PATIENCE_S, known_failure, with_retry, words_of

Made = TypeVar("Made")


def _verb(name: str, patience_s: float = PATIENCE_S) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """Return what makes a method of `Store` patient, and its errors ours."""

    def wrap(method: Callable[..., Made]) -> Callable[..., Made]:
        @functools.wraps(method)
        def call(self: "Store", *args: Any, **options: Any) -> Made:
            path = next((argument for argument in args if isinstance(argument, str)), "")
            uri = f"{self.uri}/{path}".rstrip("/")
            try:
                return with_retry(lambda: method(self, *args, **options), name, uri, patience_s)
            except RefusedError as error:
                # Without the right to list the bucket, a store does not say that something is missing.
                if name in ("read", "open") and self._lacks(path):
                    raise AbsentError(f"Cannot {name}: it is not there", where=uri) from error
                raise self._refused(error) from error
            except AuDistError:
                raise
            except Exception as error:
                words = " ".join(words_of(error).split())[:300]
                raise StorageError(f"Cannot {name}", where=uri, found=words) from error

        return call

    return wrap


@dataclass(frozen=True)
class Store:
    """A place in storage: a folder or a prefix of a bucket. Paths below it are relative, with ``/``.

    Attributes:
        uri: ``s3://bucket/prefix`` or an absolute path.
    """

    uri: str

    @property
    def is_s3(self) -> bool:
        """Whether this is an S3 store, not a folder."""
        return self.uri.startswith("s3://")

    def at(self, *parts: str) -> "Store":
        """Return the place below this one."""
        return Store("/".join([self.uri.rstrip("/"), *(part.strip("/") for part in parts if part)]))

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.uri.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> "Store":
        """The place above this one."""
        return Store(self.uri.rstrip("/").rpartition("/")[0] or "/")

    def filesystem(self) -> tuple[Any, str]:
        """Return a pyarrow filesystem and the path of this place in it."""
        from pyarrow import fs

        if self.is_s3:
            from au_dist.storage import clients

            return clients.arrow(access()), self.uri[5:]
        return fs.LocalFileSystem(), self.uri

    def filesystem_anywhere(self) -> tuple[Any, str]:
        """Return the same for libraries that send it to other processes: without keys, each finds its own."""
        if self.is_s3:
            from pyarrow import fs

            from au_dist.storage.clients import Here

            return fs.PyFileSystem(Here()), self.uri[5:]
        return self.filesystem()

    def access(self) -> Access | None:
        """Return how this store is asked now; what was opened with another answer is to be opened again."""
        return access() if self.is_s3 else None

    @_verb("use the store", patience_s=0)
    def check(self) -> "Store":
        """Return this store if it answers, quickly; what is below may be empty.

        Only what is below is asked for: the bucket itself may be forbidden.

        Raises:
            StorageError: It cannot be reached, refuses the credentials, or the bucket does not exist.
        """
        if self.is_s3:
            from pyarrow import fs

            from au_dist.storage import clients

            selector = fs.FileSelector(self.uri[5:], allow_not_found=False)
            with contextlib.suppress(FileNotFoundError):
                clients.arrow(access(), 2).get_file_info(selector)
        return self

    @_verb("read")
    def read(self, path: str) -> bytes:
        """Return the bytes of an object.

        Raises:
            StorageError: It is not there, or the store fails.
        """
        filesystem, root = self.filesystem()
        with filesystem.open_input_stream(f"{root}/{path}") as stream:
            return bytes(stream.read())

    @_verb("open")
    def open(self, path: str) -> Any:
        """Return a random-access pyarrow file of an object (ranged reads)."""
        filesystem, root = self.filesystem()
        return filesystem.open_input_file(f"{root}/{path}")

    @_verb("write")
    def write(self, path: str, data: bytes) -> None:
        """Write an object whole: a reader sees the old bytes or the new ones, never a part."""
        filesystem, root = self.filesystem()
        if self.is_s3:
            with filesystem.open_output_stream(f"{root}/{path}") as stream:
                stream.write(data)
        else:
            with atomic_file(Path(root) / path) as file:
                file.write(data)

    @_verb("write")
    def create(self, path: str, data: bytes) -> bool:
        """Write an object only if it is not there yet; of several racing writers one wins.

        Returns:
            Whether this call wrote it.
        """
        if self.is_s3:
            return self._create_object(path, data)
        target = Path(self.uri) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        name = _beside(target)
        try:
            with _new(name) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(name, target)
        except FileExistsError:
            return False
        finally:
            name.unlink(missing_ok=True)
        return True

    def _create_object(self, path: str, data: bytes) -> bool:
        from au_dist.storage import clients

        try:
            client, limit = clients.s3fs(access()), clients.CREATE_S
            client.pipe_file(f"{self.uri[5:]}/{path}", data, mode="create", timeout=limit)
        except OSError as error:
            answer = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
            if answer != "PreconditionFailed":
                raise
            # A retry after a lost reply meets its own object: that still is this writer's success.
            return self.read(path) == data
        return True

    @_verb("upload")
    def upload(self, local: Path, path: str) -> None:
        """Copy a local file into storage."""
        filesystem, root = self.filesystem()
        with local.open("rb") as source:
            if self.is_s3:
                with filesystem.open_output_stream(f"{root}/{path}") as stream:
                    shutil.copyfileobj(source, stream, 1 << 23)
            else:
                with atomic_file(Path(root) / path) as file:
                    shutil.copyfileobj(source, file, 1 << 23)

    @_verb("read")
    def download(self, path: str, local: Path) -> str:
        """Copy an object to a local file and return the sha256 of its bytes."""
        digest = hashlib.sha256()
        with self.open(path) as source, atomic_file(local) as target:
            while chunk := source.read(1 << 23):
                digest.update(chunk)
                target.write(chunk)
        return digest.hexdigest()

    @_verb("read")
    def sha256(self, path: str) -> str:
        """Return the sha256 of an object's bytes, in hexadecimal digits."""
        digest = hashlib.sha256()
        with self.open(path) as source:
            while chunk := source.read(1 << 23):
                digest.update(chunk)
        return digest.hexdigest()

    @_verb("list")
    def list(self, path: str = "", recursive: bool = False) -> list[str]:
        """Return the sorted paths below `path`, relative to this store; folders end with ``/``."""
        from pyarrow import fs

        filesystem, root = self.filesystem()
        base = f"{root}/{path}".rstrip("/")
        infos = filesystem.get_file_info(fs.FileSelector(base, recursive=recursive, allow_not_found=True))
        names = []
        for info in infos:
            relative = info.path[len(root.rstrip("/")) + 1 :]
            if relative and not Path(relative).name.startswith("."):
                names.append(relative + ("/" if info.type == fs.FileType.Directory else ""))
        return sorted(names)

    def exists(self, path: str) -> bool:
        """Return whether an object is there."""
        return self.size(path) is not None

    @_verb("look at")
    def size(self, path: str) -> int | None:
        """Return the bytes of an object, or None when it is not there."""
        from pyarrow import fs

        info = self._info(path)
        return int(info.size) if info.type == fs.FileType.File else None

    @_verb("delete")
    def delete(self, path: str) -> None:
        """Delete an object or everything below a folder; nothing happens when it is not there."""
        from pyarrow import fs

        filesystem, root = self.filesystem_anywhere()
        kind = self._info(path).type
        if kind == fs.FileType.Directory:
            filesystem.delete_dir(f"{root}/{path}".rstrip("/"))
        elif kind == fs.FileType.File:
            filesystem.delete_file(f"{root}/{path}")

    def remove_if_empty(self) -> None:
        """Remove the folder itself where nothing is in it, hidden files neither; in object storage there is none."""
        if not self.is_s3:
            with suppress(OSError):
                Path(self.uri).rmdir()

    def _info(self, path: str) -> Any:
        """Return what is at a path: an object, a folder, or nothing."""
        filesystem, root = self.filesystem()
        try:
            return filesystem.get_file_info(f"{root}/{path}".rstrip("/"))
        except OSError as error:
            if not self.is_s3 or not isinstance(known_failure(error, "look at", self.uri), RefusedError):
                raise
            # Who may list one prefix only is not told that an object is missing.
            from au_dist.storage.clients import info

            return info(f"{root}/{path}".rstrip("/"))

    def _lacks(self, path: str) -> bool:
        """Return whether there is nothing at a path; whoever may not know is told no."""
        from botocore.exceptions import BotoCoreError

        try:
            return bool(self._info(path).type.name == "NotFound")
        except (OSError, BotoCoreError):
            return False

    def _refused(self, error: RefusedError) -> RefusedError:
        """Return an error that says who was refused."""
        if not self.is_s3:
            return error
        asked = access()
        if asked.keys is None:
            return RefusedError(
                f"{error.what.partition(':')[0]}: the store refused a request without credentials",
                where=error.where,
                found=f"none in any of their sources ({asked.source})",
                fix="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another of these, to keys that may do this.",
            )
        return RefusedError(error.what, where=error.where, found=f"those of: {asked.source}", fix=error.fix)


#: Stores that people have and that cannot be used.
_OTHERS = {
    **dict.fromkeys(("gs", "gcs"), "Google Cloud Storage"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl", "wasb", "wasbs"), "Azure Blob Storage"),
}


def open_store(uri: str | os.PathLike[str]) -> Store:
    """Return the store at an address.

    Args:
        uri: ``s3://bucket/prefix`` or a folder; ``~`` and relative paths are resolved.

    Raises:
        StorageError: The address is of a kind that is not known.
    """
    text = os.fspath(uri)
    if text.startswith("s3://"):
        if len(text) == len("s3://"):
            raise StorageError("The address names no bucket", where=text, expected="s3://bucket/prefix")
        return Store(text.rstrip("/"))
    if "://" in text and not text.startswith("file://"):
        theirs = _OTHERS.get(text.partition("://")[0])
        raise StorageError(
            f"{theirs or 'This kind of storage'} is not supported",
            where=text,
            expected="s3://bucket/prefix or a folder",
            fix="Use a store that speaks S3; docs/storage.md says what it must be able to do." if theirs else None,
        )
    return Store(str(Path(text.removeprefix("file://")).expanduser().absolute()))


@contextmanager
def atomic_file(target: Path) -> Iterator[IO[bytes]]:
    """Yield a file that gets its final name only when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name = _beside(target)
    try:
        with _new(name) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def _beside(target: Path) -> Path:
    """Return a name that nobody uses in the folder of a file; hidden, so that nobody lists it."""
    return target.with_name(f".{secrets.token_hex(8)}.partial")


def _new(path: Path) -> IO[bytes]:
    """Open a new file with the permissions that an ordinary one has; `tempfile` gives it to its owner alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb")
