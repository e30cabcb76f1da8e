"""A PostgreSQL server of the system's packages that comes and goes, for tests and benchmarks."""

import contextlib
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

PASSWORD = "only-for-tests-7f3a"


@dataclass(frozen=True)
class Postgres:
    """A server.

    Attributes:
        programs: Where PostgreSQL's programs are.
        folder: Its data.
        port: Where it listens on loopback.
        user: Who runs it; None is who runs this.
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
        """Run one of PostgreSQL's programs."""
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, user=self.user, cwd=self.folder, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        log = str(self.folder / "log")
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")


def programs() -> Path | None:
    """Return where PostgreSQL's programs are; None where it is not installed."""
    found = [*glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"), shutil.which("pg_ctl")]
    return next((Path(path).parent for path in found if path), None)


@contextlib.contextmanager
def server() -> Iterator[Postgres]:
    """Run a server with an empty database for the length of a block; `PASSWORD` is asked for."""
    place = programs()
    if place is None:
        raise RuntimeError("no PostgreSQL here: apt-get install postgresql")
    user = None
    with tempfile.TemporaryDirectory(prefix="au-dist-postgres-") as name:
        folder = Path(name)
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            user = "postgres"
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        found = Postgres(place, folder, port, user)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = ("-D", str(folder / "data"), "-U", "tests", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync")
        found.run("initdb", *data)
        found.start()
        try:
            yield found
        finally:
            found.stop()
