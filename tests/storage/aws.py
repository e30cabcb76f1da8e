"""What an AWS machine has around it, on loopback: metadata and container services, STS, an S3 that notes who asks.

It keeps objects and answers as S3 does in the few ways that the clients need; signatures are not checked, only noted.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

ROLE = "role-of-the-machine"

#: A bucket that takes requests without a signature.
PUBLIC = "public"


class Aws:
    """What was asked, and what is answered from now on."""

    def __init__(self) -> None:
        self.url = ""
        self.paths: list[str] = []
        self.signed: list[tuple[str | None, str | None, str | None]] = []  # key, region, token
        self.lifetime_s = 6 * 3600
        self.given = 0
        self.refused: set[str] = set()
        self.broken = False
        self.objects: dict[str, bytes] = {}

    def keys(self, kind: str) -> dict[str, str]:
        """Return temporary credentials, new ones each time."""
        self.given += 1
        end = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        return {
            "Code": "Success",
            "AccessKeyId": f"{kind}{self.given}",
            "SecretAccessKey": "secret",
            "Token": f"token-{kind}{self.given}",
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@contextmanager
def running() -> Iterator[Aws]:
    """Run it for the length of a block."""
    aws = Aws()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"aws": aws}))
    server.daemon_threads = True
    aws.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield aws
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    aws: Aws

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes | str = b"", **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_any(self) -> None:
        place = urlsplit(self.path)  # a whole URL where this is asked as a proxy
        path, query = unquote(place.path), parse_qs(place.query, keep_blank_values=True)
        body = self.body()
        self.aws.paths.append(self.path)
        if path.startswith("/latest/"):
            return self.metadata(path)
        if path == "/container":
            if self.aws.broken or self.headers["Authorization"] != "of the container":
                return self.answer(500)
            return self.answer(200, json.dumps(self.aws.keys("CONTAINER")))
        if self.command == "POST" and path == "/":
            return self.sts(parse_qs(body.decode()))
        return self.s3(path.lstrip("/"), query, body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

    def body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        if "aws-chunked" in (self.headers.get("Content-Encoding") or ""):
            size = int(data.split(b";")[0].split(b"\r\n")[0], 16)
            data = data.split(b"\r\n", 1)[1][:size]
        return data

    def metadata(self, path: str) -> None:
        if self.command == "PUT":
            return self.answer(200, "of this session", X_aws_ec2_metadata_token_ttl_seconds="21600")
        if self.headers["X-aws-ec2-metadata-token"] != "of this session":
            return self.answer(401)  # as machines answer on which only the second version is allowed
        if path.endswith("security-credentials/"):
            return self.answer(200, ROLE)
        if path.endswith(ROLE):
            return self.answer(200, json.dumps(self.aws.keys("MACHINE")))
        if "availability-zone" in path:
            return self.answer(200, "ap-south-1b")
        return self.answer(404)

    def sts(self, asked: dict[str, list[str]]) -> None:
        action = asked["Action"][0]
        if action == "AssumeRoleWithWebIdentity" and asked["WebIdentityToken"] != ["of the pod"]:
            return self.answer(400, "<Error><Code>InvalidIdentityToken</Code><Message>Not of the pod</Message></Error>")
        keys = self.aws.keys("WEB" if "Web" in action else "ASSUMED")
        self.answer(
            200,
            f"<{action}Response><{action}Result><Credentials><AccessKeyId>{keys['AccessKeyId']}</AccessKeyId>"
            f"<SecretAccessKey>secret</SecretAccessKey><SessionToken>{keys['Token']}</SessionToken>"
            f"<Expiration>{keys['Expiration']}</Expiration></Credentials><AssumedRoleUser><Arn>a</Arn>"
            f"<AssumedRoleId>b</AssumedRoleId></AssumedRoleUser></{action}Result></{action}Response>",
            Content_Type="text/xml",
        )

    def s3(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        found = re.search(r"Credential=([^/]+)/\d+/([^/]+)/", self.headers.get("Authorization") or "")
        key, region = found.groups() if found else (None, None)
        self.aws.signed.append((key, region, self.headers.get("X-Amz-Security-Token")))
        if (key is None and not path.startswith(PUBLIC)) or key in self.aws.refused:
            return self.answer(403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
        objects = self.aws.objects
        if "list-type" in query:
            bucket, prefix = path.strip("/"), query.get("prefix", [""])[0]
            names = [name for name in sorted(objects) if name.startswith(f"{bucket}/{prefix}")]
            rows = "".join(
                f"<Contents><Key>{name.partition('/')[2]}</Key><Size>{len(objects[name])}</Size>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for name in names
            )
            return self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>")
        if self.command == "PUT":
            objects[path] = body
            return self.answer(200, ETag='"0"')
        if path not in objects:
            return self.answer(404, "<Error><Code>NoSuchKey</Code><Message>None</Message></Error>")
        data, span = objects[path], re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if span:
            begin, end = int(span[1]), min(int(span[2]), len(data) - 1)
            where = f"bytes {begin}-{end}/{len(data)}"
            return self.answer(206, data[begin : end + 1], Content_Range=where, ETag='"0"')
        return self.answer(200, data, ETag='"0"')
