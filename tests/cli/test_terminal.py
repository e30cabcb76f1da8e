"""What a terminal cannot print it gets in another way; no command ends with an encoding error."""

import io
import os
import re
import shutil
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout

import pytest
import yaml

from au_dist.cli import main

#: Hangul, and a byte that is no UTF-8.
NAMES = ["가나", "caf\udce9"]


def au_dist(encoding, *arguments):
    """Run a verb in this process on a terminal of an encoding; return its exit code and what came out."""
    said, complained = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(complained):
        patch.setattr(sys, "argv", ["au-dist", *map(str, arguments)])
        with warnings.catch_warnings(action="ignore"), pytest.raises(SystemExit) as end:
            main()
    both = b""
    for stream in (said, complained):
        stream.flush()
        both += stream.buffer.getvalue()
    return end.value.code, both.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("name", NAMES, ids=["hangul", "no UTF-8"])
def test_names_in_other_scripts_are_spelled_out(tmp_path, shards, name, encoding):
    code, text = au_dist(encoding, "doctor", tmp_path / name / "nowhere")
    assert code == 2
    spelled = {"가나": "가나" if encoding == "utf-8" else r"\uac00\ub098", "caf\udce9": r"caf\udce9"}[name]
    assert spelled in text
    if name == "가나":
        shutil.copytree(shards.uri, tmp_path / name / "set")
        code, text = au_dist(encoding, "doctor", tmp_path / name / "set")
        assert code == 0
        assert f"{spelled}/set" in text


def test_our_own_signs_become_plain_ones(tmp_path):
    """A run without a checkpoint has a dash where its step would be."""
    run = tmp_path / "runs/r"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(yaml.safe_dump({"name": "r", "shards": "s", "runs": "r", "task": "detection"}))
    for encoding, dash in (("ascii", "-"), ("latin-1", "-"), ("utf-8", "–")):
        code, text = au_dist(encoding, "runs", tmp_path / "runs")
        assert code == 0
        assert re.search(rf"^r .* {dash} .* {dash}\s*$", text, re.MULTILINE)


def test_recipes_are_read_as_utf_8_in_every_locale(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("# é\nname: x\nshards: 가/nowhere\nruns: r\ntask: method\n", "utf-8")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    bare = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    script = "from pathlib import Path; from au_dist.config.files import read_yaml; "
    script += f"print(ascii(read_yaml(Path({str(recipe)!r}))))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**kept, **bare})
    assert r"\uac00/nowhere" in done.stdout, done.stderr
