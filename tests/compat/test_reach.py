"""An address at which no Ray is, is said within seconds, and where it comes from."""

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest

from au_dist.compat import reach as module
from au_dist.compat.reach import reach
from au_dist.core.errors import ClusterError


@contextmanager
def mute():
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def nobody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield port


@contextmanager
def website(status=200, body=b"<html>"):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def other_grpc():
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(0).wait()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "http://", "ray://"])
@pytest.mark.parametrize(
    ("there", "words"),
    [(nobody, "does not answer"), (mute, "no Ray cluster|does not answer"), (website, "no Ray cluster")],
)
def test_what_is_no_ray_is_said_soon(monkeypatch, scheme, there, words):
    monkeypatch.setattr(module, "LIMIT_S", 2.0)
    monkeypatch.setattr(module, "_KNOCK_S", 1.0)
    begun = time.monotonic()
    with there() as port, pytest.raises(ClusterError, match=words) as caught:
        reach(f"{scheme}127.0.0.1:{port}", "the last cluster's file")
    assert time.monotonic() - begun < 4
    assert f"{scheme}127.0.0.1:{port}, from the last cluster's file" in str(caught.value)


@pytest.mark.parametrize("status", [404, 500, 502])
def test_a_web_server_that_knows_nothing_of_ray_is_none(status):
    with website(status) as port, pytest.raises(ClusterError, match=f"no Ray cluster.*status {status}"):
        reach(f"http://127.0.0.1:{port}", "x")


def test_another_service_of_the_same_protocol_is_no_head():
    with other_grpc() as port, pytest.raises(ClusterError, match="another port of a Ray cluster"):
        reach(f"127.0.0.1:{port}", "x")


@pytest.mark.parametrize("status", [401, 403])
def test_who_wants_a_token_first_may_be_one(status):
    with website(status) as port:
        reach(f"http://127.0.0.1:{port}", "x")


def test_a_dashboard_is_known_by_its_version():
    with website(body=b'{"version": "4", "ray_version": "2.60.0"}') as port:
        reach(f"http://127.0.0.1:{port}/", "x")


@pytest.mark.parametrize("address", ["head", "head:port", "redis://head:1", "http://:1", "head:99999"])
def test_what_is_no_address_is_said(address):
    with pytest.raises(ClusterError, match="no address of a cluster"):
        reach(address, "x")


def test_a_name_that_is_looked_up_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "LIMIT_S", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    with pytest.raises(ClusterError, match=r"no answer in 0 s"):
        reach("somewhere:6379", "x")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "variable", "address"),
    [
        ("train", "RAY_ADDRESS", "192.0.2.99:6379"),
        ("train", "RAY_ADDRESS", "http://192.0.2.99:8265"),
        ("jobs", "RAY_ADDRESS", "http://192.0.2.99:8265"),
        ("jobs", "RAY_API_SERVER_ADDRESS", "192.0.2.99:6379"),
        ("jobs", "--address", "http://192.0.2.99:8265"),
    ],
)
def test_a_command_says_so_too(tmp_path, shards, verb, variable, address):
    (tmp_path / "recipe.yaml").write_text(f"name: x\nshards: {shards.uri}\nruns: {tmp_path}/runs\nmethod: aunce\n")
    command = [sys.executable, "-m", "au_dist", verb, *(["recipe.yaml"] if verb == "train" else [])]
    environment = {n: t for n, t in os.environ.items() if n not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    environment["AU_DIST_HOME"] = str(tmp_path)
    if variable.startswith("--"):
        command += [variable, address]
    else:
        environment[variable] = address
    begun = time.monotonic()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert f"{address}, from {variable}" in " ".join(done.stderr.split())
    assert time.monotonic() - begun < 30  # most of it imports on a busy machine
