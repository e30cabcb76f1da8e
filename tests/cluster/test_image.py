"""The image that the nodes of a cluster run: read, not built."""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from au_dist.cluster.packing import refuse_secrets

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "cluster/Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = {
    canonicalize_name(name): number
    for name, number in (line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
}


def instructions() -> list[tuple[str, str]]:
    lines = [line for line in FILE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole)]


STEPS = instructions()
INSTALLS = [rest for name, rest in STEPS if name == "RUN" and "pip install" in rest]


def copied() -> list[str]:
    return [source for name, rest in STEPS if name == "COPY" for source in rest.split()[:-1]]


def test_its_python_is_one_that_the_package_is_for() -> None:
    (base,) = [rest for name, rest in STEPS if name == "FROM"]
    found = re.fullmatch(r"python:(\d+\.\d+)-slim-\w+", base)
    assert found, "a version of Python and of Debian, both by name"
    assert SpecifierSet(PROJECT["requires-python"]).contains(found[1])
    assert f"Programming Language :: Python :: {found[1]}" in PROJECT["classifiers"]


def test_versions_are_those_of_the_lock() -> None:
    assert len(INSTALLS) == 3
    assert all("--constraint requirements.lock" in rest for rest in INSTALLS[:-1])
    assert "pip install --no-deps " in INSTALLS[-1], "the package itself brings nothing that the lock does not say"
    assert "==" not in FILE.read_text()


def test_code_that_changes_makes_no_large_layer_anew() -> None:
    order = [rest for name, rest in STEPS if name in ("RUN", "COPY")]
    first_code = next(index for index, rest in enumerate(order) if "au_dist" in rest.split())
    assert [rest for rest in order[first_code:] if rest in INSTALLS] == INSTALLS[-1:]


def needed(names: Iterable[str], extras: Iterable[str]) -> set[str]:
    """Return the packages that some bring along on this machine, themselves with them."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in (*names, *(one for extra in extras for one in EXTRAS[extra]))]
    seen = set()
    while waiting:
        one = waiting.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in seen:
            continue
        seen.add(key)
        found.add(key[0])
        for text in requires(one.name) or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
                waiting.append(inner)
    return found


EXTRAS = PROJECT["optional-dependencies"]


@pytest.mark.skipif(version("torch") != LOCK["torch"], reason="other versions than those of the lock")
def test_the_lock_has_all_that_is_installed_and_cuda_with_it() -> None:
    extras = re.findall(r"x\['(\w+)'\]", FILE.read_text())
    assert set(extras) == set(EXTRAS) - {"dev"}
    packages = needed(PROJECT["dependencies"], extras)
    # Not pinned by `pip freeze`: the tools that install.
    assert packages - {"setuptools", "wheel", "pip"} <= set(LOCK)
    assert {"nvidia-cudnn-cu13", "nvidia-nccl-cu13", "triton"} <= packages


def test_what_it_copies_is_there_and_nothing_else_is_sent() -> None:
    assert not [source for source in copied() if not (ROOT / source).exists()]
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored[0] == "*"
    assert sorted(line[1:] for line in ignored if line.startswith("!")) == sorted(copied())
    # What the package is built from: its description, its licence, and the rooms that are links.
    links = [path.name for path in (ROOT / "au_dist").iterdir() if path.is_symlink()]
    assert {PROJECT["readme"], *PROJECT["license-files"], *links} <= set(copied())


def test_it_runs_as_nobody_in_particular() -> None:
    users = [rest for name, rest in STEPS if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), "by number, and not root"
    assert f"--uid {users[-1].split(':')[0]} " in INSTALLS[-1]
    after = [name for name, _ in STEPS[STEPS.index(("USER", users[-1])) :]]
    assert not {"RUN", "COPY"} & set(after)


def test_it_holds_no_credential() -> None:
    refuse_secrets([], {}, {}, {"Dockerfile": FILE.read_bytes()}, {})
    assert "ARG" not in {name for name, _ in STEPS}
