"""What the documents promise exists: commands, options, keys of recipes, names in the code, files."""

import ast
import dataclasses
import functools
import re
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml

from au_dist.cli import app
from au_dist.cli.sending import VERBS
from au_dist.config.paths import leaves, section_in
from au_dist.config.renamed import RENAMED, path_now
from au_dist.corpora.catalogue import CORPORA
from au_dist.recipes.files import load_recipe
from au_dist.recipes.recipe import Recipe
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.space import parse_space
from au_dist.video.video_spec import VideoSpec

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted(
    path
    for folder in ("au_dist", "cluster", "tuning", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
)

#: Folders whose files are named with their path.
FOLDERS = ("au_dist", "benchmarks", "cluster", "docs", "examples", "tests", "tuning")


def command(words: list[str]):
    """Return the click command that words lead to, and the words that are left."""
    found = typer.main.get_command(app)
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    return found


def commands(text: str) -> list[str]:
    """Return what follows `au-dist` in code blocks and inline code, without comments and explanations."""
    code = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = [line for block in code for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", prose)
    parts = [part.strip() for line in lines for part in re.split(r"&&|·", re.split(r"\s{3,}|\s#", line.strip())[0])]
    return [part.removeprefix("au-dist ") for part in parts if part.startswith("au-dist ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    for line in commands(page.read_text()):
        for verb in line.split()[-1].split("|") if "|" in line else [""]:
            words = [*line.split()[:-1], verb] if verb else line.split()
            known = [command(words)]
            assert not hasattr(known[0], "commands") or not words, f"au-dist {line}: {words}"
            if line.startswith("submit "):
                known += [command(words[k:]) for k, word in enumerate(words) if word in VERBS][:1]
            parameters = [parameter for one in known for parameter in one.params]
            options = {option for parameter in parameters for option in parameter.opts} | {"--debug", "--help"}
            for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", re.sub("'[^']*'", "", line)):
                assert option in options, f"{option} in: au-dist {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("path", sorted((ROOT / "examples/campaigns").glob("*.yaml")), ids=lambda path: path.name)
def test_example_campaigns_parse(path):
    assert load_campaign(path, []).trials > 0


#: What stands beside a measurement: since when it is there.
DATED = re.compile(r"\bcommit ([0-9a-f]{7}), (20\d\d-\d\d-\d\d)|\bcommit not recorded")

#: Lines between a benchmark's name and its date, at most.
NEAR = 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_benchmarks_that_are_named_exist_and_what_they_measured_is_dated(page):
    lines = page.read_text().splitlines()
    dated = [number for number, line in enumerate(lines) if DATED.search(line)]
    for number, line in enumerate(lines):
        for name in re.findall(r"\bbenchmarks/(\w+\.py)", line):
            assert (ROOT / "benchmarks" / name).exists(), f"{page.name}: {name}"
            assert any(abs(number - other) <= NEAR for other in dated), f"{page.name}, line {number + 1}: {name}"


def test_the_commits_beside_measurements_are_of_their_dates():
    found = {pair for page in PAGES for pair in DATED.findall(page.read_text()) if pair[0]}
    assert found
    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("no history here")
    assert {(name, git("show", "--no-patch", "--format=%as", name)) for name, _ in found} == found


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def test_the_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text())) <= targets


def test_ci_runs_the_readmes_test_command():
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-lowest.lock"])
def test_the_locks_hold_names_and_versions_only(name):
    for line in (ROOT / name).read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!-]*", line)


def test_the_cluster_file_holds_no_hyperparameter():
    text = (ROOT / "ray_config.yaml").read_text()
    assert "temperature" not in text
    assert yaml.safe_load(text)["cluster_name"]


def code(text: str) -> list[str]:
    """Return what a page shows as code: blocks and inline."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    return blocks + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def rows(text: str) -> list[list[str]]:
    """Return the cells of the lines of a page's tables."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def shown(default: object) -> str:
    """Return how a table shows a default value: nothing where there is none."""
    return "" if default is None else str(default)


@pytest.mark.parametrize(("page", "verb"), [("ingest_video.md", ["ingest", "video"]), ("predict.md", ["predict"])])
def test_tables_of_options_are_those_of_the_verb(page, verb):
    """Each option of the verb is in a table with its default, and no other is named anywhere on the page."""
    text = (ROOT / "docs" / page).read_text()
    params = [(one, (*one.opts, *one.secondary_opts)) for one in command(list(verb)).params]
    options = {name: one for one, names in params for name in names if name.startswith("--")}
    named = {name for part in code(text) for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*", part)}
    assert named <= set(options)
    tables: dict[str, str | None] = {}
    for cells in rows(text.partition("## Options\n")[2]):
        names = re.findall(r"`(--[a-z-]+)`", cells[0])
        tables |= {name: cells[1].strip("`") if len(names) == 1 else None for name in names}
    assert set(tables) == set(options) - {"--help"}
    for name, default in tables.items():
        if default is not None:
            assert default == shown(options[name].default), name


def test_what_python_alone_may_say_of_videos_is_no_option():
    text = (ROOT / "docs/ingest_video.md").read_text()
    fields = {field.name: field.default for field in dataclasses.fields(VideoSpec)}
    options = {one.name for one in command(["ingest", "video"]).params}
    table = {cells[0].strip("`"): cells[1] for cells in rows(text.partition("From Python only")[2])}
    table = {name: default for name, default in table.items() if name in fields}
    assert table == {name: shown(default) for name, default in fields.items() if name not in options}
    assert f"this size: {CORPORA['video'].detect_side} when absent ({CORPORA['disfa'].detect_side} " in text
    said = (ROOT / "docs/predict.md").read_text().partition("said from Python only")[2].partition("The command uses")[0]
    asked = {one.name for one in command(["predict"]).params}
    assert set(re.findall(r"`(\w+)`", said)) == set(fields) - {"clip_frames"} - asked


def test_options_in_prose_exist_somewhere():
    """Options that stand without their command: of a verb, the S3 server, a benchmark, the demo, pytest."""

    def all_of(command) -> set[str]:
        own = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        return own.union(*(all_of(inner) for inner in getattr(command, "commands", {}).values()))

    folders = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "cluster/local_s3").glob("*.py")]
    programs = [*folders, ROOT / "examples/demo.py", ROOT / "tests/conftest.py"]
    written = {name for path in programs for name in re.findall(r'"(--[a-z][a-z0-9-]*)"', path.read_text())}
    known = all_of(typer.main.get_command(app)) | written | {"--debug", "--help"}
    for page in PAGES:
        for line in "\n".join(code(page.read_text())).splitlines():
            if not re.match(r"\s*(ray|pip|git|scancel|docker|kubectl) ", line):  # other people's programs
                found = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", re.sub("'[^']*'", "", line))  # and their options
                assert set(found) <= known, f"{page.name}: {line}"


