"""The six commands of docs/your_own_data.md, as they stand there, on videos of synthetic people."""

import csv
import re
import shlex
from pathlib import Path

import corpus_trees as trees
import pytest
from test_cli import ROOT, au_dist

PAGE = (ROOT / "docs" / "your_own_data.md").read_text()

PEOPLE, FRAMES, AUS = 6, 36, (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)

#: Small and short: what a person would not change.
SMALL = ["model.encoder=resnet18", "data.size=64"]
SMALL += ["batch.clips=4", "data.lanes=2", "optim.epochs=1", "workers.cpus=0.5"]


@pytest.mark.ray
@pytest.mark.slow
def test_from_a_folder_and_a_table_to_predictions(tmp_path: Path, ray_here, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(yaml)?\n(.*?)```", PAGE, re.DOTALL)
    commands = [shlex.split(line)[1:] for line in blocks[0][1].splitlines()]
    assert len(commands) == 6
    Path("mine.yaml").write_text(next(text for kind, text in blocks if kind))
    rows = []
    for index in range(PEOPLE):
        person, name = trees.person(index, FRAMES), f"p{index}/talk.mp4"
        trees.film(Path("videos") / name, person.scene_T, 25)
        rows += [[name, k, f"p{index}", *person.y_TA[k]] for k in range(FRAMES)]
    with open("labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([["video", "frame", "subject", *(f"AU{au}" for au in AUS)], *rows])
    trees.film(Path("new.mp4"), trees.person(PEOPLE, 8).scene_T, 25)

    said = []
    for command in commands:
        run = au_dist(*command, *(SMALL if command[0] == "train" else ()))
        assert run.returncode == 0, (command, run.stderr)
        said.append(run.stdout)
    assert "counted from 0: there is a frame 0" in said[0]
    assert f"{PEOPLE * FRAMES} labels" in said[0]
    assert f"{PEOPLE} subjects" in said[1]
    lines = Path("results/new.csv").read_text().splitlines()
    assert len(lines) == 1 + 8
    assert [name.strip() for name in lines[0].split(",") if name.strip().endswith("_c")] == [
        f"AU{au:02d}_c" for au in AUS
    ]
