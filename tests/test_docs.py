"""What the documents promise exists: commands, options, files, recipes."""

import re
from pathlib import Path

import pytest
import typer.main
import yaml

from au_dist.cli import app
from au_dist.tuning.campaign import load_campaign

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


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
            known = command(words)
            assert not hasattr(known, "commands") or not words, f"au-dist {line}: {words}"
            options = {option for parameter in known.params for option in parameter.opts} | {"--debug", "--help"}
            for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", line):
                assert option in options, f"{option} in: au-dist {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("path", sorted((ROOT / "examples/campaigns").glob("*.yaml")), ids=lambda path: path.name)
def test_example_campaigns_parse(path):
    assert load_campaign(path, []).trials > 0


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
