"""Each corpus as it is delivered, read by its importer: frames, labels, masks, subjects."""

import shutil
from dataclasses import replace

import corpus_trees as trees
import numpy as np
import pytest
from collected import found_in, taken, together

from au_dist.core.errors import RecipeError
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.layout import read_layout
from au_dist.corpora.options import Options
from au_dist.corpora.published import bad_frames, published_segments
from au_dist.corpora.tree import look
from au_dist.ingest.how import recipe_for
from au_dist.video.video_spec import VideoSpec


def test_disfa_in_any_case_joins_row_i_with_frame_i(tmp_path):
    root = trees.disfa(tmp_path)
    found = found_in("disfa", root)
    results = taken("disfa", found)
    assert list(results) == ["disfa/SN001/SN001", "disfa/SN002/SN002", "disfa/SN010/SN010"]
    for index, (clips, report) in enumerate(results.values()):
        rows = 24 - 4 * (index == 2)
        who = trees.person(index, 24, "DISFA_ge2_12au")
        assert together(clips, "number_T").tolist() == list(range(1, rows + 1))
        np.testing.assert_array_equal(together(clips, "intensity_TA"), who.level_TA[:rows])
        np.testing.assert_array_equal(together(clips, "y_TA"), who.level_TA[:rows] >= 2)
        assert together(clips, "valid_TA").all()
        assert np.allclose(np.diff(together(clips, "time_T")), 0.05)
        assert report.labelled == 24 - (index == 2)
    assert results["disfa/SN010/SN010"][1].notes == ["1 frames after the last label were left out"]


def test_the_threshold_says_when_an_action_unit_of_disfa_occurs(tmp_path):
    found = found_in("disfa", trees.disfa(tmp_path, ("SN001",)))
    (clips, _), *_ = taken("disfa", found, options=Options(threshold=1)).values()
    who = trees.person(0, 24, "DISFA_ge2_12au")
    np.testing.assert_array_equal(together(clips, "y_TA"), who.level_TA >= 1)


def test_disfa_plus_subjects_are_disfa_subjects(tmp_path):
    results = taken("disfa+", found_in("disfa+", trees.disfa_plus(tmp_path)))
    assert {title.rsplit("/", 1)[0] for title in results} == {"disfa/SN001", "disfa/SN003"}
    clips, _ = results["disfa/SN001/A1_AU1_TrailNo_1"]
    who = trees.person(0, 12, "DISFA_ge2_12au")
    np.testing.assert_array_equal(together(clips, "intensity_TA"), who.level_TA)
    assert together(clips, "number_T")[0] == 0
    assert clips[0].corpus == "disfa+"


def test_bp4d_pads_as_it_likes_and_codes_a_part_of_the_pictures(tmp_path):
    results = taken("bp4d", found_in("bp4d", trees.bp4d(tmp_path)))
    assert list(results) == ["bp4d/F001/F001_T1", "bp4d/M009/M009_T1"]
    for index, (clips, _) in enumerate(results.values()):
        who = trees.person(index, 20)
        assert together(clips, "number_T").tolist() == list(range(51, 71))
        valid_TA = np.ones((20, 12), bool)
        valid_TA[3, 0] = False
        np.testing.assert_array_equal(together(clips, "valid_TA"), valid_TA)
        np.testing.assert_array_equal(together(clips, "y_TA"), np.where(valid_TA, who.y_TA, 0))
        intensity_TA = together(clips, "intensity_TA")
        six = trees.BP4D_AUS.index(6)
        np.testing.assert_array_equal(intensity_TA[1:, six], who.level_TA[1:, six])
        assert np.isnan(intensity_TA[0, six])
        assert np.isnan(intensity_TA[:, 0]).all()


def test_frames_around_the_coded_part_have_no_labels(tmp_path):
    options = Options(frames="all")
    (clips, report), *_ = taken("bp4d", found_in("bp4d", trees.bp4d(tmp_path)), options=options).values()
    known_T = together(clips, "valid_TA").any(1)
    assert together(clips, "number_T")[known_T].tolist() == list(range(51, 71))
    assert (len(known_T), report.clip_labelled) == (28, 20)


def test_bp4d_videos_by_code_count_decoded_frames_from_one(tmp_path):
    results = taken("bp4d", found_in("bp4d", trees.bp4d_videos(tmp_path)))
    clips, _ = results["bp4d/F001/F001_T3"]
    assert together(clips, "number_T").tolist() == list(range(5, 17))
    np.testing.assert_array_equal(together(clips, "y_TA"), trees.person(0, 20).y_TA[4:16])


def test_bp4d_plus_comes_in_zips_and_labels_mean_places(tmp_path):
    found = found_in("bp4d+", trees.bp4d_plus(tmp_path))
    assert any("2 recordings have no labels" in note for note in found.notes)
    results = taken("bp4d+", found)
    assert list(results) == ["bp4d+/F001/F001_T1", "bp4d+/M002/M002_T1"]
    clips, _ = results["bp4d+/M002/M002_T1"]
    np.testing.assert_array_equal(together(clips, "y_TA"), trees.person(1, 12).y_TA)
    assert together(clips, "number_T").tolist() == list(range(1, 13))
    by_name = found_in("bp4d+", tmp_path, frame_map="by_name")
    assert by_name.sequences[0].source.numbered[0][0] == 0
    assert any("count from 0" in note for note in by_name.notes)


