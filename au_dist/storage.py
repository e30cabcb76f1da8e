"""One door to object storage: ``s3://bucket/prefix`` or a folder, the same few verbs for both.

Bulk bytes travel through pyarrow (whose retries outlast the restart of a store); objects that may be written once
only go through s3fs, which can send ``If-None-Match: *``. S3 servers, keys and regions come from the usual ``AWS_*``
environment variables. Errors of either client leave this module as `StorageError`.
"""

import functools
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from au_dist.errors import StorageError

#: Servers older than Ceph 18 refuse the checksums that current clients send by default.
PORTABLE_S3 = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    "AWS_EC2_METADATA_DISABLED": "true",
}

#: Attempts that last about 80 s on a refusing store: longer than the restart of one.
ATTEMPTS = 10

_CAUSES = (
    (
        r"ExpiredToken|EXPIRED_TOKEN|RequestExpired|token has expired",
        "the credentials have expired",
        "Renew them and run the same command again; what was done is kept.",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|INVALID_ACCESS_KEY|INVALID_SIGNATURE|SIGNATURE_DOES_NOT_MATCH"
        r"|ACCESS_DENIED|AccessDenied|403|Forbidden|INVALID_CLIENT_TOKEN|NoCredentials|Unable to locate credentials",
        "the store refused the credentials",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that may use this bucket.",
    ),
    (
        r"NO_SUCH_BUCKET|NoSuchBucket|[Bb]ucket does not exist|bucket .* not found",
        "the bucket does not exist",
        "Create the bucket or correct the address.",
    ),
    (
        r"NETWORK_CONNECTION|curlCode|Couldn't connect|Connection refused|timed? ?out|EndpointConnection"
        r"|Could not connect|resolve host|ConnectTimeout|Cannot connect",
        "the store cannot be reached",
        "Check AWS_ENDPOINT_URL and the network, and that the store is up.",
    ),
    (
        r"SLOW_DOWN|SERVICE_UNAVAILABLE|SlowDown|\b503\b",
        "the store is overloaded",
        "Try again later; what was done is kept.",
    ),
    (r"No space left", "the disk is full", "Free some space and run the same command again."),
    (r"PATH_NOT_FOUND|NO_SUCH_KEY|NoSuchKey|[Nn]ot found|No such file|does not exist", "it is not there", None),
)