def keys(text: str) -> list[str]:
    """Return what stands in code as a key of a recipe: its section, a dot, and more."""
    now = [name for name, field in Recipe.model_fields.items() if section_in(field.annotation)]
    sections = "|".join({*now, *(before.partition(".")[0] for before in RENAMED)})
    pattern = rf"(?<![\w./-])(?:recipe\.)?((?:{sections})(?:\.[a-z]\w*)+)(?![\w/(])"
    return [key for part in code(text) for key in re.findall(pattern, part)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_of_recipes_exist(page):
    """A key that had another name once is on a page only with the name of now behind an arrow; old changes stay."""
    known = set(leaves(Recipe))
    known |= {".".join(key.split(".")[:depth]) for key in known for depth in range(1, key.count(".") + 1)}
    text = page.read_text()
    for key in keys(text):
        now = path_now(key)
        assert now in known, key
        if now != key and page.name != "CHANGELOG.md":
            assert re.search(rf"`{re.escape(key)}`\s*→\s*`{re.escape(now)}`", text), f"{key} is called {now} now"


def test_the_changes_name_every_key_that_was_renamed():
    text = (ROOT / "CHANGELOG.md").read_text()
    for before in RENAMED:
        shown = f"keep.{before.partition('.')[2]}" if before.startswith("checkpoint.") else before
        assert re.search(rf"`{shown}`\s*→\s*`{path_now(before)}`", text), before


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def names_in(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Return what a module or a class defines, names that it assigns and fields that it declares included."""
    found: dict[str, ast.stmt] = {}
    for part in body:
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            found[part.name] = part
        elif isinstance(part, ast.Assign | ast.AnnAssign):
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            found |= {name.id: part for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(part, ast.If | ast.Try):
            found |= names_in(part.body)
    return found


def is_there(name: str) -> bool:
    """Return whether a dotted name of ours is a package, a module, or what a module defines; nothing is imported."""
    place, parts = ROOT, name.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    if parts and (place / f"{parts[0]}.py").is_file():
        place = place / f"{parts.pop(0)}.py"
    elif not parts:
        return True
    else:
        place /= "__init__.py"
    body = tree_of(place).body if place.is_file() else []
    while parts:
        found = names_in(body).get(parts.pop(0))
        if found is None:
            return False
        body = getattr(found, "body", [])
    return True


OURS = r"au_dist(?:\.\w+)+"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_the_code_are_there(page):
    text = page.read_text()
    named = {name for part in code(text) for name in re.findall(rf"(?<![\w./]){OURS}", part)}
    assert not {name for name in named if not is_there(name)}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("au_dist"):
                assert all(is_there(f"{node.module}.{alias.name}") for alias in node.names), node.module


def test_names_in_explanations_of_the_code_are_there():
    """Docstrings and comments: modules, functions, pages that they refer to."""
    for path in SOURCES:
        text = path.read_text()
        named = set(re.findall(rf"`({OURS})`", text))
        assert not {name for name in named if not is_there(name)}, path
        assert not [file for file in files_named(text) if not (ROOT / file).exists()], path


def files_named(text: str) -> set[str]:
    """Return files of ours that a text names by their path."""
    ends = "cfg|json|lock|md|png|py|toml|yaml"
    return set(re.findall(rf"(?<![\w./-])((?:{'|'.join(FOLDERS)})/[\w./+-]+\.(?:{ends}))\b", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_are_where_pages_say(page):
    """With the path from the top; Python files also from au_dist/, such as `train/plan.py`."""
    text = page.read_text()
    assert not [file for file in files_named(text) if not (ROOT / file).exists()]
    for part in code(text):
        for file in re.findall(r"(?<![\w./-])[a-z]\w*(?:/\w+)*/\w+\.py\b", part):
            assert (ROOT / file).exists() or (ROOT / "au_dist" / file).exists(), file


def test_pages_of_pages_are_complete():
    """The README leads to every page."""
    text = (ROOT / "README.md").read_text()
    assert not [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in text]


def test_examples_and_campaigns_on_pages_use_the_names_of_now():
    said: list[str] = []
    for path in (ROOT / "examples").glob("*.yaml"):
        load_recipe(path, [], said.append)
    raw = [yaml.safe_load(path.read_text()) for path in (ROOT / "examples/campaigns").glob("*.yaml")]
    for page in PAGES:
        blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
        raw += [campaign for campaign in map(yaml.safe_load, blocks) if "space" in campaign]
    assert len(raw) > 1
    for campaign in raw:
        for path in parse_space(campaign["space"], "a page"):  # refuses the former `odds`
            assert path in leaves(Recipe)
    assert not said
