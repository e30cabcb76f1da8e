"""A recipe that is refused leaves nothing behind; labels that can teach or judge nothing refuse it before training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from au_dist.core.errors import AuDistError, CheckpointError, RecipeError, ShardError, TrainError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.claims import claimed, withdraw
from au_dist.runs.context import make_context
from au_dist.runs.label_needs import label_notes
from au_dist.runs.leases import acquire
from au_dist.runs.train import train
from au_dist.shards.format import read_clips, read_manifest
from au_dist.shards.writer import write_shards
from au_dist.storage.store import open_store
from au_dist.train.events import Noted


def recipe(shards, runs, **changes) -> Recipe:
    raw = {
        "name": "x",
        "shards": shards if isinstance(shards, str) else shards.uri,
        "runs": str(runs),
        "task": "detection",
        "data": {"size": 32, "lanes": 2, "shuffle_row_groups": 2},
        "model": {"embed_dim": 8, "bottleneck_channels": 4},
        "batch": {"clips": 4},
        "optim": {"epochs": 1.0},
        "workers": {"count": 1, "max_failures": 0},
        **changes,
    }
    return Recipe.model_validate(raw)


@pytest.fixture
def relabelled(shards, tmp_path):
    """Make a set with the labels of another: a function maps subject, labels, mask and intensities to new ones."""

    def make(change):
        manifest = read_manifest(shards)

        def clips():
            for shard in manifest.shards:
                for group in range(len(shard.row_groups)):
                    for clip in read_clips(shards, shard, group, len(manifest.aus)):
                        y, valid, level = change(clip.subject, clip.y_TA, clip.valid_TA, clip.intensity_TA)
                        yield replace(clip, y_TA=y * valid, valid_TA=valid, intensity_TA=level)

        out = open_store(tmp_path / f"set{len(list(tmp_path.iterdir()))}")
        write_shards(clips(), out, aus=manifest.aus, crop=manifest.crop_recipe, source=manifest.source)
        return out

    return make


def never(*columns, of=None):
    """Let action units never occur, for some subjects."""

    def change(subject, y_TA, valid_TA, level_TA):
        y_TA, level_TA = y_TA.copy(), level_TA.copy()
        if of is None or subject in of:
            chosen = list(columns) if columns else slice(None)
            y_TA[:, chosen], level_TA[:, chosen] = 0, 0
        return y_TA, valid_TA, level_TA

    return change


def split_of(shards, tmp_path):
    return make_context(recipe(shards, tmp_path / "runs")).split


@pytest.mark.parametrize("part", ["train", "validation"])
@pytest.mark.parametrize("job", [{"task": "detection"}, {"task": None, "method": "aunce"}, {"task": "intensity"}])
def test_a_run_that_nothing_could_teach_or_judge_is_refused(relabelled, shards, tmp_path, part, job):
    data = {"size": 32, "lanes": 2, "frames_per_clip": 4}
    subjects = getattr(split_of(shards, tmp_path), part)
    made = relabelled(never(of=subjects))
    word = {"train": "training", "validation": "validation"}[part]
    with pytest.raises(RecipeError, match=rf"{word}: AU\d\d occurs in 0 of \d+ labelled frames.*doctor") as error:
        train(recipe(made, tmp_path / "runs", data=data, **job))
    assert ("learnt" if part == "train" else "judged") in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_units_that_always_occur_are_as_mute_as_those_that_never_do(relabelled, shards, tmp_path):
    always = lambda subject, y, valid, level: (np.ones_like(y), np.ones_like(valid), level)  # noqa: E731
    with pytest.raises(RecipeError, match=r"frames without it.*AU01 occurs in (\d+) of \1 labelled"):
        label_notes(make_context(recipe(relabelled(always), tmp_path)))


def test_no_unit_that_both_sides_know_is_none(relabelled, shards, tmp_path):
    split = split_of(shards, tmp_path)
    manifest = read_manifest(shards)
    first, others = [0], list(range(1, len(manifest.aus)))

    def change(subject, *labels):
        some = first if subject in split.validation else others
        return never(*some)(subject, *labels)

    context = make_context(recipe(relabelled(change), tmp_path))
    rates = context.manifest.rates(context.split.train)
    assert rates[0][1] > 0
    assert max(row[1] for row in context.manifest.rates(context.split.validation)) > 0
    with pytest.raises(RecipeError, match=r"training: .*; validation: "):
        label_notes(context)


def test_nobody_to_validate_lacks_nothing(relabelled, shards, tmp_path):
    data = {"size": 32, "lanes": 2, "protocol": {"validation": 0}}
    whole = make_context(recipe(relabelled(never(0)), tmp_path, data=data))
    (note,) = label_notes(whole)
    assert note.startswith("Of training subjects:")


def test_some_units_without_are_named(relabelled, shards, tmp_path):
    aus = read_manifest(shards).aus
    split = split_of(shards, tmp_path)
    without = relabelled(never(1, of=split.train))
    notes = label_notes(make_context(recipe(without, tmp_path)))
    assert any(note.startswith("Of training subjects:") and f"AU{aus[1]:02d} occurs in 0 of" in note for note in notes)
    assert all(f"AU{aus[1]:02d}" not in note for note in label_notes(make_context(recipe(shards, tmp_path))))


def test_a_label_budget_is_counted_in_both(relabelled, shards, tmp_path):
    """One known positive frame a subject: within a small budget hardly any of them is left."""

    def rare(subject, y_TA, valid_TA, level_TA):
        y_TA = np.zeros_like(y_TA)
        y_TA[0] = 1
        return y_TA, np.ones_like(valid_TA), level_TA

    made = relabelled(rare)
    assert label_notes(make_context(recipe(made, tmp_path))) == []
    tight = {"size": 32, "lanes": 2, "labels": {"share": 0.02, "seed": 1}}
    with pytest.raises(RecipeError, match=r"data\.labels"):
        label_notes(make_context(recipe(made, tmp_path, data=tight)))


def test_predictive_coding_asks_for_no_labels(relabelled, tmp_path):
    wanted = recipe(
        relabelled(never()), tmp_path, task=None, method="predictive", predictive={"blocks": 2, "frames": 2, "steps": 1}
    )
    assert label_notes(make_context(wanted)) == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"shards": "nowhere"}, ShardError),
        ({"batch": {"clips": 4096}}, RecipeError),
        ({"data": {"size": 32, "lanes": 2, "aus": [99]}}, RecipeError),
        ({"data": {"size": 320, "lanes": 2}}, RecipeError),
        ({"init": {"run": "nobody"}}, CheckpointError),
    ],
    ids=["no shards", "too few clips", "no such action unit", "too large", "no such start"],
)
def test_what_is_refused_has_no_name(shards, tmp_path, change, error):
    with pytest.raises(error):
        train(recipe(change.pop("shards", shards), tmp_path / "runs", **change))
    assert not (tmp_path / "runs").exists()


def test_a_run_that_began_or_belongs_to_another_keeps_its_name(tmp_path):
    run = open_store(tmp_path / "run")
    for begun in ("metrics.jsonl", "checkpoints/step-00000001/COMPLETE"):
        run.write("recipe.yaml", b"x")
        mine = acquire(run)
        run.write(begun, b"{}")
        withdraw(run, mine)
        assert run.exists("recipe.yaml")
        run.delete(begun)
    acquire(run)
    withdraw(run, mine)
    assert run.exists("recipe.yaml")
    run.write("of somebody.txt", b"x")
    withdraw(run, acquire(run))
    assert run.list(recursive=True) in (["of somebody.txt"], ["checkpoints/", "of somebody.txt"])
    run.delete("of somebody.txt")
    hidden = tmp_path / "run" / ".env"
    hidden.write_text("x")
    withdraw(run, acquire(run))
    assert hidden.exists()
    hidden.unlink()
    withdraw(run, acquire(run))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("end", [KeyboardInterrupt, TrainError])
def test_what_ends_before_a_step_leaves_no_name_wherever_it_comes(shards, tmp_path, leased, end):
    def ends(context):
        with claimed(context) as lease:
            assert context.run.exists("recipe.yaml")
            if leased:
                acquire(context.run, lease)
            raise end("as it comes")

    with pytest.raises(end):
        ends(make_context(recipe(shards, tmp_path / "runs")))
    assert not (tmp_path / "runs/x").exists()


@pytest.mark.parametrize("end", [KeyboardInterrupt, TrainError])
def test_a_name_that_was_there_stays(shards, tmp_path, end):
    context = make_context(recipe(shards, tmp_path / "runs"))
    with claimed(context):
        pass
    with pytest.raises(end), claimed(context):
        raise end("as it comes")
    assert context.run.list() == ["recipe.yaml"]
    with pytest.raises(RecipeError), claimed(make_context(recipe(shards, tmp_path / "runs", seed=5))):
        raise AssertionError
    assert context.run.list() == ["recipe.yaml"]


@pytest.mark.ray
@pytest.mark.slow
def test_the_corrected_recipe_has_the_name_of_the_refused_one(shards, relabelled, tmp_path, ray_here):
    """Refused by the driver, and by a worker that cannot make its network."""
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    torn = {"embed_dim": 8, "bottleneck_channels": 4, "weights": str(tmp_path / "torn.safetensors")}
    for wrong in ({"model": torn}, {"batch": {"clips": 4096}}):
        with pytest.raises(AuDistError):
            train(recipe(shards, tmp_path / "runs", **wrong))
        assert not (tmp_path / "runs/x").exists()
    made = relabelled(never(1))
    shown = []
    result = train(recipe(made, tmp_path / "runs"), shown.append)
    assert result["steps"] > 0
    assert np.isfinite(result["best"])
    noted = [event.words for event in shown if isinstance(event, Noted)]
    assert any("Of validation subjects: " in words for words in noted)
    units = read_manifest(made).aus
    lines = [json.loads(line) for line in Path(tmp_path / "runs/x/metrics.jsonl").read_text().splitlines()]
    assert all(line["val_units"] < len(units) for line in lines if "val_auc" in line)
