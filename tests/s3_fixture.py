"""The session's S3 server: ``s3_store``, imported by ``conftest.py``. Skips where the packages are absent."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from au_dist.cluster.local_s3 import server as s3


@dataclass(frozen=True)
class S3Store:
    """A running S3 server with an empty bucket; ``environment`` is what clients need in ``os.environ``."""

    directory: Path
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    environment: dict[str, str]


@pytest.fixture(scope="session")
def s3_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Store]:
    if absent := s3.missing_binaries():
        pytest.skip(f"no S3 server: {', '.join(absent)} not installed (python -m au_dist.cluster.local_s3 install)")
    directory = tmp_path_factory.mktemp("s3") / "store"
    s3.up(directory)
    try:
        environment = s3.environment(directory)
        bucket = f"test-{uuid.uuid4().hex[:12]}"
        s3.make_bucket(environment, bucket)
        yield S3Store(
            directory=directory,
            endpoint=environment["AWS_ENDPOINT_URL"],
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
            bucket=bucket,
            environment=environment,
        )
    finally:
        s3.down(directory, kill=True)
