"""One door to storage: a folder here, a real S3 server where there is one."""

import pickle
import threading

import pytest

from au_dist.core.errors import StorageError
from au_dist.storage.store import Store, atomic_file, open_store


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def store(request, tmp_path, monkeypatch) -> Store:
    if request.param == "folder":
        return open_store(tmp_path / "store")
    server = request.getfixturevalue("s3_store")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{server.bucket}/{request.node.name.translate(str.maketrans('[]', '--'))}")


def test_what_is_written_is_read(store, tmp_path):
    store.write("a/b.bin", b"one")
    store.write("a/b.bin", b"two")
    assert store.read("a/b.bin") == b"two"
    assert store.size("a/b.bin") == 3
    assert store.size("a") is None
    assert store.at("a").read("b.bin") == b"two"
    assert store.download("a/b.bin", tmp_path / "copy") == store.sha256("a/b.bin")
    store.upload(tmp_path / "copy", "c")
    assert store.list() == ["a/", "c"]
    assert store.list(recursive=True) in (["a/", "a/b.bin", "c"], ["a/b.bin", "c"])
    store.delete("a")
    store.delete("never there")
    assert store.list() == ["c"]
    with store.open("c") as file:
        file.seek(1)
        assert file.read(1) == b"w"


def test_one_of_many_creators_wins(store):
    store.write("other", b"")
    won = []

    def create(number: int) -> None:
        if store.create("once", str(number).encode() * 10):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("once") == str(won[0]).encode() * 10


def test_what_is_missing_is_said(store):
    with pytest.raises(StorageError, match="it is not there"):
        store.read("missing")
    assert store.list("missing") == []
    assert not store.exists("missing")


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def write_half() -> None:
        with atomic_file(tmp_path / "x") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["gs://bucket/x", "s3://"])
def test_unknown_addresses_are_refused(uri):
    with pytest.raises(StorageError):
        open_store(uri)


@pytest.mark.parametrize(
    ("uri", "words"),
    [("gs://b/x", "Google Cloud Storage"), ("az://c/x", "Azure"), ("abfss://c@a.x/y", "Azure"), ("ftp://h/x", "kind")],
)
def test_other_stores_are_refused_by_name(uri, words):
    with pytest.raises(StorageError, match=rf"{words}.* is not supported.*s3://bucket/prefix"):
        open_store(uri)


def test_an_unreachable_store_is_said_soon(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    with pytest.raises(StorageError, match=r"cannot be reached.*AWS_ENDPOINT_URL"):
        open_store("s3://bucket/x").check()


@pytest.mark.s3
def test_wrong_credentials_are_said(s3_store, monkeypatch):
    for name, value in s3_store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match=r"refused the credentials.*AWS_ACCESS_KEY_ID") as caught:
        open_store(f"s3://{s3_store.bucket}/x").check()
    assert "wrong" not in str(caught.value)


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_said(s3_store, monkeypatch):
    for name, value in s3_store.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match="bucket does not exist"):
        open_store("s3://never-made/x").check()
    assert open_store(f"s3://{s3_store.bucket}").check()
    assert open_store(f"s3://{s3_store.bucket}/nothing/below").check()


@pytest.mark.s3
def test_a_filesystem_for_other_processes_carries_no_keys(s3_store, monkeypatch):
    for name, value in s3_store.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{s3_store.bucket}/sent")
    filesystem, path = store.filesystem_anywhere()
    sent = pickle.dumps(filesystem)
    assert s3_store.secret_key.encode() not in sent
    assert s3_store.access_key.encode() not in sent
    there = pickle.loads(sent)
    with there.open_output_stream(f"{path}/x") as stream:
        stream.write(b"1")
    assert store.read("x") == b"1"
    assert there == filesystem
