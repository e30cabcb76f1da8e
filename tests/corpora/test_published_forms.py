"""CK+, UNBC-McMaster and the lists of ABAW's multi-task challenge: what each cell means, by hand."""

import shutil

import numpy as np
import pytest
from collected import found_in, taken, together
from corpus_trees import affwild2, put
from list_trees import grey, levels

from au_dist.core.errors import IngestError
from au_dist.corpora.options import Options
from au_dist.video.video_spec import VideoSpec

ONE, PAIRS = (VideoSpec(detector="none", clip_frames=frames) for frames in (1, 2))


def facs(*rows: tuple[float, ...]) -> str:
    return "".join("   " + "   ".join(f"{cell:.7e}" for cell in row) + "\n" for row in rows)


@pytest.fixture
def ck(tmp_path):
    for number in range(1, 5):
        put(tmp_path / f"cohn-kanade-images/S005/001/S005_001_{number:08d}.png", grey(20 * number))
    put(tmp_path / "cohn-kanade-images/S010/002/S010_002_00000001.png", grey(9))
    put(tmp_path / "FACS/S005/001/S005_001_00000004_facs.txt", facs((9, 0), (17, 4), (12, 7), (14, 2), (64, 1)))
    put(tmp_path / "Emotion/S005/001/S005_001_00000004_emotion.txt", "3.0\n")
    return tmp_path


def test_ck_codes_its_last_frame_and_0_is_no_absence(ck):
    found = found_in("ck+", ck)
    assert any("not tried on the data (unverified)" in note for note in found.notes)
    assert "1 recordings have no labels (S010/002)." in found.notes
    ((clip,), report) = taken("ck+", found, ONE)["ck+/S005/S005_001"]
    assert (clip.number_T.tolist(), levels(clip)) == ([4], [80])
    # AUs 1 2 4 5 6 7 9 11 12 15 17 20 23 24 25 26 27
    assert clip.y_TA.tolist() == [[0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]]
    assert clip.valid_TA.all()
    expected_A = np.zeros(17)
    expected_A[[6, 8, 10]] = np.nan, np.nan, 4
    np.testing.assert_array_equal(clip.intensity_TA[0], expected_A)
    assert report.notes[:3] == [
        "1 action units are listed with an intensity above 5: they occur, how much is not known",
        "1 action units are listed with intensity 0: they occur, how much is not known",
        "1 rows list 64, which is none of the action units that are coded",
    ]
    assert report.notes[3].startswith("coded, but not taken (--aus takes others): AU10, AU13, AU14")
    ((clip,), _) = taken("ck+", found, ONE, aus="14,13")["ck+/S005/S005_001"]
    assert (clip.y_TA.tolist(), clip.intensity_TA.tolist()) == ([[1, 0]], [[2, 0]])


def test_frames_before_the_peak_of_ck_have_no_labels(ck):
    options = Options(frames="all")
    clips, _ = taken("ck+", found_in("ck+", ck), PAIRS, options)["ck+/S005/S005_001"]
    assert together(clips, "number_T").tolist() == [1, 2, 3, 4]
    assert together(clips, "valid_TA").any(1).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("text", "match"), [("9\n", "no rows of action unit"), ("9 x\n", "no number.*line 1"), ("9 -1\n", "line 1"),
                        ("9.5 1\n", "not whole.*action unit"), ("9 1\n12\n", "line 2")],
)  # fmt: skip
def test_facs_rows_that_are_none_are_named(ck, text, match):
    put(ck / "FACS/S005/001/S005_001_00000004_facs.txt", text)
    with pytest.raises(IngestError, match=rf"{match}|facs\.txt.*{match}"):
        taken("ck+", found_in("ck+", ck), ONE)


def test_two_facs_files_of_a_frame_are_refused(ck):
    shutil.copytree(ck / "FACS", ck / "FACS_old/FACS")
    assert any("there twice" in note for note in found_in("ck+", ck).notes)
    put(ck / "FACS_old/FACS/S005/001/S005_001_00000004_facs.txt", facs((9, 1)))
    with pytest.raises(IngestError, match="Two label files have one name"):
        found_in("ck+", ck)


