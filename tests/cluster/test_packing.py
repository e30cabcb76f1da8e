"""What travels with a job, and what never may."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.cluster.jobs import code_of, whole_lines
from au_dist.cluster.packing import MAX_FILES_BYTES, packed, refuse_secrets
from au_dist.core.errors import ClusterError

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCY"


def test_paths_texts_and_bytes_are_packed(tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text("seed: 1")
    assert packed({"recipe.yaml": path, "a/b.txt": "ü", "c": b"\0"}) == {
        "recipe.yaml": b"seed: 1",
        "a/b.txt": "ü".encode(),
        "c": b"\0",
    }


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../b", ""])
def test_a_name_outside_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="impossible name"):
        packed({name: "x"})


def test_the_limit_is_exact_and_counts_everything() -> None:
    assert packed({"a": bytes(MAX_FILES_BYTES - 1), "b": b"1"})
    with pytest.raises(ClusterError, match=r"too large \(a, 1,048,575 bytes\).*Found 1,048,577 bytes"):
        packed({"a": bytes(MAX_FILES_BYTES - 1), "b": b"12"})


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with path.open("wb") as file:
        file.truncate(MAX_FILES_BYTES * 40)
    with pytest.raises(ClusterError, match="too large"):
        packed({"video.mp4": path})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"nowhere\.yaml"):
        packed({"recipe.yaml": tmp_path / "nowhere.yaml"})


SURROUNDINGS = {"AWS_SECRET_ACCESS_KEY": SECRET, "HOME": "/home/somebody", "SHORT_TOKEN": "abc"}


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"entrypoint": ["python", "-m", "x", f"key={SECRET}"]}, "the command.*AWS_SECRET_ACCESS_KEY"),
        ({"env": {"AWS_SECRET_ACCESS_KEY": "x"}}, "the variable AWS_SECRET_ACCESS_KEY"),
        ({"env": {"HF_TOKEN": "x"}}, "the variable HF_TOKEN"),
        ({"env": {"INNOCENT": SECRET}}, "the variable INNOCENT"),
        ({"metadata": {"note": SECRET}}, "the metadata note"),
        ({"contents": {"recipe.yaml": f"a: {SECRET}".encode()}}, "the file recipe.yaml"),
        ({"entrypoint": ["env", "AWS_SESSION_TOKEN=other", "python"]}, "the setting of an AWS secret"),
        ({"contents": {"c.yaml": b"study: postgresql://me:pass@host/db"}}, "a URI with a password"),
    ],
)
def test_a_credential_is_refused_and_not_shown(sent: dict[str, dict], words: str) -> None:
    parts = {"entrypoint": [], "env": {}, "metadata": {}, "contents": {}, **sent}
    with pytest.raises(ClusterError, match=words) as caught:
        refuse_secrets(**parts, surroundings=SURROUNDINGS)
    assert SECRET not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_what_only_looks_like_one_passes() -> None:
    refuse_secrets(
        ["python", "-m", "au_dist", "train", "s3://bucket/abc", "/home/somebody"],
        {
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "TOKENIZERS_PARALLELISM": "0",
            "RAY_AUTH_TOKEN_PATH": "/t",
        },
        {"campaign": "postgresql://me:$PGPASSWORD@host/db"},
        {"recipe.yaml": b"tokens: 4\nat: a@b.c"},
        SURROUNDINGS,
    )


@pytest.mark.parametrize(
    ("status", "driver", "code"),
    [("SUCCEEDED", 0, 0), ("SUCCEEDED", None, 0), ("FAILED", 7, 7), ("FAILED", 2, 2), ("FAILED", -9, 137),
     ("FAILED", None, 1), ("STOPPED", None, 143), ("STOPPED", 0, 143)],
)  # fmt: skip
def test_exit_codes_are_those_of_a_shell(status: str, driver: int | None, code: int) -> None:
    assert code_of(status, driver) == code


@given(text=st.text("ab\n\r ", max_size=30), cuts=st.lists(st.integers(0, 30), max_size=6))
def test_lines_do_not_depend_on_where_the_pieces_are_cut(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    expected = text.split("\n")
    assert list(whole_lines(pieces)) == (expected if expected[-1] else expected[:-1])
