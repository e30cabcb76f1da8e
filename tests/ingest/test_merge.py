"""Sets of shards become one: nothing is lost, what a corpus lacks is unknown, and what does not fit is refused."""

from dataclasses import replace

import numpy as np
import pytest

from au_dist.checks.doctor import examine
from au_dist.config.files import override, parse
from au_dist.core.errors import ShardError
from au_dist.core.schema import finding
from au_dist.ingest.merge import merge, merged_aus, relabelled
from au_dist.recipes.recipe import Recipe
from au_dist.runs.context import make_context
from au_dist.shards.format import read_manifest
from au_dist.shards.writer import read_part, write_shards
from au_dist.storage.store import open_store
from au_dist.synthetic.clips import SynthSpec, synth_clips, synth_recipe

SPEC = SynthSpec(subjects=3, videos_per_subject=1, frames_per_video=8, clip_frames=4, size=32)


def a_set(place, corpus, aus, spec=SPEC, **source):
    clips = [
        replace(relabelled(clip, BASE, aus), corpus=corpus, subject=f"{corpus}/{clip.subject.rpartition('/')[2]}")
        for clip in synth_clips(spec)
    ]
    store = open_store(place)
    manifest = write_shards(clips, store, aus=aus, crop=synth_recipe(spec), source={"corpus": corpus, **source})
    return store, manifest, clips


BASE = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


def test_the_union_masks_what_a_corpus_lacks(tmp_path):
    one, _, first = a_set(tmp_path / "a", "bp4d", (1, 4, 12), partitions={"train": ["bp4d/x"]})
    two, _, second = a_set(tmp_path / "b", "disfa", (4, 6), replace(SPEC, seed=1), partitions={"train": ["disfa/y"]})
    shown = []
    manifest = merge([one, two], open_store(tmp_path / "c"), "union", shown.append)
    assert manifest.aus == (1, 4, 6, 12)
    assert manifest.clips == len(first) + len(second) == shown[-1]
    assert manifest.source["partitions"] == {"train": ["bp4d/x", "disfa/y"]}
    found = {clip.clip_id: clip for clip in read_part(open_store(tmp_path / "c"), manifest.shards, 4)}
    for clip in first:
        mine = found[clip.clip_id]
        assert mine.jpeg_T == clip.jpeg_T
        np.testing.assert_array_equal(mine.y_TA[:, [0, 1, 3]], clip.y_TA)
        np.testing.assert_array_equal(mine.intensity_TA[:, [0, 1, 3]], clip.intensity_TA)
        assert mine.valid_TA.tolist() == [[True, True, False, True]] * 4
        assert np.isnan(mine.intensity_TA[:, 2]).all()
    assert [found[clip.clip_id].valid_TA[0].tolist() for clip in second[:1]] == [[False, True, True, False]]
    assert not examine(open_store(tmp_path / "c")).faults


def test_a_recipe_draws_the_corpora_in_its_shares(tmp_path):
    one = a_set(tmp_path / "a", "bp4d", (1, 4))[0]
    two = a_set(tmp_path / "b", "disfa", (4, 6), replace(SPEC, seed=1, frames_per_video=16))[0]
    merge([one, two], open_store(tmp_path / "c"), "union")
    place = {"name": "x", "shards": str(tmp_path / "c"), "runs": str(tmp_path), "method": "aunce"}
    raw = override({**place, "batch": {"clips": 4}}, ["data.lanes=2", "data.size=32"])
    tested = ["data.protocol.kind=corpora", "data.protocol.corpora=[bp4d]", "data.protocol.validation=0.4"]
    alone = make_context(parse(Recipe, override(raw, [*tested, "data.corpora.disfa=1"]), "here")).order()
    assert alone.weights.tolist() == pytest.approx([1.0] * alone.clips)
    everyone = override(raw, ["data.protocol.kind=all", "data.corpora={bp4d: 3, disfa: 1}"])
    order = make_context(parse(Recipe, everyone, "here")).order()
    train = [group.clips for group in order.groups]
    drawn = {name: 0.0 for name in ("bp4d", "disfa")}
    manifest, place = read_manifest(open_store(tmp_path / "c")), 0
    for group, clips in zip(order.groups, train, strict=True):
        subject = manifest.shards[group.shard].row_groups[group.group].subject
        drawn[subject.partition("/")[0]] += order.weights[place : place + clips].sum()
        place += clips
    assert drawn["bp4d"] == pytest.approx(3 * drawn["disfa"])


def test_the_intersection_keeps_what_all_have(tmp_path):
    stores = [a_set(tmp_path / name, name, aus)[0] for name, aus in (("a", (1, 4, 12)), ("b", (12, 4)))]
    assert merge(stores, open_store(tmp_path / "c"), "intersection").aus == (4, 12)
    assert merged_aus([(1,), (2,)], "intersection") == ()
    other = a_set(tmp_path / "d", "d", (2,))[0]
    with pytest.raises(ShardError, match="no action unit in common"):
        merge([stores[0], other], open_store(tmp_path / "e"), "intersection")


