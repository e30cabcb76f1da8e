"""A study in PostgreSQL, for dashboards that watch it live and for many campaigns side by side.

The password is nowhere in a campaign: libpq takes it from ``PGPASSWORD`` or from ``~/.pgpass``.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from au_dist.core.errors import RecipeError, StorageError

#: Begin of an address.
SCHEME = "postgresql://"

#: Seconds for which a database that does not answer is asked again, and between two questions: rising.
PATIENCE_S, FIRST_S, LAST_S = 900.0, 1.0, 15.0

#: Seconds until a silent connection counts as lost.
SILENT_S = 20

_WANTED = f"{SCHEME}USER@HOST:PORT/DATABASE"


def check_address(address: str, where: str) -> None:
    """Refuse an address of a study that is none, or holds a password, which is not shown.

    Args:
        address: The address.
        where: The campaign's file, for messages.

    Raises:
        RecipeError: It cannot be used.
    """
    place = f"{where}, storage"
    try:
        parts = urlsplit(address)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        port_is_one = False
    if not address.startswith(SCHEME) or not port_is_one or not parts.path.strip("/"):
        shown = address.rpartition("@")[2] if "@" in address else address
        raise RecipeError(
            "A study cannot be kept there",
            where=place,
            expected=f"{_WANTED}; without `storage` it is a journal beside the runs",
            found=shown,
        )
    if parts.password is not None or "password=" in parts.query:
        raise RecipeError(
            "The address holds a password, which would be stored with the campaign",
            where=place,
            expected=_WANTED,
            fix="Leave it out: it is taken from the variable PGPASSWORD or from the file ~/.pgpass.",
        )


def connect(address: str) -> Any:
    """Return Optuna's storage at an address.

    Raises:
        RecipeError: The extra `au-dist[postgres]` is not installed.
        StorageError: The database does not answer, or refuses.
    """
    try:
        import psycopg  # noqa: F401 - what the address needs below
    except ImportError as error:
        raise RecipeError(
            "A study in PostgreSQL needs a package that is not installed",
            where="storage",
            found=str(error),
            fix="pip install 'au-dist[postgres]'",
        ) from error
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    options = {
        "connect_timeout": SILENT_S,
        "keepalives_idle": SILENT_S,
        "tcp_user_timeout": 1000 * SILENT_S,
    }
    try:
        return RDBStorage(
            address.replace(SCHEME, "postgresql+psycopg://", 1),
            engine_kwargs={"pool_pre_ping": True, "connect_args": options},
        )
    except SQLAlchemyError as error:
        raise StorageError(
            "The database of the study does not answer, or refuses",
            where=address,
            found=_words(error),
            fix="Start it, or give user, host and database as it has them; a password is taken from PGPASSWORD or "
            "~/.pgpass.",
        ) from error


def is_away(error: BaseException) -> bool:
    """Return whether an error is that a database does not answer; what it refuses, it would refuse again."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import InterfaceError, OperationalError

    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, InterfaceError | OperationalError)


class Patient(Protocol):
    """Who waits for a database."""

    address: str | None

    def say(self, words: str) -> None:
        """Tell a person."""


_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound=Patient)


def patiently(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Have a method called again while its database is away; called twice, it must do what it does once.

    Raises:
        StorageError: The database is away for longer than `PATIENCE_S`.
    """

    @functools.wraps(method)
    def call(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        begun, pause = time.monotonic(), FIRST_S
        while True:
            try:
                result = method(self, *args, **kwargs)
            except Exception as error:
                if self.address is None or not is_away(error):
                    raise
                away_s = time.monotonic() - begun
                if away_s > PATIENCE_S:
                    raise StorageError(
                        f"The database of the study has not answered for {away_s:.0f} s",
                        where=self.address,
                        found=_words(error),
                        fix="The same command goes on when it is there again.",
                    ) from error
                if pause == FIRST_S:
                    self.say(f"the database of the study does not answer, it is asked again: {_words(error)}")
            else:
                if pause > FIRST_S:
                    self.say(f"the database of the study answers again, after {time.monotonic() - begun:.0f} s")
                return result
            time.sleep(pause)
            pause = min(2 * pause, LAST_S)

    return cast(Callable[Concatenate[_S, _P], _R], call)


def _words(error: BaseException) -> str:
    text = str(error.__cause__ or error)
    return " ".join(text.partition("\n(Background")[0].split())[:300]
