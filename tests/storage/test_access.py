"""Whoever a machine, a container, a pod or a person is: both clients ask as they, and say who was refused."""

import contextlib
import itertools
import os
import socket
import sys
import time

import aws as around
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from au_dist.core.errors import RefusedError, StorageError, UnavailableError
from au_dist.shards.format import RowGroup, Shard, read_row_group
from au_dist.storage import clients
from au_dist.storage.access import access
from au_dist.storage.retries import with_retry
from au_dist.storage.store import open_store


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """A machine of AWS with nothing set: no keys, no profile, a home without files."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with around.running() as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws.url)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")  # nobody listens
        yield aws


def profile(folder, text, name="config"):
    (folder / ".aws").mkdir(exist_ok=True)
    (folder / ".aws" / name).write_text(text)


def keys(monkeypatch, aws, folder):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "PLAIN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def temporary_keys(monkeypatch, aws, folder):
    keys(monkeypatch, aws, folder)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-PLAIN")


def shared_file(monkeypatch, aws, folder):
    profile(folder, "[default]\naws_access_key_id = FILE\naws_secret_access_key = secret\n", "credentials")


def named_profile(monkeypatch, aws, folder):
    monkeypatch.setenv("AWS_PROFILE", "lab")
    profile(
        folder,
        "[profile lab]\naws_access_key_id = LAB\naws_secret_access_key = secret\naws_session_token = token-LAB\n"
        "region = eu-north-1\n",
    )


def process_of_a_profile(monkeypatch, aws, folder):
    script = folder / "keys.py"
    script.write_text(
        'print(\'{"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "s", "SessionToken": "token-PROCESS"}\')'
    )
    profile(folder, f"[default]\ncredential_process = {sys.executable} -I -S {script}\n")


def assumed_role(monkeypatch, aws, folder):
    monkeypatch.setenv("AWS_PROFILE", "lab")
    profile(
        folder,
        "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = secret\n"
        "[profile lab]\nrole_arn = arn:aws:iam::1:role/lab\nsource_profile = base\n",
    )


def web_identity(monkeypatch, aws, folder):
    (folder / "token").write_text("of the pod")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
    monkeypatch.setenv("AWS_REGION", "us-west-2")


def container(monkeypatch, aws, folder):
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of the container")


def pod(monkeypatch, aws, folder):
    container(monkeypatch, aws, folder)
    monkeypatch.delenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    (folder / "token").write_text("of the container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(folder / "token"))


def machine(monkeypatch, aws, folder):
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "signed"),
    [
        (keys, ("PLAIN", "us-east-1", None)),
        (temporary_keys, ("PLAIN", "us-east-1", "token-PLAIN")),
        (shared_file, ("FILE", "us-east-1", None)),
        (named_profile, ("LAB", "eu-north-1", "token-LAB")),
        (process_of_a_profile, ("PROCESS", "us-east-1", "token-PROCESS")),
        (assumed_role, ("ASSUMED1", "us-east-1", "token-ASSUMED1")),
        (web_identity, ("WEB1", "us-west-2", "token-WEB1")),
        (container, ("CONTAINER1", "us-east-1", "token-CONTAINER1")),
        (pod, ("CONTAINER1", "us-east-1", "token-CONTAINER1")),
        (machine, ("MACHINE1", "ap-south-1", "token-MACHINE1")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_both_clients_ask_as_the_same(monkeypatch, aws, tmp_path, source, signed):
    source(monkeypatch, aws, tmp_path)
    store = open_store("s3://bucket/au")
    store.check()
    store.write("arrow", b"one")
    assert store.create("s3fs", b"two")
    assert store.read("s3fs") == b"two"
    assert aws.objects == {"bucket/au/arrow": b"one", "bucket/au/s3fs": b"two"}
    assert set(aws.signed) == {signed}


def test_what_is_set_goes_before_what_is_around(monkeypatch, aws, tmp_path):
    order = [machine, container, shared_file, web_identity, keys]
    for source, key in zip(order, ("MACHINE", "CONTAINER", "FILE", "WEB", "PLAIN"), strict=True):
        source(monkeypatch, aws, tmp_path)
        assert access().keys[0].rstrip("0123456789") == key


def test_a_public_bucket_is_read_without_anybody(aws):
    aws.objects[f"{around.PUBLIC}/x"] = b"for all"
    assert open_store(f"s3://{around.PUBLIC}").read("x") == b"for all"
    assert set(aws.signed) == {(None, None, None)}


@pytest.mark.parametrize("verb", ["check", "write", "create", "read", "size"])
def test_without_credentials_all_sources_are_named_soon(monkeypatch, aws, verb):
    """Also where packets to the metadata service go nowhere, as on a laptop."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://192.0.2.1")
    store, begun = open_store("s3://bucket/au"), time.monotonic()
    arguments = {"check": (), "write": ("x", b"1"), "create": ("x", b"1")}.get(verb, ("x",))
    with pytest.raises(RefusedError, match="without credentials") as caught:
        getattr(store, verb)(*arguments)
    assert time.monotonic() - begun < 5
    for source in ("AWS_ACCESS_KEY_ID", "WEB_IDENTITY", "profile default", "CONTAINER_CREDENTIALS", "192.0.2.1"):
        assert source in str(caught.value)


