"""What the doctor says of sets that something is wrong with."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from au_dist.checks.doctor import examine
from au_dist.checks.label_check import compare, likely_swap
from au_dist.checks.sheets import draw_sheets
from au_dist.cli import app
from au_dist.core.errors import ShardError
from au_dist.core.schema import Clip, CropRecipe
from au_dist.core.seeds import rng
from au_dist.shards.format import MANIFEST
from au_dist.shards.writer import write_shards
from au_dist.storage.store import open_store
from au_dist.synthetic.labels import draw_habit, draw_intensity, read_statistics
from au_dist.video.crops import encode

CROP = CropRecipe(size=16)
FRAMES = 250


def clips_like(corpus="bp4d", key="BP4D", subjects=14, frames=FRAMES, seed=0):
    """Noise for pictures, and labels as those of a corpus are: cheap, and enough to ask about labels."""
    dynamics = read_statistics(None, key)
    for subject in range(subjects):
        draw = rng(seed, "doctor", subject)
        habit = draw_habit(dynamics, draw)
        level_TA = np.concatenate([draw_intensity(dynamics, habit, draw, frames, 25.0) for _ in range(4)])
        number_T = np.arange(len(level_TA))
        noise = draw.integers(0, 255, (16, 16, 3)).astype(np.uint8)
        jpegs = []
        for k in number_T:
            noise[k % 16, (k // 16) % 16] = draw.integers(0, 255, 3)
            jpegs.append(encode(noise, 92))
        yield Clip(
            corpus,
            f"{corpus}/S{subject:03d}",
            "video",
            number_T,
            number_T / 25,
            tuple(jpegs),
            (level_TA >= (2 if corpus == "disfa" else 1)).astype(np.int8),
            np.ones(level_TA.shape, bool),
            level_TA.round().astype(np.float32),
            np.ones(len(number_T), np.float32),
        )


@pytest.fixture(scope="module")
def sound():
    return list(clips_like())


AUS = tuple(read_statistics(None, "BP4D").aus)


def doctored(place, clips, aus=AUS, **source):
    store = open_store(place)
    write_shards(clips, store, aus=aus, crop=CROP, source=source)
    return examine(store)


def test_a_sound_set_has_neither_faults_nor_warnings(sound, tmp_path):
    found = doctored(tmp_path, sound)
    assert found.faults == []
    assert found.warnings == []


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(4, 10), (2, 17), (12, 24)])
def test_two_columns_swapped_are_named(sound, tmp_path, pair):
    order = np.arange(len(AUS))
    one, other = (AUS.index(au) for au in pair)
    order[[one, other]] = order[[other, one]]
    found = doctored(tmp_path, [replace(clip, y_TA=clip.y_TA[:, order]) for clip in sound])
    assert any(f"AU{pair[0]:02d} and AU{pair[1]:02d} look swapped" in warning for warning in found.warnings)


def test_columns_of_equal_rates_are_told_by_what_occurs_with_them():
    rate, phi = np.array([0.5, 0.5, 0.5]), np.array([[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]])
    seen = phi[np.ix_([0, 2, 1], [0, 2, 1])]
    errors = np.full(3, 0.05), np.full((3, 3), 0.05)
    assert likely_swap(rate, seen, rate, phi, *errors) in [(1, 2), (0, 2), (0, 1)]
    assert likely_swap(rate, phi, rate, phi, *errors) is None


def test_a_rate_that_is_off_is_named_with_its_bound(sound, tmp_path):
    column = AUS.index(23)
    y = [clip.y_TA.copy() for clip in sound]
    for y_TA in y:
        y_TA[:, column] = 1
    found = doctored(tmp_path, [replace(clip, y_TA=y_TA) for clip, y_TA in zip(sound, y, strict=True)])
    assert any("AU23 occurs in 100.0%" in warning and "of 41 subjects" in warning for warning in found.warnings)


def test_the_more_subjects_the_tighter_the_bound():
    dynamics = read_statistics(None, "BP4D")
    from au_dist.checks.label_check import LabelCheck

    bounds = []
    for subjects in (5, 41):
        check = LabelCheck(dynamics.aus)
        for clip in clips_like(subjects=subjects, frames=8):
            check.add(replace(clip, y_TA=np.zeros_like(clip.y_TA)))
        (text,) = [
            w for w in compare(dynamics.aus, list(check.tallies["bp4d"].values()), "bp4d", "BP4D") if "AU06" in w
        ]
        bounds.append(float(text.partition("more than ")[2].partition("%")[0]))
    assert bounds[1] == 2.0 < bounds[0]


def test_counts_of_a_complete_corpus_are_compared(tmp_path):
    clips = list(clips_like("disfa", "DISFA_ge2_12au", subjects=27, frames=6))
    found = doctored(tmp_path, clips, read_statistics(None, "DISFA_ge2_12au").aus, corpus="disfa", coded_frames=130_000)
    assert any("code 130,000 frames" in warning and "130,814" in warning for warning in found.warnings)


@pytest.mark.slow
def test_one_person_under_two_names_is_named(sound, tmp_path):
    twin = replace(sound[0], subject="bp4d/twin")
    found = doctored(tmp_path, [*sound, twin])
    assert any("bp4d/S000 and bp4d/twin" in fault for fault in found.faults)


def test_a_subject_in_two_parts_of_a_partition_is_named(sound, tmp_path):
    found = doctored(tmp_path, sound, partitions={"train": ["bp4d/S000"], "validation": ["bp4d/S000", "bp4d/S001"]})
    assert found.faults == ["bp4d/S000 is in the parts train and validation of the published partition."]


def test_black_and_blank_crops_are_counted(sound, tmp_path):
    black, white = (encode(np.full((16, 16, 3), level, np.uint8), 92) for level in (0, 200))
    clip = replace(sound[0], jpeg_T=(black, white, *sound[0].jpeg_T[2:]))
    found = doctored(tmp_path, [clip])
    assert any(warning.startswith(f"2 of {4 * FRAMES} crops are black or blank") for warning in found.warnings)


def test_pictures_of_another_size_and_recipe_are_faults(sound, tmp_path):
    other = encode(np.asarray(Image.new("RGB", (20, 20), "red")), 92)
    found = doctored(tmp_path, [replace(sound[0], jpeg_T=(other, *sound[0].jpeg_T[1:]))])
    assert any("20 x 20 pixels, not 16 x 16" in fault for fault in found.faults)


def test_crops_of_another_recipe_are_faults(sound, tmp_path):
    store, other = open_store(tmp_path), CropRecipe(size=16, eye_distance=0.3)
    manifest = write_shards(sound[:1], store, aus=AUS, crop=CROP, source={})
    forged = manifest.model_copy(update={"crop": asdict(other), "crop_hash": other.hash()})
    store.write(MANIFEST, forged.model_copy(update={"sha256": forged.digest()}).model_dump_json().encode())
    (fault,) = examine(store).faults
    assert f"was cropped by recipe {CROP.hash()}, the set by {other.hash()}" in fault


def test_the_verb_prints_json_and_draws_a_sheet(sound, tmp_path):
    store = open_store(tmp_path / "set")
    two = [*sound[:2], *(replace(clip, corpus="x", subject=clip.subject.replace("bp4d", "x")) for clip in sound[2:4])]
    write_shards(two, store, aus=AUS, crop=CROP, source={})
    done = CliRunner().invoke(app, ["doctor", str(tmp_path / "set"), "--json", "--sheet", str(tmp_path / "sheet.png")])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["subjects"] == 4
    assert found["rates"]["AU12"]["labelled"] == 16 * FRAMES
    assert found["faults"] == []
    assert [path.rpartition("/")[2] for path in found["sheets"]] == ["sheet-bp4d.png", "sheet-x.png"]
    for path in found["sheets"]:
        with Image.open(path) as picture:
            assert np.asarray(picture).std() > 10


def test_a_sheet_has_as_many_frames_as_there_are(sound, tmp_path):
    store = open_store(tmp_path / "set")
    few = replace(sound[0], **{name: getattr(sound[0], name)[:3] for name in (
        "number_T", "time_T", "jpeg_T", "y_TA", "valid_TA", "intensity_TA", "confidence_T")})  # fmt: skip
    manifest = write_shards([few], store, aus=AUS, crop=CROP, source={})
    assert draw_sheets(store, manifest, tmp_path / "a.png") == [tmp_path / "a.png"]


def test_a_changed_byte_is_a_fault_and_an_exit_code(sound, tmp_path):
    store = open_store(tmp_path / "set")
    manifest = write_shards(sound[:1], store, aus=AUS, crop=CROP, source={})
    path = tmp_path / "set" / manifest.shards[0].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any("its sha256 is not the manifest's" in fault for fault in examine(store).faults)
    with pytest.raises(ShardError, match="has 1 faults"):
        CliRunner().invoke(app, ["doctor", str(tmp_path / "set")], catch_exceptions=False)
