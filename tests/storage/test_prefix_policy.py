"""Keys that may use one prefix of a bucket and nothing else are enough, on a real S3 server with a real policy."""

import json

import pytest
from botocore.session import Session

from au_dist.cluster.local_s3 import ceph
from au_dist.core.errors import AbsentError, RefusedError
from au_dist.storage.store import open_store

pytestmark = pytest.mark.s3


@pytest.fixture
def mine(s3_store, monkeypatch):
    """A store below `team/mine` of the bucket, seen by a user who may use that alone."""
    user = ("--uid=guest", "--display-name=guest")
    made = json.loads(ceph._run(s3_store.directory, "radosgw-admin", "user", "create", *user))["keys"][0]
    place = f"arn:aws:s3:::{s3_store.bucket}"
    guest = {"AWS": ["arn:aws:iam:::user/guest"]}
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": guest, "Action": objects, "Resource": [f"{place}/team/mine/*"]},
            {
                "Effect": "Allow",
                "Principal": guest,
                "Action": "s3:ListBucket",
                "Resource": [place],
                "Condition": {"StringLike": {"s3:prefix": ["team/mine/*"]}},
            },
        ],
    }
    for name, value in s3_store.environment.items():
        monkeypatch.setenv(name, value)
    client = Session().create_client("s3", endpoint_url=s3_store.endpoint)
    client.put_bucket_policy(Bucket=s3_store.bucket, Policy=json.dumps(policy))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["access_key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["secret_key"])
    yield open_store(f"s3://{s3_store.bucket}/team/mine")
    client.delete_bucket_policy(Bucket=s3_store.bucket)
    ceph._run(s3_store.directory, "radosgw-admin", "user", "rm", "--uid=guest")


def test_one_prefix_is_enough(mine, tmp_path):
    assert mine.check() == mine
    mine.write("runs/a/x", b"one")
    assert mine.create("runs/a/y", b"two")
    assert not mine.create("runs/a/y", b"three")
    (tmp_path / "big").write_bytes(bytes(12 << 20))
    mine.upload(tmp_path / "big", "big")
    assert mine.size("big") == 12 << 20
    assert mine.download("runs/a/y", tmp_path / "y") == mine.sha256("runs/a/y")
    assert mine.list() == ["big", "runs/"]
    with mine.open("runs/a/x") as file:
        assert file.read() == b"one"
    mine.delete("runs/a/x")
    mine.delete("runs")
    mine.delete("runs")
    assert mine.list() == ["big"]


def test_what_is_missing_is_missing_and_not_forbidden(mine):
    """The store answers 403 to who may not list the whole bucket."""
    assert mine.size("nothing") is None
    assert not mine.exists("nothing/at/all")
    for ask in (mine.read, mine.open, mine.sha256):
        with pytest.raises(AbsentError):
            ask("nothing").read()
    assert mine.list("nothing") == []


def test_what_libraries_do_with_a_filesystem_needs_no_more(mine):
    filesystem, path = mine.filesystem_anywhere()
    filesystem.create_dir(f"{path}/ray", recursive=True)
    with filesystem.open_output_stream(f"{path}/ray/state") as stream:
        stream.write(b"1")
    assert filesystem.get_file_info(f"{path}/ray/state").size == 1
    filesystem.delete_file(f"{path}/ray/state")


def test_the_rest_of_the_bucket_is_refused(mine, s3_store):
    other = open_store(f"s3://{s3_store.bucket}/team/theirs")
    for refused in (other.check, lambda: other.write("x", b"1"), lambda: other.create("x", b"1")):
        with pytest.raises(RefusedError, match="AWS_ACCESS_KEY_ID"):
            refused()