@contextmanager
def _translated(verb: str, uri: str) -> Iterator[None]:
    """Turn the errors of the storage clients into one paragraph."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        found = " ".join(_words(error).split())[:300]
        raise known_failure(error, verb, uri) or StorageError(f"Cannot {verb}", where=uri, found=found) from error


def known_failure(error: BaseException, verb: str, uri: str) -> StorageError | None:
    """Return what a storage client's error means, if that is known: credentials, network, load, space.

    Args:
        error: The client's.
        verb: What was tried.
        uri: With what.
    """
    for pattern, cause, fix in _CAUSES:
        if re.search(pattern, _words(error)):
            return StorageError(f"Cannot {verb}: {cause}", where=uri, fix=fix)
    return None


def _words(error: BaseException) -> str:
    # s3fs keeps the server's answer in the cause, and may have no words of its own.
    words = [str(part) for part in (error, error.__cause__) if part is not None and str(part) not in ("", "None")]
    return " ".join(words) or type(error).__name__


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


@functools.lru_cache(maxsize=8)
def _s3(attempts: int, endpoint: str | None) -> Any:
    """One pyarrow client a process: connections are reused."""
    from pyarrow import fs

    os.environ.update({k: v for k, v in PORTABLE_S3.items() if k not in os.environ})
    scheme, _, host = (endpoint or "").rpartition("://")
    return fs.S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme or None,
        connect_timeout=5,
        request_timeout=30,
        allow_delayed_open=True,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
    )


@functools.lru_cache(maxsize=8)
def _s3fs(endpoint: str | None) -> Any:
    import s3fs

    os.environ.update({k: v for k, v in PORTABLE_S3.items() if k not in os.environ})
    config = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 5, "mode": "standard"}}
    return s3fs.S3FileSystem(endpoint_url=endpoint, config_kwargs=config, skip_instance_cache=True)


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

    def filesystem(self, attempts: int = ATTEMPTS) -> tuple[Any, str]:
        """Return a pyarrow filesystem and the path of this place in it."""
        from pyarrow import fs

        if self.is_s3:
            return _s3(attempts, os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")), self.uri[
                5:
            ]
        return fs.LocalFileSystem(), self.uri

    def check(self) -> "Store":
        """Return this store if it answers, quickly; what is below may be empty.

        Raises:
            StorageError: It cannot be reached, refuses the credentials, or the bucket does not exist.
        """
        with _translated("use the store", self.uri):
            if self.is_s3:
                filesystem, path = self.filesystem(attempts=2)
                bucket = path.partition("/")[0]
                if filesystem.get_file_info(bucket).type.name == "NotFound":
                    raise StorageError(
                        "The bucket does not exist", where=f"s3://{bucket}", fix="Create it or correct the address."
                    )
                from pyarrow import fs

                filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return self

    def read(self, path: str) -> bytes:
        """Return the bytes of an object.

        Raises:
            StorageError: It is not there, or the store fails.
        """
        filesystem, root = self.filesystem()
        with _translated("read", f"{self.uri}/{path}"), filesystem.open_input_stream(f"{root}/{path}") as stream:
            return bytes(stream.read())

    def open(self, path: str) -> Any:
        """Return a random-access pyarrow file of an object (ranged reads)."""
        filesystem, root = self.filesystem()
        with _translated("open", f"{self.uri}/{path}"):
            return filesystem.open_input_file(f"{root}/{path}")

    def write(self, path: str, data: bytes) -> None:
        """Write an object whole: a reader sees the old bytes or the new ones, never a part."""
        filesystem, root = self.filesystem()
        with _translated("write", f"{self.uri}/{path}"):
            if self.is_s3:
                with filesystem.open_output_stream(f"{root}/{path}") as stream:
                    stream.write(data)
            else:
                with atomic_file(Path(root) / path) as file:
                    file.write(data)

    def create(self, path: str, data: bytes) -> bool:
        """Write an object only if it is not there yet; of several racing writers one wins.

        Returns:
            Whether this call wrote it.
        """
        with _translated("write", f"{self.uri}/{path}"):
            if self.is_s3:
                return self._create_object(path, data)
            target = Path(self.uri) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _share(file.name)
            try:
                os.link(file.name, target)
            except FileExistsError:
                return False
            finally:
                os.unlink(file.name)
            return True

    def _create_object(self, path: str, data: bytes) -> bool:
        try:
            _s3fs(_endpoint()).pipe_file(f"{self.uri[5:]}/{path}", data, mode="create")
        except OSError as error:
            answer = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
            if answer != "PreconditionFailed":
                raise
            # A retry after a lost reply meets its own object: that still is this writer's success.
            return self.read(path) == data
        return True

    def upload(self, local: Path, path: str) -> None:
        """Copy a local file into storage."""
        filesystem, root = self.filesystem()
        with _translated("upload", f"{self.uri}/{path}"), local.open("rb") as source:
            if self.is_s3:
                with filesystem.open_output_stream(f"{root}/{path}") as stream:
                    shutil.copyfileobj(source, stream, 1 << 23)
            else:
                with atomic_file(Path(root) / path) as file:
                    shutil.copyfileobj(source, file, 1 << 23)

    def download(self, path: str, local: Path) -> str:
        """Copy an object to a local file and return the sha256 of its bytes."""
        digest = hashlib.sha256()
        with self.open(path) as source, atomic_file(local) as target, _translated("read", f"{self.uri}/{path}"):
            while chunk := source.read(1 << 23):
                digest.update(chunk)
                target.write(chunk)
        return digest.hexdigest()

    def sha256(self, path: str) -> str:
        """Return the sha256 of an object's bytes, in hexadecimal digits."""
        digest = hashlib.sha256()
        with self.open(path) as source, _translated("read", f"{self.uri}/{path}"):
            while chunk := source.read(1 << 23):
                digest.update(chunk)
        return digest.hexdigest()

    def list(self, path: str = "", recursive: bool = False) -> list[str]:
        """Return the sorted paths below `path`, relative to this store; folders end with ``/``."""
        from pyarrow import fs

        filesystem, root = self.filesystem()
        base = f"{root}/{path}".rstrip("/")
        with _translated("list", f"{self.uri}/{path}".rstrip("/")):
            found = filesystem.get_file_info(fs.FileSelector(base, recursive=recursive, allow_not_found=True))
        names = []
        for info in found:
            relative = info.path[len(root.rstrip("/")) + 1 :]
            if relative and not Path(relative).name.startswith("."):
                names.append(relative + ("/" if info.type == fs.FileType.Directory else ""))
        return sorted(names)

    def exists(self, path: str) -> bool:
        """Return whether an object is there."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Return the bytes of an object, or None when it is not there."""
        from pyarrow import fs

        filesystem, root = self.filesystem()
        with _translated("look at", f"{self.uri}/{path}"):
            info = filesystem.get_file_info(f"{root}/{path}")
        return int(info.size) if info.type == fs.FileType.File else None

    def delete(self, path: str) -> None:
        """Delete an object or everything below a folder; nothing happens when it is not there."""
        from pyarrow import fs

        filesystem, root = self.filesystem()
        with _translated("delete", f"{self.uri}/{path}"):
            kind = filesystem.get_file_info(f"{root}/{path}".rstrip("/")).type
            if kind == fs.FileType.Directory:
                filesystem.delete_dir(f"{root}/{path}".rstrip("/"))
            elif kind == fs.FileType.File:
                filesystem.delete_file(f"{root}/{path}")


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
        raise StorageError("This kind of storage is not known", where=text, expected="s3://bucket/prefix or a folder")
    return Store(str(Path(text.removeprefix("file://")).expanduser().absolute()))


@contextmanager
def atomic_file(target: Path) -> Iterator[IO[bytes]]:
    """Yield a file that gets its final name only when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _share(name)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _share(name: str) -> None:
    """Give a temporary file the permissions that an ordinary new file would have."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)