def test_unbc_has_a_file_a_frame_empty_where_nothing_occurs(tmp_path):
    who, name = "042-ll042", "ll042t1aaaff"
    rows = {
        1: "",
        2: facs((4, 2, 0, 0), (43, 1, 0, 0)),
        3: facs((6, 5, 0, 0), (4, 1, 0, 0), (4, 3, 0, 0), (50, 1, 0, 0)),
        4: "",
    }
    for number, text in rows.items():
        put(tmp_path / f"Images/{who}/{name}/{name}{number:03d}.png", grey(30 * number))
        put(tmp_path / f"Frame_Labels/FACS/{who}/{name}/{name}{number:03d}_facs.txt", text)
        put(tmp_path / f"Frame_Labels/PSPI/{who}/{name}/{name}{number:03d}_facs.txt", "9.0000000e+00\n")
    found = found_in("unbc", tmp_path)
    assert any("not tried on the data (unverified)" in note for note in found.notes)
    ((clip,), report) = taken("unbc", found)[f"unbc/{who}/{name}"]
    assert (clip.number_T.tolist(), levels(clip)) == ([1, 2, 3, 4], [30, 60, 90, 120])
    # AUs 4 6 7 9 10 12 20 25 26 43
    assert clip.y_TA[:, [0, 1, 9]].tolist() == [[0, 0, 0], [1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert not clip.y_TA[:, 2:9].any()
    assert clip.valid_TA.all()
    assert clip.intensity_TA[:, [0, 1]].tolist() == [[0, 0], [2, 0], [3, 5], [0, 0]]
    assert np.isnan(clip.intensity_TA[:, 9]).all()
    assert report.notes == [
        "2 files have more columns than action unit and intensity; they are not read",
        "1 rows list 50, which is none of the action units that are coded",
        "1 rows list AU04 again; the higher intensity is taken",
    ]


AUS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)


@pytest.mark.parametrize("header", ["aus", ",".join(f"AU{au}" for au in AUS)])
def test_lists_of_the_multi_task_challenge_mask_single_action_units(tmp_path, header):
    begin = f"image,valence,arousal,expression,{header}\n"
    unknown = ",".join(["-1"] * 12)
    train = "7_left/00002.jpg,0.1,-0.2,3,1,0,-1,0,0,0,0,0,0,0,0,1\n7_left/00003.jpg,-5,-5,-1,0,1,1,0,0,0,0,0,0,0,0,0\n"
    put(tmp_path / "training_set_annotations.txt", f"{begin}{train}7_left/00005.jpg,0,0,0,{unknown}\n")
    put(
        tmp_path / "validation_set_annotations.txt",
        f"{begin}9/00001.jpg,0,0,0,{unknown[:-2]}1\n9/00002.jpg,0,0,0,{unknown[:-2]}0\n",
    )
    for video in ("7_left", "9"):
        for number in (1, 2, 3, 4, 5, 6, 7, 8, 9):
            put(tmp_path / f"cropped_aligned/{video}/{number:05d}.jpg", grey(10 * number))
    found = found_in("affwild2", tmp_path)
    assert found.partitions == {"train": ["affwild2/7"], "validation": ["affwild2/9"]}
    results = taken("affwild2", found, PAIRS)
    clips, report = results["affwild2/7/7_left"]
    assert together(clips, "number_T").tolist() == [2, 3, 4, 5]
    valid_TA, y_TA = together(clips, "valid_TA"), together(clips, "y_TA")
    assert valid_TA.sum(1).tolist() == [11, 12, 0, 0]
    assert (y_TA[0].tolist(), valid_TA[0, 2]) == ([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], False)
    assert y_TA[1].tolist() == [0, 1, 1] + [0] * 9
    assert report.notes == ["columns that are not read: valence, arousal, expression"]
    assert [level for clip in clips for level in levels(clip)] == [20, 30, 40, 50]
    (clip,), _ = results["affwild2/9/9"]
    assert (clip.y_TA[:, 11].tolist(), clip.valid_TA.sum(1).tolist()) == ([1, 0], [1, 1])


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("9/00001.jpg,0,0,0" + ",0" * 11, r"columns of its header.*16 cells.*15 cells"),
        ("9/00001.jpg,0,0,0" + ",0" * 11 + ",2", r"no occurrence.*line 2, column AU26.*Found 2"),
        ("9/00001.jpg,0,0,0" + ",0" * 12 + "\n9/1.jpg,0,0,0" + ",1" * 12, r"twice.*line 3.*as in line 2"),
        ("00001.jpg,0,0,0" + ",0" * 12, "names no frame of a video"),
    ],
)
def test_rows_of_the_multi_task_lists_that_are_none_are_named(tmp_path, rows, match):
    put(tmp_path / "validation_set_annotations.txt", f"image,valence,arousal,expression,aus\n{rows}\n")
    put(tmp_path / "cropped_aligned/9/00001.jpg", grey(1))
    with pytest.raises(IngestError, match=match):
        found_in("affwild2", tmp_path)


def test_the_au_challenge_comes_before_the_multi_task_one(tmp_path):
    root = affwild2(tmp_path)
    put(
        root / "MTL_Challenge/train_set.txt",
        "image,valence,arousal,expression,aus\n9/00001.jpg,0,0,0" + ",1" * 12 + "\n",
    )
    found = found_in("affwild2", root)
    assert any("multi-task one are not read (MTL_Challenge/train_set.txt)" in note for note in found.notes)
    assert all(sequence.table is None for sequence in found.sequences)
