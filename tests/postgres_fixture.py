"""A PostgreSQL server for one session of tests: ``postgres``, and ``database``; skipped where there is none."""

from collections.abc import Iterator

import pytest
from postgres_server import PASSWORD, Postgres, programs, server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    pytest.importorskip("psycopg")
    with server() as found:
        yield found


@pytest.fixture
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a database, of which the environment has the password."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return postgres.address
