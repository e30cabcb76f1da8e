"""Released weights become models that predict and that runs start from."""

import re

import numpy as np
import pytest
import torch
import yaml
from official import embeddings, random_vit, random_weights
from typer.testing import CliRunner

from au_dist.cli import app
from au_dist.config.sections import Model
from au_dist.core.errors import CheckpointError
from au_dist.data.splits import published_lists
from au_dist.data.views import plain_views
from au_dist.model.encoders import make_encoder
from au_dist.recipes.recipe import Recipe
from au_dist.runs.context import initial_weights, make_context
from au_dist.runs.imported import TrainedOn, import_checkpoint, trained_subjects
from au_dist.scoring.baseline import start_of
from au_dist.scoring.evaluate import evaluate
from au_dist.scoring.model import load_model
from au_dist.shards.format import read_clips, read_manifest
from au_dist.shards.writer import write_shards
from au_dist.storage.store import open_store
from au_dist.train import checkpoint

BP4D = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A first stage of ME-GraphAU for BP4D, as it is released; and its weights."""
    weights = random_weights("swin_t", len(BP4D), 384)
    weights["head.sc"] = torch.randn(len(BP4D), 384, generator=torch.Generator().manual_seed(3))
    path = tmp_path_factory.mktemp("released") / "MEFARG_swin_tiny_BP4D_fold1.pth"
    torch.save({"epoch": 1, "state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}}, path)
    return path, weights


@pytest.fixture(scope="module")
def imported(released, tmp_path_factory):
    target = tmp_path_factory.mktemp("imported") / "model"
    return import_checkpoint(released[0], "me-graphau", target, TrainedOn("bp4d", 1)), target


@pytest.mark.slow
def test_a_model_scores_frames_as_the_released_network(released, imported):
    _, target = imported
    model = load_model(str(target))
    assert model.aus == BP4D
    assert (model.size, model.crop.size, model.threshold_A.tolist()) == (224, 256, [0.5] * len(BP4D))
    frames = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), np.uint8)
    weights = released[1]
    z_BAD = embeddings(weights, plain_views(frames, 224, torch.device("cpu")), "swin_t")
    cosine_BA = (z_BAD * torch.nn.functional.normalize(weights["head.sc"].relu(), dim=1)).sum(2)
    right_BA = torch.sigmoid(4 * (cosine_BA - 0.5))
    np.testing.assert_allclose(model.scores(frames), right_BA.numpy(), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_who_trained_it_is_known_by_the_fold_as_lists_count(imported):
    found, target = imported
    lists, subjects = published_lists()["bp4d"], checkpoint.state(checkpoint.find(str(target), "best")).subjects
    assert set(subjects.train) == {f"bp4d/{name}" for part in ("part1", "part2") for name in lists[part]}
    assert any("28 subjects of fold 1 of bp4d" in note for note in found.notes)


@pytest.mark.parametrize("corpus", ["bp4d", "disfa"])
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_folds_are_counted_as_each_project_counts_them(corpus, fold):
    lists = published_lists()[corpus]
    for numbering, part in (("file", 4 - fold), ("part", fold)):
        subjects, known = trained_subjects(TrainedOn(corpus, fold), numbering)
        tested = {f"{corpus}/{name}" for name in lists[f"part{part}"]}
        everyone = {f"{corpus}/{name}" for names in lists.values() for name in names}
        assert set(subjects.train) == everyone - tested
        assert f"which tests part {part}" in known


@pytest.fixture
def bp4d(shards, tmp_path):
    """A set of crops that fit, of subjects of BP4D."""
    manifest, names = read_manifest(shards), sorted(published_lists()["bp4d"]["part3"])

    def clips():
        from dataclasses import replace

        subjects = {name: f"bp4d/{names[index]}" for index, name in enumerate(sorted(manifest.subjects))}
        for shard in manifest.shards:
            for group in range(len(shard.row_groups)):
                for clip in read_clips(shards, shard, group, len(manifest.aus)):
                    yield replace(clip, corpus="bp4d", subject=subjects[clip.subject])

    from dataclasses import replace

    out = open_store(tmp_path / "bp4d")
    crop = replace(manifest.crop_recipe, size=256, detector=None)
    write_shards(clips(), out, aus=manifest.aus, crop=crop, source=manifest.source)
    return out


def detection(shards, found, target, tmp_path, **protocol):
    return Recipe.model_validate(
        {
            "name": "x",
            "shards": shards.uri,
            "runs": str(tmp_path / "runs"),
            "task": "detection",
            "init": {"run": str(target)},
            "data": {"size": 224, "lanes": 2, "aus": BP4D, "protocol": protocol},
            "model": found.recipe.model.model_dump(),
            "batch": {"clips": 4},
        }
    )


@pytest.mark.slow
def test_a_run_starts_from_it_and_not_where_its_subjects_test(imported, bp4d, tmp_path):
    found, target = imported
    context = make_context(detection(bp4d, found, target, tmp_path))
    weights = initial_weights(context)
    stored = checkpoint.tensors(checkpoint.find(str(target), "best"), checkpoint.WEIGHTS)
    assert weights.keys() == {name for name in stored if name.startswith("network.")}
    # What a ridge regression beside an evaluation reads is the released encoder.
    encoder = start_of(context.recipe).encoder(torch.device("cpu"))
    torch.testing.assert_close(encoder.state_dict()["body.1.weight"], stored["network.encoder.body.1.weight"])

    other = tmp_path / "other"
    import_checkpoint_of_fold(target, other, context.split.test[0])
    with pytest.raises(CheckpointError, match="trained on subjects that validate or test here"):
        initial_weights(make_context(detection(bp4d, found, other, tmp_path)))


def import_checkpoint_of_fold(target, other, subject):
    """The same model, said to be trained on a subject."""
    place = checkpoint.find(str(target), "best")
    state = checkpoint.state(place)
    known = state.subjects.model_copy(update={"train": (subject,)})
    changed = state.model_copy(update={"subjects": known})
    checkpoint.write_folder(open_store(other), checkpoint.tensors(place, checkpoint.WEIGHTS), changed)


def test_it_has_nobody_to_test(imported):
    with pytest.raises(CheckpointError, match="imported: it has neither shards nor test subjects"):
        evaluate(str(imported[1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trained_on", "match"),
    [
        (TrainedOn(), "Which action units.*Expected 12 of them. Found none named"),
        (TrainedOn("disfa", 1), ""),
        (TrainedOn("bp4d", 4), "a fold from 1 to 3"),
        (TrainedOn("gft", 1, BP4D), "No such fold is published"),
        (TrainedOn(aus=(1, 2)), "12 of them. Found 2"),
    ],
    ids=str,
)
def test_what_is_not_known_is_asked_for(released, tmp_path, trained_on, match):
    if trained_on.corpus == "disfa":
        found = import_checkpoint(released[0], "me-graphau", tmp_path / "a", trained_on)
        assert found.aus == (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
        return
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint(released[0], "me-graphau", tmp_path / "a", trained_on)
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_from_the_terminal(released, tmp_path):
    arguments = ["import", str(released[0]), "--as", "me-graphau", "--trained-on", "bp4d", "--fold", "1"]
    done = CliRunner().invoke(app, [*arguments, "--to", str(tmp_path / "model")])
    assert done.exit_code == 0, done.output
    assert "encoder: swin_t" in done.output
    assert "bottleneck_channels: 0" in done.output
    again = CliRunner().invoke(app, [*arguments, "--to", str(tmp_path / "model")])
    assert isinstance(again.exception, CheckpointError)
    assert "not empty" in str(again.exception)


@pytest.mark.slow
def test_a_pretraining_of_fmae_is_an_encoder_that_recipes_name(tmp_path):
    path, target = tmp_path / "fmae.pth", tmp_path / "model"
    torch.save({"model": random_vit(768, 12, None)}, path)
    done = CliRunner().invoke(app, ["import", str(path), "--as", "fmae", "--to", str(target)])
    assert done.exit_code == 0, done.output
    assert "It is a pretraining" in done.output
    assert "init:" not in done.output
    section = yaml.safe_load(re.search(r"model: (\{.*\})", done.output.replace("\n", " "))[1])
    torch.manual_seed(1)
    encoder = make_encoder(Model(**section))
    torch.testing.assert_close(encoder.rows[0].class_token, random_vit(768, 1, None)["cls_token"])
