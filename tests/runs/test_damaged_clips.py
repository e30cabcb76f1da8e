"""Clips that do not decode: left out of training, validation and test, counted and listed, and fatal past a share."""

import json
from dataclasses import replace

import pytest

from au_dist.core.errors import ShardError, TrainError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.train import train
from au_dist.scoring.evaluate import evaluate, refuse_unreadable
from au_dist.shards.writer import write_shards
from au_dist.storage.store import open_store
from au_dist.synthetic.clips import synth_aus, synth_clips, synth_recipe

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def place(tmp_path_factory, spec):
    """A set in which the second clip of every subject has a frame that is no picture."""
    place = tmp_path_factory.mktemp("damaged")

    def clips():
        for index, clip in enumerate(synth_clips(spec)):
            damaged = (*clip.jpeg_T[:-1], clip.jpeg_T[-1][:100])
            yield replace(clip, jpeg_T=damaged) if index % 4 == 1 else clip

    write_shards(clips(), open_store(place / "shards"), aus=synth_aus(spec), crop=synth_recipe(spec), source={})
    return place


def recipe(place, name, unreadable, workers=2, decode="worker"):
    return Recipe.model_validate(
        {
            "name": name,
            "shards": str(place / "shards"),
            "runs": str(place / "runs"),
            "task": "detection",
            "data": {
                "size": 24,
                "lanes": 2,
                "shuffle_row_groups": 2,
                "frames_per_clip": 4,
                "unreadable": unreadable,
                "decode": decode,
            },
            "model": {"embed_dim": 8, "bottleneck_channels": 4, "num_neighbors": 2},
            "optim": {"epochs": 1.0},
            "batch": {"clips": 4},
            "checkpoint": {"ledger": True},
            "workers": {"count": workers, "cpus": 0.4, "max_failures": 0},
        }
    )


def rows_of(place, name):
    return [json.loads(line) for line in (place / "runs" / name / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(ray_here, place):
    return train(recipe(place, "some", 0.5))


def test_a_run_goes_on_without_them(trained, place):
    rows = rows_of(place, "some")
    steps = [row for row in rows if "steps" in row]
    listed = [fault for row in steps for fault in row.get("unreadable", [])]
    subjects = {fault.partition("/v")[0] for fault in listed}
    assert len(listed) == len(subjects) > 1  # each once an epoch, on whichever rank it fell
    assert all("frame 3: " in fault for fault in listed)
    (judged,) = [row for row in rows if "val_auc" in row]
    assert judged["val_unreadable"] == len(judged["unreadable"]) > 0


def test_an_evaluation_says_what_it_could_not_score(trained, place, capsys):
    report = evaluate("some", runs=open_store(place / "runs"))
    assert report["rows_scored"] == report["rows_expected"] - len(report["unreadable"])
    assert len(report["unreadable"]) > 0
    scored = max(row["frames"] for row in report["aus"])
    assert scored <= report["rows_scored"]


def test_too_many_end_a_run_and_an_evaluation(trained, place):
    with pytest.raises(TrainError, match=r"do not decode.*data.unreadable.*frame 3: .*doctor"):
        train(recipe(place, "none", 0.0, workers=1, decode="tasks"))
    with pytest.raises(ShardError, match=r"somewhere.*at most 0.01 of 90 .*Found 1, e.g. clip frame 3: no JPEG"):
        refuse_unreadable(["clip frame 3: no JPEG"], 90, 0.01, "somewhere")
    refuse_unreadable(["clip frame 3: no JPEG"], 100, 0.01, "somewhere")
