"""A PostgreSQL server of the system's packages, for one session of tests: ``postgres``; skips where there is none."""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "only-for-tests-7f3a"


@dataclass(frozen=True)
class Postgres:
    """A server.

    Attributes:
        programs: Where PostgreSQL's programs are.
        folder: Its data.
        port: Where it listens on loopback.
        user: Who runs it; None is who runs the tests.
    """

    programs: Path
    folder: Path
    port: int
    user: str | None

    @property
    def address(self) -> str:
        """Address of its database, without the password."""
        return f"postgresql://tests@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, user=self.user, cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        log = str(self.folder / "log")
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")


def _programs() -> Path | None:
    found = [*glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"), shutil.which("pg_ctl")]
    return next((Path(path).parent for path in found if path), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    pytest.importorskip("psycopg")
    user = None
    with tempfile.TemporaryDirectory(prefix="au-dist-postgres-") as name, socket.socket() as taken:
        folder = Path(name)
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            user = "postgres"
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        server = Postgres(programs, folder, port, user)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = ("-D", str(folder / "data"), "-U", "tests", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync")
        server.run("initdb", *data)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a database, of which the environment has the password."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return postgres.address
