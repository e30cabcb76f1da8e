"""The local S3 server: what clients meet, what survives, and what a person is told when it cannot start."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from au_dist.cluster.local_s3 import ceph as s3_ceph
from au_dist.cluster.local_s3 import server as s3
from au_dist.core.errors import StorageError

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the user, which only root may")


@contextmanager
def another_user() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of this module's own, to stop, kill and damage; its path is longer than a socket's may be."""
    if absent := s3.missing_binaries():
        pytest.skip(f"no S3 server: {', '.join(absent)} not installed (python -m au_dist.cluster.local_s3 install)")
    directory = tmp_path_factory.mktemp("a folder with $spaces") / ("x" * 120)
    # Not where other tests' stores look for a port meanwhile: this one stops, and wants its own again.
    s3.up(directory, port=s3._free_port(9600))
    yield directory
    s3.down(directory, kill=True)


def open_pyarrow(environment: Mapping[str, str]) -> Any:
    fs = pytest.importorskip("pyarrow.fs")
    return fs.S3FileSystem(
        endpoint_override=environment["AWS_ENDPOINT_URL"],  # the constructor does not look for it in os.environ
        access_key=environment["AWS_ACCESS_KEY_ID"],
        secret_key=environment["AWS_SECRET_ACCESS_KEY"],
        region=environment["AWS_DEFAULT_REGION"],
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def open_s3fs(environment: Mapping[str, str]) -> Any:
    s3fs = pytest.importorskip("s3fs")
    return s3fs.S3FileSystem(
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        key=environment["AWS_ACCESS_KEY_ID"],
        secret=environment["AWS_SECRET_ACCESS_KEY"],
        skip_instance_cache=True,
        use_listings_cache=False,
    )


@pytest.fixture(autouse=True)
def checksums_when_required(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("REQUEST_CHECKSUM_CALCULATION", "RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.setenv(f"AWS_{part}", "when_required")


def pids(directory: Path) -> list[int | None]:
    return [s3_ceph.running(directory, name) for name in s3_ceph.DAEMONS]


@pytest.mark.s3
def test_pyarrow_writes_lists_and_reads(s3_store):
    fs = open_pyarrow(s3_store.environment)
    data = os.urandom(300_000)
    with fs.open_output_stream(f"{s3_store.bucket}/arrow/a.bin") as stream:
        stream.write(data)
    from pyarrow.fs import FileSelector

    assert [f.path for f in fs.get_file_info(FileSelector(f"{s3_store.bucket}/arrow"))] == [
        f"{s3_store.bucket}/arrow/a.bin"
    ]
    with fs.open_input_file(f"{s3_store.bucket}/arrow/a.bin") as file:
        assert file.read_at(1000, 250_000) == data[250_000:251_000]
        assert file.read() == data


@pytest.mark.s3
def test_s3fs_writes_lists_and_reads(s3_store):
    fs = open_s3fs(s3_store.environment)
    data = os.urandom(300_000)
    fs.pipe_file(f"{s3_store.bucket}/s3fs/a.bin", data)
    assert fs.ls(f"{s3_store.bucket}/s3fs") == [f"{s3_store.bucket}/s3fs/a.bin"]
    assert fs.cat_file(f"{s3_store.bucket}/s3fs/a.bin", start=1000, end=2000) == data[1000:2000]
    assert fs.cat_file(f"{s3_store.bucket}/s3fs/a.bin") == data


@pytest.mark.s3
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_refused(s3_store, name):
    path = f"{s3_store.bucket}/refused"
    wrong = {**s3_store.environment, name: "wrong"}
    with pytest.raises(OSError, match=r"SIGNATURE_DOES_NOT_MATCH|INVALID_ACCESS_KEY_ID|ACCESS_DENIED"):
        open_pyarrow(wrong).open_output_stream(path).close()
    with pytest.raises(PermissionError):
        open_s3fs(wrong).pipe_file(path, b"x")
    assert not open_s3fs(s3_store.environment).exists(path)


@pytest.mark.s3
def test_of_racing_creators_exactly_one_wins(s3_store):
    fs = open_s3fs(s3_store.environment)
    fs.exists(s3_store.bucket)  # connected before the race
    for trial in range(5):
        path = f"{s3_store.bucket}/race/{trial}"

        def create(writer: int, path: str = path) -> int | None:
            try:
                fs.pipe_file(path, b"%d" % writer * 10_000, mode="create")
            except OSError as error:  # s3fs has no name of its own for it
                if "PreconditionFailed" in str(error.__cause__):
                    return None
                raise
            return writer

        with ThreadPoolExecutor(8) as pool:
            winners = [writer for writer in pool.map(create, range(8)) if writer is not None]
        assert len(winners) == 1
        assert fs.cat_file(path) == b"%d" % winners[0] * 10_000


@pytest.mark.s3
def test_a_second_start_changes_nothing(store):
    before = pids(store)
    assert None not in before
    assert s3.up(store) is False
    assert pids(store) == before


@pytest.mark.s3
def test_two_stores_at_once_differ_in_ports_and_keys(s3_store, store):
    ours = s3.environment(store)
    assert ours["AWS_ENDPOINT_URL"] != s3_store.endpoint
    assert ours["AWS_ACCESS_KEY_ID"] != s3_store.access_key
    assert ours["AWS_SECRET_ACCESS_KEY"] != s3_store.secret_key
    for path in (store, s3_store.directory):
        assert stat.S_IMODE((path / "credentials.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.s3
def test_everything_listens_on_loopback_only(store):
    inodes = set()
    for pid in pids(store):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = link.readlink().name if link.is_symlink() else ""
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    listening = [row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert len(listening) >= 3
    assert set(listening) == {"0100007F"}


@pytest.mark.s3
@pytest.mark.parametrize("kill", [False, True])
def test_acknowledged_objects_survive_a_stop(store, kill):
    bucket = f"keep-{kill}".lower()
    s3.make_bucket(s3.environment(store), bucket)
    fs = open_s3fs(s3.environment(store))
    written = {f"{bucket}/{i}": os.urandom(50_000) for i in range(20)}
    for path, data in written.items():
        fs.pipe_file(path, data)
    before = s3.environment(store)
    stopped = pids(store)
    assert s3.down(store, kill=kill, timeout_s=20) is True
    assert pids(store) == [None, None, None]
    assert not any(s3_ceph._started(pid) for pid in stopped)
    assert s3.down(store) is False
    assert s3.up(store) is True
    assert s3.environment(store) == before
    fs = open_s3fs(before)
    assert {path: fs.cat_file(path) for path in written} == written


@pytest.mark.s3
def test_a_store_that_lost_a_daemon_is_started_again(store):
    bucket = "lost"
    s3.make_bucket(s3.environment(store), bucket)
    fs = open_s3fs(s3.environment(store))
    fs.pipe_file(f"{bucket}/a", b"kept")
    os.kill(s3_ceph.running(store, "osd.0"), signal.SIGKILL)
    while s3_ceph.running(store, "osd.0"):
        time.sleep(0.01)
    assert s3.up(store) is True
    assert fs.cat_file(f"{bucket}/a") == b"kept"


@pytest.mark.s3
def test_the_monitor_gives_way_when_its_port_was_taken(store):
    s3.down(store)
    port = s3._read(store / s3.STATE)["mon_port"]
    with socket.create_server((s3_ceph.HOST, port)):
        assert s3.up(store) is True
    assert s3._read(store / s3.STATE)["mon_port"] != port


@pytest.mark.s3
def test_another_port_than_the_running_one_is_refused(store):
    with pytest.raises(StorageError, match=r"running on another port.*Stop it first"):
        s3.up(store, port=s3._free_port(29000))


@pytest.mark.s3
def test_a_taken_port_is_named(store):
    s3.down(store)
    port = int(s3.environment(store)["AWS_ENDPOINT_URL"].rpartition(":")[2])
    try:
        with socket.create_server((s3_ceph.HOST, port)), pytest.raises(StorageError) as caught:
            s3.up(store)
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert "already in use" in str(caught.value)
        assert "--port" in str(caught.value)
        assert pids(store) == [None, None, None]
    finally:
        s3.up(store)


@pytest.mark.s3
def test_a_daemon_that_ends_shows_its_log_and_leaves_nothing_running(store):
    s3.down(store)
    (store / "osd" / "block").rename(store / "osd" / "hidden")
    try:
        with pytest.raises(StorageError, match=r"osd\.0 ended") as caught:
            s3.up(store)
        assert "unable to mount object store" in str(caught.value)
        assert str(store / "log" / "osd.0.log") in str(caught.value)
        assert pids(store) == [None, None, None]
    finally:
        (store / "osd" / "hidden").rename(store / "osd" / "block")
    assert s3.up(store) is True


@pytest.mark.s3
def test_a_first_start_that_was_killed_is_begun_anew(tmp_path):
    if s3.missing_binaries():
        pytest.skip("no S3 server")
    directory = tmp_path / "store"
    command = [sys.executable, "-m", "au_dist.cluster.local_s3", "up", "--dir", str(directory)]
    root = Path(s3.__file__).resolve().parents[1]
    child = subprocess.Popen(command, cwd=root, start_new_session=True)
    while not (directory / "run" / "mon.a").exists():
        assert child.poll() is None
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)  # with the command that it waits for; the daemons live on
    child.wait()
    assert s3_ceph.running(directory, "mon.a")
    with pytest.raises(StorageError, match="no local S3 server"):
        s3.environment(directory)
    try:
        assert s3.up(directory) is True
        s3.make_bucket(s3.environment(directory), "anew")
        assert open_s3fs(s3.environment(directory)).exists("anew")
    finally:
        s3.down(directory, kill=True)


@pytest.mark.s3
def test_a_bad_bucket_name_is_refused(s3_store):
    with pytest.raises(StorageError, match="Could not create the bucket"):
        s3.make_bucket(s3_store.environment, "No_Capitals!")


@pytest.mark.s3
def test_the_command_line_prints_lines_for_a_shell(s3_store, capsys):
    assert s3.main(["env", "--dir", str(s3_store.directory)]) == 0
    printed = capsys.readouterr().out
    script = printed + 'echo "$AWS_SECRET_ACCESS_KEY $AWS_ENDPOINT_URL"'
    seen = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert seen == [s3_store.secret_key, s3_store.endpoint]
    assert len(printed.splitlines()) == 7


@as_root
@pytest.mark.s3
def test_a_directory_that_may_not_be_written_to(tmp_path):
    if s3.missing_binaries():
        pytest.skip("no S3 server")
    with another_user(), pytest.raises(StorageError, match=r"Cannot write.*Permission denied.*--dir"):
        s3.up(tmp_path / "store")


@pytest.mark.s3
def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path):
    if s3.missing_binaries():
        pytest.skip("no S3 server")
    (tmp_path / "osd").mkdir()
    (tmp_path / "osd" / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="holds something else"):
        s3.up(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["osd", "thesis.txt"]


def test_without_the_programs_the_way_to_them_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert s3.main(["up", "--dir", str(tmp_path / "store")]) == 2
    assert "python -m au_dist.cluster.local_s3 install" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
    assert s3.main(["install"]) == 2
    assert "no apt-get" in capsys.readouterr().err


@as_root
def test_installing_needs_root(tmp_path, monkeypatch):
    (tmp_path / "apt-get").write_text("#!/bin/sh\nexit 0\n")
    for path in (tmp_path / "apt-get", *tmp_path.parents[:3], tmp_path):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with another_user(), pytest.raises(StorageError, match=r"only root.*radosgw, ceph-mon, ceph-osd"):
        s3.install()


def test_a_failed_installation_shows_what_apt_said(tmp_path, monkeypatch):
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho E: Unable to locate package radosgw\nexit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(StorageError, match="Unable to locate package radosgw"):
        s3.install()


def test_there_is_no_environment_without_a_store(tmp_path):
    with pytest.raises(StorageError, match=r"no local S3 server.*local_s3 up --dir"):
        s3.environment(tmp_path / "nothing")
    assert s3.down(tmp_path / "nothing") is False


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / s3.STATE).write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        s3.environment(tmp_path)


def test_zombies_and_strangers_do_not_run(tmp_path):
    (tmp_path / "run").mkdir()
    child = subprocess.Popen(["sleep", "60"])
    record = tmp_path / "run" / "mon.a"
    try:
        record.write_text(f"{child.pid} {s3_ceph._started(child.pid)}")
        assert s3_ceph.running(tmp_path, "mon.a") == child.pid
        record.write_text(f"{child.pid} 12345")  # the number of a process that was there before
        assert s3_ceph.running(tmp_path, "mon.a") is None
        record.write_text(f"{child.pid} {s3_ceph._started(child.pid)}")
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
        assert s3_ceph.running(tmp_path, "mon.a") is None
    finally:
        child.kill()
        child.wait()


def test_the_end_of_a_log_is_plain_and_says_things_once():
    log = "one\n\n\x1b[0;31mtwo\x1b[0m\n\ntwo\nthree\n"
    assert s3_ceph.last_lines(log, 2) == "two\nthree"