def test_subjects_of_one_name_are_one_person_and_their_clips_lie_together(tmp_path):
    one, _, _ = a_set(tmp_path / "a", "disfa", (1,))
    other = replace(SPEC, seed=1)
    clips = [replace(relabelled(clip, BASE, (1,)), subject=f"disfa/{clip.subject.rpartition('/')[2]}",
                     video=f"trial {clip.video}") for clip in synth_clips(other)]  # fmt: skip
    two = open_store(tmp_path / "b")
    write_shards(clips, two, aus=(1,), crop=synth_recipe(SPEC), source={})
    manifest = merge([one, two], open_store(tmp_path / "c"), "union")
    assert len(manifest.subjects) == 3
    assert all(count.clips == 4 for count in manifest.subjects.values())


def test_what_does_not_fit_is_refused(tmp_path):
    one = a_set(tmp_path / "a", "a", (1,))[0]
    with pytest.raises(ShardError, match=r"A clip is in two.*a/"):
        merge([one, one], open_store(tmp_path / "x"), "union")
    assert not list((tmp_path / "x").rglob("*.parquet"))
    larger = a_set(tmp_path / "b", "b", (1,), replace(SPEC, size=40))[0]
    with pytest.raises(ShardError, match=r"different recipes.*Ingest one of them again"):
        merge([one, larger], open_store(tmp_path / "y"), "union")
    longer = a_set(tmp_path / "d", "d", (1,), replace(SPEC, clip_frames=8))[0]
    with pytest.raises(ShardError, match="not equally long"):
        merge([one, longer], open_store(tmp_path / "z"), "union")


def found_by(place, subject, side, source=None):
    """Write a set whose faces were found at a side; None where it does not say."""
    how = {} if side is None else finding("centerface", side, 1, 5)
    clips = [
        replace(relabelled(clip, BASE, (1,)), corpus=subject, subject=f"{subject}/1")
        for clip in synth_clips(replace(SPEC, subjects=1, seed=len(subject)))
    ]
    store = open_store(place)
    write_shards(clips, store, aus=(1,), crop=replace(synth_recipe(SPEC), **how), source=source or {})
    return store


def test_faces_found_at_different_sides_are_mixed_only_when_that_is_asked_for(tmp_path):
    coarse, fine = found_by(tmp_path / "a", "bp4d", 320), found_by(tmp_path / "b", "gft", 640)
    silent = found_by(tmp_path / "c", "synth", None)
    with pytest.raises(ShardError, match=r"found in different ways.*320.*640.*--mixed-detection"):
        merge([silent, coarse, fine], open_store(tmp_path / "x"), "union")
    mixed = merge([coarse, fine], open_store(tmp_path / "y"), "union", mixed_detection=True)
    assert mixed.crop_recipe == synth_recipe(SPEC)
    assert not examine(open_store(tmp_path / "y")).faults
    assert merge([coarse, silent], open_store(tmp_path / "z"), "union").crop_recipe.finding == {}
    again = found_by(tmp_path / "d", "disfa", 320)
    assert merge([coarse, again], open_store(tmp_path / "w"), "union").crop_recipe.detect_side == 320
    larger = write_shards(
        list(synth_clips(replace(SPEC, size=40))), open_store(tmp_path / "e"), aus=BASE,
        crop=synth_recipe(replace(SPEC, size=40)), source={},
    )  # fmt: skip
    assert larger.crop_recipe.size == 40
    with pytest.raises(ShardError, match="crops are of different recipes"):
        merge([coarse, open_store(tmp_path / "e")], open_store(tmp_path / "v"), "union", mixed_detection=True)


def test_a_set_made_before_says_how_faces_were_found_and_keeps_its_hash(tmp_path):
    told = {"kind": "corpus", "detector": "centerface", "detect_side": 320, "half_window": 1, "max_gap": 5}
    before = read_manifest(found_by(tmp_path / "a", "bp4d", None, told))
    assert before.crop == {
        "size": 32, "alignment": "eyes", "eye_y": 0.4, "eye_distance": 0.38, "jpeg_quality": 92, "version": 1,
    }  # fmt: skip
    # The hash that the version before wrote for these six.
    assert before.crop_hash == "ba3bef1fc4ea"
    now = read_manifest(found_by(tmp_path / "b", "disfa", 320))
    assert before.crop_recipe == now.crop_recipe
    assert now.crop_hash != before.crop_hash
    stores = [open_store(tmp_path / "a"), open_store(tmp_path / "b")]
    merged = merge(stores, open_store(tmp_path / "c"), "union")
    assert merged.crop_recipe == now.crop_recipe
    old = {**merged.source, "sets": [told, {**told, "detect_side": 640}]}
    assert merged.model_copy(update={"source": old, "crop": before.crop}).crop_recipe.finding == {}
    old["sets"][1] = told
    assert merged.model_copy(update={"source": old, "crop": before.crop}).crop_recipe.detect_side == 320


def test_what_says_nothing_of_the_crops_is_no_difference():
    assert finding("landmarks", 320, 1, 5) == finding("landmarks", 640, 1, 5)
    assert finding("none", 320, 0, 5) == {}
    assert finding("/here/mine.py:find", 320, 1, 5) == finding("/there/mine.py:find", 320, 1, 5)