def test_affwild2_crops_have_gaps_and_people_sides_and_parts(tmp_path):
    found = found_in("affwild2", trees.affwild2(tmp_path))
    assert found.cropped
    assert found.partitions == {"train": ["affwild2/1-30", "affwild2/7"], "validation": ["affwild2/9"]}
    results = taken("affwild2", found)
    assert list(results) == ["affwild2/1-30/1-30", "affwild2/7/7_left", "affwild2/7/7_right", "affwild2/9/9"]
    clips, _ = results["affwild2/7/7_left"]
    numbers_T, valid_TA = together(clips, "number_T"), together(clips, "valid_TA")
    assert numbers_T.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13]
    assert (~valid_TA).all(1).tolist() == [number == 3 for number in numbers_T]
    who = trees.person(1, 16)
    six = trees.BP4D_AUS.index(6)
    assert together(clips, "y_TA")[4:, 3].tolist() == who.y_TA[numbers_T[4:] - 1, six].tolist()
    times = together(results["affwild2/1-30/1-30"][0], "time_T")
    assert times[1] == pytest.approx(1 / 20, rel=0.02)
    with pytest.raises(RecipeError, match="face crops already"):
        recipe_for("affwild2", found, Options(), VideoSpec())
    assert recipe_for("affwild2", found, Options(), VideoSpec(cropped=False)).crop.alignment == "eyes"


@pytest.mark.slow
def test_of_two_people_in_a_video_the_one_on_the_side_counts(tmp_path):
    root = trees.affwild2(tmp_path)
    shutil.rmtree(root / "cropped_aligned")
    both = [
        np.hstack([left, right]) for left, right in zip(*(trees.person(k, 16).scene_T for k in (0, 1)), strict=True)
    ]
    trees.film(root / "batch2" / "7.mp4", both, 25)
    found = found_in("affwild2", root)
    spec = VideoSpec(clip_frames=4, max_faces=1)
    results = taken("affwild2", replace(found, sequences=found.sequences[1:3]), spec)

    for side, (clips, report) in zip(("left", "right"), results.values(), strict=True):
        assert len(clips) == 4, side
        assert report.tracks == 1
    pictures = [clips[0].jpeg_T[0] for clips, _ in results.values()]
    assert pictures[0] != pictures[1]


def test_tables_are_read_as_a_layout_says(tmp_path):
    found = found_in("gft", trees.gft(tmp_path))
    assert "unverified" in found.notes[0]
    clips, _ = taken("gft", found)["gft/001A/001A"]
    assert (~together(clips, "valid_TA")).all(1).tolist() == [k == 1 for k in range(16)]
    own = tmp_path / "own.yaml"
    own.write_text(
        "corpus: mine\nrecordings: ['(?P<name>(?P<subject>\\d{3})[AB])\\.mp4']\n"
        "tables: '(?P<name>\\d{3}[AB])_labels\\.csv'\nfirst_frame: 5\n"
        "partitions: {train: '\\d{3}A', test: '\\d{3}B'}\n"
    )
    options = Options(layout=read_layout(own))
    found = CORPORA["gft"].find(look(tmp_path), options)
    assert found.partitions == {"train": ["mine/001"], "test": ["mine/001"]}
    clips, _ = taken("gft", found, options=options)["mine/001/001A"]
    assert together(clips, "number_T")[0] == 5
    own.write_text("recordings: ['x']\ntables: '(?P<name>y)'\n")
    with pytest.raises(RecipeError, match="group 'name'"):
        read_layout(own)
    own.write_text("recordings: ['(?P<name>x)']\ntables: '(?P<name>y)'\nframe_colum: t\n")
    with pytest.raises(RecipeError, match="frame_colum"):
        read_layout(own)


def test_listed_bad_frames_are_left_out(tmp_path):
    sums = {
        (corpus, which): sum(b - a + 1 for ranges in bad_frames(corpus, which).values() for a, b in ranges)
        for corpus in ("bp4d", "disfa")
        for which in ("jaanet", "fgnet")
    }
    assert sums == {("bp4d", "jaanet"): 271, ("bp4d", "fgnet"): 424, ("disfa", "jaanet"): 4670, ("disfa", "fgnet"): 503}
    assert sum(number for _, _, number in published_segments("bp4d").values()) == 146_847
    found = found_in("disfa", trees.disfa(tmp_path, ("SN001",)), bad_frames="jaanet")
    assert found.sequences[0].dropped == ((398, 420), (3190, 3243))
    short = replace(found, sequences=(replace(found.sequences[0], dropped=((3, 6),)),))
    ((clips, report),) = taken("disfa", short).values()
    assert together(clips, "number_T")[:4].tolist() == [1, 2, 7, 8]
    assert report.dropped["frame on the list of bad frames"] == 4
