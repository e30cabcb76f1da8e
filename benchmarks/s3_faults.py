"""A store that is slow or fails: a proxy before an S3 server, for tests and benchmarks.

It passes requests on as they are, so signatures stay valid. What goes wrong may be changed while it runs.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

#: What a server that wants fewer requests says, and one that does not know the credentials any more.
_ERRORS = {
    503: ("Slow Down", "SlowDown", "Please reduce your request rate."),
    403: ("Forbidden", "ExpiredToken", "The provided token has expired."),
}


@dataclass
class Faults:
    """What goes wrong, from now on.

    Attributes:
        delay_s: Seconds that every request waits before it is passed on.
        refused: Share of the requests that are answered 503.
        late: Share of the requests that wait `late_s` more.
        late_s: How long these wait.
        away: Every connection is closed before an answer, as when the server is down.
        expired: Every request is answered 403, as when temporary credentials have expired.
        seen: Requests so far, by what was done with them.
    """

    delay_s: float = 0.0
    refused: float = 0.0
    late: float = 0.0
    late_s: float = 0.0
    away: bool = False
    expired: bool = False
    seen: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("passed", "refused", "late", "expired", "away"), 0)
    )


@contextlib.contextmanager
def before(endpoint: str, seed: int = 0) -> Iterator[tuple[str, Faults]]:
    """Run the proxy before a server for the length of a block.

    Args:
        endpoint: The server, ``http://host:port``.
        seed: Of the draws.

    Yields:
        The proxy's own endpoint, on the loopback address, and what goes wrong.
    """
    faults, draw = Faults(), random.Random(seed)
    host, port = endpoint.removeprefix("http://").rsplit(":", 1)
    loop, ready, place = asyncio.new_event_loop(), threading.Event(), []

    async def serve() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await _talk(reader, writer, host, int(port), faults, draw)
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=1 << 20)
        place.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            await server.serve_forever()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    task = loop.create_task(serve())
    thread = threading.Thread(target=run, name="faulty store", daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{place[0]}", faults
    finally:
        loop.call_soon_threadsafe(lambda: [other.cancel() for other in asyncio.all_tasks(loop)])
        thread.join(10)
        loop.close()


async def _talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    port: int,
    faults: Faults,
    draw: random.Random,
) -> None:
    """Serve one connection: its requests one after the other, answers as they come."""
    there, back = await asyncio.open_connection(host, port)
    answers = asyncio.ensure_future(_pump(there, writer))
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            kind, wait = _fate(faults, draw)
            faults.seen[kind] += 1
            await asyncio.sleep(wait)
            if kind == "away":
                return
            if kind in ("refused", "expired"):
                writer.write(_error(503 if kind == "refused" else 403, head.startswith(b"HEAD")))
                await writer.drain()
                return
            back.write(head)
            await _copy(reader, back, head)
    finally:
        answers.cancel()
        back.close()


def _fate(faults: Faults, draw: random.Random) -> tuple[str, float]:
    """Return what becomes of a request, and how long it waits."""
    if faults.away:
        return "away", 0.0
    if faults.expired:
        return "expired", faults.delay_s
    chance = draw.random()
    if chance < faults.refused:
        return "refused", faults.delay_s
    if chance < faults.refused + faults.late:
        return "late", faults.delay_s + faults.late_s
    return "passed", faults.delay_s


def _error(status: int, bare: bool) -> bytes:
    reason, code, message = _ERRORS[status]
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return (head if bare else head + body).encode()


async def _copy(reader: asyncio.StreamReader, back: asyncio.StreamWriter, head: bytes) -> None:
    """Pass a request's body on."""
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    left = int(fields.get(b"content-length", b"0"))
    chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
    while chunked:
        size = await reader.readuntil(b"\r\n")
        back.write(size + await reader.readexactly(int(size.split(b";")[0], 16) + 2))
        chunked = int(size.split(b";")[0], 16) > 0
    while left:
        data = await reader.read(min(left, 1 << 16))
        if not data:
            raise ConnectionError
        left -= len(data)
        back.write(data)
        await back.drain()
    await back.drain()


async def _pump(there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await there.read(1 << 18):
            writer.write(data)
            await writer.drain()
    writer.close()
