"""Rooms import downwards only, each heavy library has few doors, and nothing heavy is imported for --help."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: The rooms, from below. A room imports what stands below it; those of one line know nothing of each other.
LAYERS = [
    {"core": "errors, clips, action units, addressed seeds, metrics: what everything may know"},
    {
        "compat": "Ray and DeepSpeed: every private name, with its reason; tasks that may be lost",
        "config": "sections of recipes that no method owns; sections as files; values by dotted path",
    },
    {"storage": "one door to object storage: folders and buckets, retries, hedged and ranged reads"},
    {"shards": "the format on disk, its manifest, its writer"},
    {
        "video": "videos and pictures to frames, faces, tracks, crops, clips",
        "data": "splits, order, views, batches, the pipeline of Ray Data",
        "model": "encoders, branches and graph, memory, losses; no ranks, of files only an encoder's weights",
        "dist": "ranks, collectives, the DeepSpeed engine",
    },
    {"corpora": "one importer a corpus, label files, what is published"},
    {
        "synthetic": "rendered faces that action units move",
        "methods": "what is learnt, a file a method; `learners`: its modules, how they are judged",
    },
    {"recipes": "what one run is: its sections and its method"},
    {"ingest": "recordings to shards", "train": "one run: plan, loop, checkpoints, ledger, record; no Ray"},
    {"runs": "where rooms meet to train: driver, workers, host, elasticity, preview"},
    {"scoring": "evaluation, report, models for inference, prediction", "checks": "doctor, label checks, order"},
    {"tuning": "search campaigns", "cluster": "machines and jobs; knows nothing of training"},
    {"cli": "verbs; the only print and exit"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

#: What a room knows of ours, where that is less than all below it.
ONLY = {"cluster": {"core", "compat"}}

DOORS = {
    "deepspeed": {"au_dist/dist/deepspeed_engine.py", "au_dist/compat/deepspeed.py"},
    "torch.distributed": {"au_dist/dist/collectives.py", "au_dist/dist/deepspeed_engine.py"},
    "ray.data": {"au_dist/data/pipeline.py", "au_dist/compat/ray_data.py"},
    "ray.tune": {"tuning/"},
    "optuna": {"tuning/"},
    "s3fs": {"au_dist/storage/"},
    "pyarrow.fs": {"au_dist/storage/"},
    "av": {"au_dist/video/", "au_dist/synthetic/film.py"},
    "onnxruntime": {"au_dist/video/"},
    "typer": {"au_dist/cli/"},
}

#: Libraries that a room, or a module, reaches by no import, its own or that of what it imports.
NEVER = {
    "ray": {
        "config",
        "storage",
        "shards",
        "video",
        "corpora",
        "model",
        "dist",
        "synthetic",
        "methods",
        "recipes",
        "train",
    },
    "torch.distributed": {"model"},
    # It takes seconds to load and most of a process's memory: tasks that read, and the coordinator, do without.
    "torch": {
        "config",
        "storage",
        "shards",
        "video",
        "corpora",
        "ingest",
        "synthetic",
        "cluster",
        "au_dist.data.pipeline",
        "au_dist.runs.coordinator",
    },
}

#: Folders at the top that are rooms of the package, by links (docs/decisions/0011-rooms.md).
OUTSIDE = ("cluster", "tuning")
FILES = sorted(path for folder in ("au_dist", *OUTSIDE) for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(module: str) -> str | None:
    """Return the room of a module of ours; None for the package itself and for other people's."""
    parts = module.split(".")
    return parts[1] if parts[0] == "au_dist" and len(parts) > 1 else None


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "au_dist" else ("au_dist", *parts))


