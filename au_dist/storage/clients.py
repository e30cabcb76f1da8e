"""The two S3 clients, made for one `Access`: pyarrow for bulk bytes, s3fs for objects that may be written once only.

Both have the same keys, region, server and proxy, and look for none themselves.
"""

import functools
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from au_dist.storage.access import Access, access

#: Attempts of pyarrow at a request, about 50 s on a refusing store: longer than the restart of one.
ATTEMPTS = 11

#: Seconds after which a store that says nothing is asked again, or given up.
SILENT_S = 30

#: Seconds after which an object that may be written once only is given up: before a server has agreed to take it,
#: the other limit does not hold (aiohttp waits for `100 Continue` without end).
CREATE_S = 60

#: Objects that are deleted at once.
DELETES = 16


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
        request_timeout=SILENT_S,
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
        "read_timeout": SILENT_S,
        "retries": {"max_attempts": 5, "mode": "standard"},
        "proxies": {scheme: asked.proxy} if asked.proxy else {},
    }
    filesystem = s3fs.S3FileSystem(
        key=key,
        secret=secret,
        token=token,
        anon=asked.keys is None,
        endpoint_url=asked.endpoint,
        client_kwargs={"region_name": asked.region},
        config_kwargs=config,
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    # botocore tries again already, and `Store` around it: a store that says nothing would be waited for a quarter hour.
    filesystem.retries = 1
    return filesystem


def info(path: str) -> fs.FileInfo:
    """Return what is at a path of a bucket by listing alone: an object, a folder, or nothing."""
    bucket, _, key = path.partition("/")
    for name, size in itertools.islice(_listed(bucket, key, 1), 1):
        if name == key:
            return fs.FileInfo(path, type=fs.FileType.File, size=size)
    folder = next(_listed(bucket, f"{key}/", 1), None)
    return fs.FileInfo(path, type=fs.FileType.Directory if folder else fs.FileType.NotFound)


def delete_below(path: str) -> None:
    """Delete everything below a path, an object a request.

    pyarrow would write objects that stand for folders; and some servers allow no request for many objects to those who
    may use one prefix only.
    """
    bucket, _, key = path.partition("/")
    client, names = s3fs(access()), [name for name, _ in _listed(bucket, f"{key}/")]
    with ThreadPoolExecutor(DELETES) as pool:
        for _ in pool.map(lambda name: client.call_s3("delete_object", Bucket=bucket, Key=name), names):
            pass


def _listed(bucket: str, prefix: str, at_once: int = 1000) -> Iterator[tuple[str, int]]:
    """Yield key and size of the objects whose keys begin with some letters."""
    more: dict[str, str] = {}
    while True:
        asked = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": at_once, **more}
        answer = s3fs(access()).call_s3("list_objects_v2", **asked)
        yield from ((item["Key"], item["Size"]) for item in answer.get("Contents", []))
        if not answer.get("IsTruncated"):
            return
        more = {"ContinuationToken": answer["NextContinuationToken"]}


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
        delete_below(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Delete everything below a path."""
        delete_below(path)

    def delete_root_dir_contents(self) -> None:
        """Refuse to delete all buckets."""
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        """Delete an object."""
        s3fs(access()).rm_file(path)

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
