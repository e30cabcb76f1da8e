"""Proxies of the environment are for other machines."""

import os

import pytest

from au_dist.core.proxies import go_directly, is_here, proxy_of


@pytest.fixture(autouse=True)
def proxies(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("https_proxy", "proxy:3129")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://elsewhere:9000", "http://proxy:3128"),
        ("https://s3.eu-central-1.amazonaws.com", "http://proxy:3129"),
        ("http://127.0.0.1:8265", None),
        ("http://127.9.9.9", None),
        ("http://localhost:1", None),
        ("http://s3.localhost:1", None),
        ("http://[::1]:1", None),
        ("http://localhost.example.com", "http://proxy:3128"),
    ],
)
def test_this_machine_is_reached_directly(url, proxy):
    assert proxy_of(url) == proxy


@pytest.mark.parametrize("excepted", ["minio.lab", ".lab", "lab", "other,minio.lab", "minio.lab:9000", "*"])
def test_what_is_excepted_is_reached_directly(monkeypatch, excepted):
    monkeypatch.setenv("no_proxy", excepted)
    assert proxy_of("http://minio.lab:9000") is None


def test_others_are_told_and_what_was_excepted_stays(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "minio.lab")
    monkeypatch.delenv("no_proxy")
    go_directly(["169.254.169.254"])
    go_directly()
    told = os.environ["NO_PROXY"].split(",")
    assert told == os.environ["no_proxy"].split(",")
    assert told == ["minio.lab", "localhost", "127.0.0.1", "::1", "[::1]", "169.254.169.254"]


def test_nobody_is_told_anything_where_there_is_no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    go_directly()
    assert "NO_PROXY" not in os.environ


def test_this_machine_is_known_by_any_of_its_names():
    assert is_here("127.0.0.1")
    assert is_here("LOCALHOST.")
    assert not is_here("10.0.0.1")
