"""What tests share: the golden-file flag, one Ray for the whole session, a small set of shards."""

import ast
import ctypes
import functools
import gc
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from postgres_fixture import database, postgres  # noqa: F401 - fixtures
from s3_fixture import s3_store  # noqa: F401 - a fixture
from xdist.scheduler import LoadScopeScheduling

from au_dist.ingest.synthetic import ingest_synthetic
from au_dist.storage.store import Store, open_store
from au_dist.synthetic.clips import SynthSpec

GOLDEN = Path(__file__).parent / "golden"

# Until `pytest_collection_finish`: a fifth of what loading takes.
gc.disable()

_RAY = re.compile(r"\bmark\.ray\b")

#: Bytes that a test may leave behind before they are looked for.
MUCH_MEMORY = 32 << 20

#: A busy machine is no failure.
settings.register_profile("au-dist", deadline=None)
settings.load_profile("au-dist")


def pytest_configure(config: pytest.Config) -> None:
    """Set up torch where tests run: not in the process that hands them out to several."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import torch

    # Read when Triton is first imported, which DeepSpeed does: without a GPU its kernels are interpreted.
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"
    # Tensors are small here: threads would spend their time on waiting for each other.
    torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden instead of comparing with it")


class OneRay(LoadScopeScheduling):
    """One of several processes has all tests that start Ray; the others share the rest, file by file.

    Two Rays at once take up to 12 GiB.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return "ray" if test.partition("[")[0] in _starting_ray(file) else file


@functools.cache
def _starting_ray(file: str) -> frozenset[str]:
    """Return the tests of a file that are marked `ray`, or whose file is."""
    tree = ast.parse((GOLDEN.parents[1] / file).read_text())
    tests = {node.name: node.decorator_list for node in tree.body if isinstance(node, ast.FunctionDef)}
    marks = [node.value for node in tree.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)]
    return frozenset(name for name, own in tests.items() if _RAY.search(" ".join(map(ast.unparse, [*own, *marks]))))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """See that no mark is missed that the scheduler, which has only names, reads out of the files."""
    for item in items:
        file, _, test = item.nodeid.partition("::")
        if (item.get_closest_marker("ray") is not None) != (test.partition("[")[0] in _starting_ray(file)):
            raise pytest.UsageError(f"{item.nodeid}: write the mark `ray` as a decorator or in `pytestmark`")


def pytest_collection_finish() -> None:
    """What was loaded until here stays: it is never looked through for what may go."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Libraries that look at the end whether all was let go find nothing then."""
    gc.unfreeze()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return OneRay(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a committed one; `--update-golden` rewrites it."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.write_text(text)
        assert file.exists(), f"{file} is missing: run pytest --update-golden and look at what it wrote"
        assert text == file.read_text()

    return compare


@pytest.fixture(scope="session")
def spec() -> SynthSpec:
    return SynthSpec(subjects=8, videos_per_subject=1, frames_per_video=16, clip_frames=4, size=32, stride=10)


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory, spec: SynthSpec) -> Store:
    """A small set of synthetic shards; do not change it."""
    store = open_store(tmp_path_factory.mktemp("shards"))
    ingest_synthetic(spec, store)
    return store


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """One Ray in this process for all tests that need one."""
    from au_dist.runs.session import ray_session

    with ray_session():
        yield


def _own_memory() -> int:
    """Bytes of this process that are no file's."""
    resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def _let_go(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test with Ray, let go of actors that cycles of references keep: a failed run's controller, say.

    And of what this process has freed, which the C library keeps: after a test that took much of it, too.
    """
    before = _own_memory()
    yield
    if ray := request.node.get_closest_marker("ray"):
        gc.collect()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back and (ray or _own_memory() - before > MUCH_MEMORY):
        give_back(0)


@pytest.fixture
def own_folder(tmp_path: Path, shards: Store) -> Path:
    """A folder to give commands in: with shards, and with files of the user's own that are named like libraries."""
    folder = tmp_path / "own"
    shutil.copytree(shards.uri, folder / "shards")
    for name in ("cluster", "tuning", "numpy", "ray", "torch", "random_module"):
        (folder / f"{name}.py").write_text(f"raise RuntimeError('the user\\'s own {name}.py was imported')\n")
    return folder


@pytest.fixture
def joined(ray_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands started here join the Ray of the tests."""
    import ray

    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