@pytest.mark.slow
def test_a_metadata_service_that_never_answers_is_given_up(monkeypatch, aws):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{mute.getsockname()[1]}")
        begun = time.monotonic()
        assert access().keys is None
        assert time.monotonic() - begun < 4


@pytest.fixture
def silent(monkeypatch, aws, tmp_path):
    """A store that takes connections and says nothing; how often it was asked."""
    keys(monkeypatch, aws, tmp_path)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.getsockname()[1]}")

        def asked():
            server.setblocking(False)
            with contextlib.ExitStack() as open_ones:
                for count in itertools.count():
                    try:
                        open_ones.enter_context(server.accept()[0])
                    except BlockingIOError:
                        return count

        yield asked


def test_a_store_that_says_nothing_is_asked_a_few_times_only(monkeypatch, silent):
    """s3fs would try five times what botocore tries five times, half a minute each."""
    monkeypatch.setattr(clients, "SILENT_S", 0.2)
    with pytest.raises(OSError, match=r"[Tt]ime"):
        clients.info("bucket/a")
    assert silent() < 10


@pytest.mark.slow
@pytest.mark.usefixtures("silent")
def test_what_a_store_does_not_agree_to_take_is_given_up(monkeypatch):
    monkeypatch.setattr(clients, "CREATE_S", 2.0)
    monkeypatch.setattr(
        "au_dist.storage.store.with_retry", lambda function, verb, uri, patience_s: with_retry(function, verb, uri, 0)
    )
    with pytest.raises(UnavailableError, match="cannot be reached"):
        open_store("s3://bucket").create("a", b"x")


def test_a_switched_off_metadata_service_is_not_asked(monkeypatch, aws):
    machine(monkeypatch, aws, None)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert access().keys is None
    assert "switched off by AWS_EC2_METADATA_DISABLED" in access().source
    assert not aws.paths


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AWS_PROFILE": "nowhere"}, "nowhere"),
        ({"AWS_ACCESS_KEY_ID": "A"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/x"}, "/nowhere/token"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/keys"}, "Unsupported host"),
    ],
)
def test_a_source_that_is_set_up_wrong_is_an_error_not_passed_over(monkeypatch, aws, tmp_path, variables, words):
    machine(monkeypatch, aws, tmp_path)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(StorageError, match=words) as caught:
        open_store("s3://bucket/au").write("x", b"1")
    assert "no credentials" in str(caught.value)
    assert not aws.objects


def test_keys_that_are_about_to_end_are_renewed(monkeypatch, aws, tmp_path):
    container(monkeypatch, aws, tmp_path)
    aws.lifetime_s = 300
    store = open_store("s3://bucket/au")
    store.write("x", b"1")
    before = {key for key, _, _ in aws.signed}
    aws.refused |= before  # they have ended
    aws.signed.clear()
    assert store.create("y", b"2")
    store.write("x", b"3")
    assert not before & {key for key, _, _ in aws.signed}


