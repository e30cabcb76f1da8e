"""Imports go downwards only, each heavy library has one door, and nothing heavy is imported for --help."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = [
    {"errors", "schema", "facs", "seeds", "protocol"},
    {"failures", "hedge", "config_run"},
    {"config", "storage", "ranged"},
    {"shards", "recipes"},
    {"shard_writer"},
    {"ingest", "data", "model", "dist", "metrics"},
    {"checkpoint"},
    {"train"},
    {"jobs"},
    {"tuning", "cluster"},
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

DOORS = {
    "deepspeed": {"au_dist/dist/deepspeed_engine.py"},
    "torch.distributed": {"au_dist/dist/collectives.py", "au_dist/dist/deepspeed_engine.py"},
    "ray.data": {"au_dist/data/pipeline.py", "au_dist/jobs/train.py"},
    "ray.tune": {"tuning/"},
    "optuna": {"tuning/"},
    "s3fs": {"au_dist/storage.py"},
    "pyarrow.fs": {"au_dist/storage.py"},
    "av": {"au_dist/ingest/"},
    "onnxruntime": {"au_dist/ingest/"},
    "typer": {"au_dist/cli/"},
}

FILES = sorted(path for package in ("au_dist", "cluster", "tuning") for path in (ROOT / package).rglob("*.py"))


def room_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] in ("cluster", "tuning"):
        return parts[0]
    return parts[1] if parts[0] == "au_dist" and len(parts) > 1 else None


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards_only(path):
    mine = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if mine not in LEVEL:
        return
    for module in imports(path):
        theirs = room_of(module)
        if theirs in LEVEL and theirs != mine:
            assert LEVEL[theirs] < LEVEL[mine], f"{mine} imports {module}"
            assert mine != "cluster" or theirs == "errors", f"cluster imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_have_one_door(path):
    name = str(path.relative_to(ROOT))
    for module in imports(path):
        for library, doors in DOORS.items():
            if module == library or module.startswith(f"{library}."):
                assert any(name.startswith(door) for door in doors), f"{name} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("arguments", [["-c", "import au_dist"], ["-m", "au_dist", "--help"]])
def test_nothing_heavy_is_imported_for_help(arguments):
    run = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in run.stderr.splitlines()}
    assert not loaded & {"torch", "ray", "deepspeed", "pyarrow", "numpy", "pydantic", "optuna"}