@functools.cache
def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)} has a relative import"
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def test_every_room_is_known_and_there():
    folders = {path.name for path in (ROOT / "au_dist").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(LEVEL)


@pytest.mark.parametrize("folder", OUTSIDE)
def test_folders_at_the_top_are_rooms_by_links(folder):
    assert (ROOT / "au_dist" / folder).resolve() == ROOT / folder


def test_imports_go_downwards_only():
    places = {path: room_of(module_of(path)) for path in FILES}
    for path, mine in places.items():
        if mine in ("__init__", "__main__"):
            continue
        for module in imports(path):
            words = f"{name_of(path)} imports {module}"
            assert module.split(".")[0] not in OUTSIDE, f"{words}: it is au_dist.{module}"
            theirs = room_of(module)
            if theirs is None or theirs == mine:
                continue
            assert theirs in LEVEL, f"{words}, of a room that is not known"
            assert LEVEL[theirs] < LEVEL[mine], words
            assert theirs in ONLY.get(mine, LEVEL), words


def reached(known: dict[str, list[str]], module: str) -> set[str]:
    """Return what is imported for a module, by it or by what it imports."""
    found, waiting = set[str](), [module]
    while waiting:
        for name in known.get(waiting.pop(), []):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


@pytest.mark.parametrize("library", NEVER)
def test_rooms_reach_nothing_that_they_say_they_do_not_know(library):
    known = {module_of(path).removesuffix(".__init__"): imports(path) for path in FILES}
    for module in known:
        if {module, room_of(module)} & NEVER[library]:
            taken = {name for name in reached(known, module) if name == library or name.startswith(f"{library}.")}
            assert not taken, f"{module} reaches {sorted(taken)}"


def test_no_file_of_a_room_is_tied_to_none_of_the_others():
    """Two files of a room are tied where one imports the other, or a third needs both."""
    known = {module_of(path): path for path in FILES if path.stem not in ("__init__", "__main__")}
    tied = set()
    for name, path in known.items():
        used = {name, *(module for module in imports(path) if module in known)}
        for room in LEVEL:
            mine = {module for module in used if room_of(module) == room}
            tied |= mine if len(mine) > 1 else set()
    # Verbs meet in `__init__`; what `compat` has in common is that it is other people's.
    assert not {name for name in set(known) - tied if room_of(name) not in ("cli", "compat")}


def test_heavy_libraries_have_one_door():
    for path, module in [(file, module) for file in FILES for module in imports(file)]:
        for library, doors in DOORS.items():
            if module == library or module.startswith(f"{library}."):
                assert any(name_of(path).startswith(door) for door in doors), f"{name_of(path)} imports {module}"


def test_files_stay_small():
    assert not [name_of(path) for path in FILES if len(path.read_text().splitlines()) > 400]


def loaded(*arguments: str) -> set[str]:
    """Return the modules that Python loads for a command."""
    run = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}


@pytest.mark.parametrize("arguments", [["-c", "import au_dist"], ["-m", "au_dist", "--help"]])
def test_nothing_heavy_is_imported_for_help(arguments):
    heavy = {"torch", "ray", "deepspeed", "pyarrow", "numpy", "pydantic", "optuna"}
    assert not {module.split(".")[0] for module in loaded(*arguments)} & heavy


DRIVER = ("runs.train", "runs.coordinator", "runs.elastic", "runs.listing", "runs.preview", "compat.ray_ranks")
CAMPAIGN = ("tuning.trial", "tuning.run", "tuning.search", "tuning.confirm", "tuning.status", "tuning.forecast")


@pytest.mark.slow
def test_only_who_trains_or_scores_loads_torch_and_nobody_its_compiler_before_it_is_needed():
    """torch is half a gigabyte and seconds in each process; torchvision loads its compiler, a third of a start.

    What is looked at before Ray starts must not import it: it reads only then that a cluster asks for a token.
    """
    script = "; ".join(
        (
            "import sys",
            "import au_dist.tuning.run",
            "print('ray' in sys.modules)",
            f"import {', '.join(f'au_dist.{module}' for module in (*DRIVER, *CAMPAIGN))}",
            "print('torch' in sys.modules)",
            "import au_dist.runs.worker",
            "print(sorted(sys.modules.keys() & {'torch', 'torchvision', 'torch._dynamo', 'deepspeed'}))",
        )
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["False", "False", "['torch']"]


def house() -> str:
    """Return the rooms as CONTRIBUTING shows them, from above."""
    lines = []
    for rooms in reversed(LAYERS):
        lines += [f"{room + '/':<12}{what}" for room, what in rooms.items()]
        lines.append("")
    return "\n".join(lines).rstrip()


def test_contributing_shows_the_rooms(request):
    """`pytest --update-golden` writes them."""
    page, begin, end = ROOT / "CONTRIBUTING.md", "<!-- rooms: from tests/test_architecture.py -->\n", "<!-- end -->"
    text = page.read_text()
    wanted = f"{begin}```\n{house()}\n```\n{end}"
    made = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: wanted, text, flags=re.DOTALL)
    if request.config.getoption("--update-golden"):
        page.write_text(made)
    assert wanted in made
    assert page.read_text() == made
