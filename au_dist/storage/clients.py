"""The two S3 clients, made for one `Access`: pyarrow for bulk bytes, s3fs for objects that may be written once only.

Both have the same keys, region, server and proxy, and look for none themselves.
"""

import functools
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from au_dist.storage.access import Access, access

#: Attempts of pyarrow at a request, about 50 s on a refusing store: longer than the restart of one.
ATTEMPTS = 11


@functools.lru_cache(maxsize=8)
def arrow(asked: Access, attempts: int = ATTEMPTS) -> fs.S3FileSystem:
    """Return pyarrow's client, one a process and access: connections are reused."""
    access_key, secret_key, token = asked.keys or (None, None, None)
    place = urlsplit(asked.endpoint or "")
    return fs.S3FileSystem(
        access_key=access_key,
        secret_key=secret_key,
        session_token=token,
        anonymous=asked.keys is None,
        region=asked.region,
        endpoint_override=(place.netloc + place.path).rstrip("/") or None,
        scheme=place.scheme or None,
        proxy_options=asked.proxy,
        connect_timeout=5,
        request_timeout=30,
        allow_delayed_open=True,
        # The standard strategy has a quota of retries, which a store that refuses a fifth of its requests uses up.
        retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=attempts),
    )


@functools.lru_cache(maxsize=8)
def s3fs(asked: Access) -> Any:
    """Return s3fs's client."""
    import s3fs

    key, secret, token = asked.keys or (None, None, None)
    scheme = urlsplit(asked.endpoint or "https://").scheme
    config = {
        "connect_timeout": 5,
        "read_timeout": 30,
        "retries": {"max_attempts": 5, "mode": "standard"},
        "proxies": {scheme: asked.proxy} if asked.proxy else {},
    }
    return s3fs.S3FileSystem(
        key=key,
        secret=secret,
        token=token,
        anon=asked.keys is None,
        endpoint_url=asked.endpoint,
        client_kwargs={"region_name": asked.region},
        config_kwargs=config,
        skip_instance_cache=True,
    )


def info(path: str) -> fs.FileInfo:
    """Return what is at a path of a bucket by listing alone: an object, a folder, or nothing."""
    bucket, _, key = path.partition("/")
    for prefix, kind in ((key, fs.FileType.File), (f"{key}/", fs.FileType.Directory)):
        found = s3fs(access()).call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1).get("Contents", [])
        if found and (kind == fs.FileType.Directory or found[0]["Key"] == key):
            return fs.FileInfo(path, type=kind, size=found[0]["Size"] if kind == fs.FileType.File else None)
    return fs.FileInfo(path, type=fs.FileType.NotFound)


class Here(fs.FileSystemHandler):
    """S3 as whoever uses it may use it, for libraries that take a pyarrow filesystem to other processes.

    It carries no keys: each process finds its own, and has them renewed.
    """

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same: it has no state."""
        return isinstance(other, Here)

    def __hash__(self) -> int:
        """Return the same for all."""
        return hash(Here)

    def get_type_name(self) -> str:
        """Return a name."""
        return "s3"

    def normalize_path(self, path: str) -> str:
        """Return a path as it is."""
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        """Return what is at some paths."""
        return arrow(access()).get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        """Return what is below a path."""
        return arrow(access()).get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        """Do nothing: S3 has no folders, and objects that stand for those above may be forbidden."""

    def delete_dir(self, path: str) -> None:
        """Delete everything below a path."""
        arrow(access()).delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Delete everything below a path."""
        arrow(access()).delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        """Refuse to delete all buckets."""
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        """Delete an object."""
        arrow(access()).delete_file(path)

    def move(self, src: str, dest: str) -> None:
        """Copy an object and delete it."""
        arrow(access()).move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        """Copy an object."""
        arrow(access()).copy_file(src, dest)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Open an object."""
        return arrow(access()).open_input_stream(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open an object for reads at any place."""
        return arrow(access()).open_input_file(path)

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Write an object."""
        return arrow(access()).open_output_stream(path, metadata=metadata)

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Refuse: objects are written whole."""
        raise NotImplementedError