@pytest.mark.slow
def test_keys_that_cannot_be_renewed_are_said(monkeypatch, aws, tmp_path):
    container(monkeypatch, aws, tmp_path)
    aws.lifetime_s = 300
    open_store("s3://bucket/au").write("x", b"1")
    aws.broken = True
    with pytest.raises(StorageError, match="CONTAINER_CREDENTIALS") as caught:
        open_store("s3://bucket/au").write("x", b"1")
    assert "no credentials" in str(caught.value)


def test_other_keys_in_one_process_are_taken(monkeypatch, aws, tmp_path):
    keys(monkeypatch, aws, tmp_path)
    store = open_store("s3://bucket/au")
    store.write("x", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    aws.signed.clear()
    store.write("x", b"1")
    store.create("y", b"1")
    assert {key for key, _, _ in aws.signed} == {"OTHER"}


def test_a_file_of_keys_that_was_written_anew_is_read_again(monkeypatch, aws, tmp_path):
    shared_file(monkeypatch, aws, tmp_path)
    assert access().keys[0] == "FILE"
    profile(tmp_path, "[default]\naws_access_key_id = NEWER\naws_secret_access_key = s\n", "credentials")
    os.utime(tmp_path / ".aws" / "credentials", (1, 1))
    assert access().keys[0] == "NEWER"


def test_the_endpoint_may_stand_in_the_profile(monkeypatch, aws, tmp_path):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    profile(
        tmp_path,
        f"[default]\naws_access_key_id = A\naws_secret_access_key = s\nservices = mine\n"
        f"[services mine]\ns3 =\n  endpoint_url = {aws.url}\n",
    )
    store = open_store("s3://bucket/au")
    store.write("x", b"1")
    assert store.create("y", b"1")
    assert len(aws.objects) == 2


def test_a_refusal_says_whose_credentials_they_were(monkeypatch, aws, tmp_path):
    container(monkeypatch, aws, tmp_path)
    aws.refused.add("CONTAINER1")
    with pytest.raises(RefusedError, match=r"refused the credentials.*AWS_CONTAINER_CREDENTIALS") as caught:
        open_store("s3://bucket/au").create("x", b"1")
    assert "secret" not in str(caught.value)
    assert "token-" not in str(caught.value)


def test_a_shard_that_is_open_goes_on_with_renewed_keys(monkeypatch, aws, tmp_path):
    keys(monkeypatch, aws, tmp_path)
    pq.write_table(pa.table({"x": list(range(10))}), tmp_path / "a.parquet", row_group_size=5)
    store = open_store("s3://bucket/au")
    store.upload(tmp_path / "a.parquet", "a.parquet")
    groups = tuple(RowGroup.model_construct(clips=5) for _ in range(2))
    shard = Shard(path="a.parquet", bytes=(tmp_path / "a.parquet").stat().st_size, sha256="", row_groups=groups)
    assert read_row_group(store, shard, 0).column("x").to_pylist() == [0, 1, 2, 3, 4]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "RENEWED")
    aws.refused.add("PLAIN")
    assert read_row_group(store, shard, 1).column("x").to_pylist() == [5, 6, 7, 8, 9]


def test_both_clients_go_through_the_same_proxy(monkeypatch, aws, tmp_path):
    """The server's name is known to nobody but the proxy."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://store.invalid:9000")
    monkeypatch.setenv("HTTP_PROXY", aws.url)
    keys(monkeypatch, aws, tmp_path)
    store = open_store("s3://bucket/au")
    store.write("arrow", b"1")
    assert store.create("s3fs", b"2")
    assert set(aws.objects) == {"bucket/au/arrow", "bucket/au/s3fs"}
    assert all(path.startswith("http://store.invalid:9000/") for path in aws.paths)


def test_neither_client_goes_through_a_proxy_to_this_machine(monkeypatch, aws, tmp_path):
    """Nor is the machine's role asked for through one: it would be the proxy's."""
    machine(monkeypatch, aws, tmp_path)
    with around.running() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "")
        store = open_store("s3://bucket/au")
        store.write("arrow", b"1")
        assert store.create("s3fs", b"2")
        assert not proxy.paths
    assert {key for key, _, _ in aws.signed} == {"MACHINE1"}
