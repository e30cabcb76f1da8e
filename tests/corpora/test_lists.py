"""Lists of cropped pictures: each picture with its own labels and person, once; what contradicts itself is refused."""

import json
import shutil

import numpy as np
import pytest
from collected import found_in, taken, together
from corpus_trees import put
from hypothesis import given, settings
from hypothesis import strategies as st
from list_trees import BP4D, DISFA, bp4d_folds, grey, levels, lines, put_json, put_pair

from au_dist.config.protocol import Protocol
from au_dist.core.errors import IngestError, RecipeError
from au_dist.corpora.options import Options
from au_dist.data.splits import split_subjects
from au_dist.video.video_spec import VideoSpec

ONE, PAIRS = (VideoSpec(detector="none", clip_frames=frames) for frames in (1, 2))

#: Subject → rows of twelve codes.
CODES = {
    "F001": [[1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0], [0] * 12, [9] + [0] * 10 + [1], [0, 1] * 6],
    "M002": [[1] * 12, [0, 0, 1] * 4, [0] * 12, [1, 0] * 6],
    "M003": [[0] * 11 + [1], [1] + [0] * 11, [0] * 12, [0] * 12],
}


@pytest.fixture
def folds(tmp_path):
    return tmp_path, bp4d_folds(tmp_path, CODES)


def test_each_picture_has_its_own_labels_once(folds):
    root, _ = folds
    found = found_in("lists", root)
    assert (found.corpus, found.aus, found.cropped) == ("bp4d", BP4D, True)
    results = taken("lists", found)
    assert list(results) == ["bp4d/F001/F001_T1", "bp4d/M002/M002_T1", "bp4d/M003/M003_T1"]
    for index, (subject, (clips, report)) in enumerate(zip(CODES, results.values(), strict=True)):
        (clip,) = clips
        assert clip.number_T.tolist() == [2440, 2441, 2442, 2443]
        assert levels(clip) == [40 * index + 5 * k + 10 for k in range(4)]
        expected_TA = np.array(CODES[subject])
        np.testing.assert_array_equal(clip.valid_TA, expected_TA != 9)
        np.testing.assert_array_equal(clip.y_TA, np.where(expected_TA == 9, 0, expected_TA))
        assert np.isnan(clip.intensity_TA).all()
        assert report.labelled == 4
        assert np.allclose(np.diff(clip.time_T), 1 / 25)


def test_folds_are_parts_and_recipes_find_them(folds):
    root, _ = folds
    found = found_in("lists", root)
    assert found.partitions == {"fold1": ["bp4d/F001"], "fold2": ["bp4d/M002"], "fold3": ["bp4d/M003"]}
    # F001 is of the published part 1, M002 of part 2, M003 of part 3.
    said = "The folds are the published ones of bp4d: fold1 is part1, fold2 is part2, fold3 is part3"
    assert any(note.startswith(said) for note in found.notes)
    other = found_in("lists", root, name="mine", columns=",".join(map(str, BP4D)))
    assert other.partitions["fold2"] == ["mine/M002"]
    names = [sequence.subject for sequence in other.sequences]
    for fold, subject in enumerate(CODES):
        protocol = Protocol(kind="published", fold=fold)
        assert split_subjects(names, protocol, other.partitions).test == (f"mine/{subject}",)
    with pytest.raises(RecipeError, match=r"no such fold.*0 to 2"):
        split_subjects(names, Protocol(kind="published", fold=3), other.partitions)


def test_folds_that_are_not_the_published_ones_are_said(folds):
    root, labels = folds
    for path in (root / "list").iterdir():
        path.unlink()
    for fold, who in ((1, ("F001", "M002")), (2, ("M003",))):
        put_pair(root / "list", f"BP4D_test_*_fold{fold}.txt", {p: r for p, r in labels.items() if p[:4] in who})
    found = found_in("lists", root)
    assert found.partitions == {"fold1": ["bp4d/F001", "bp4d/M002"], "fold2": ["bp4d/M003"]}
    assert any("are not the published ones of bp4d" in note for note in found.notes)


def test_lists_of_other_lengths_name_both_files(folds):
    root, _ = folds
    labels = root / "list/BP4D_train_label_fold2.txt"
    labels.write_text("\n".join(labels.read_text().splitlines()[:5]) + "\n")
    with pytest.raises(
        IngestError, match=r"not equally long.*img_path_fold2\.txt and .*label_fold2\.txt.*8 pictures and 5 rows"
    ):
        found_in("lists", root)


def test_empty_lines_are_no_rows_and_a_ragged_row_is_named(folds):
    root, _ = folds
    labels = root / "list/BP4D_train_label_fold2.txt"
    rows = labels.read_text().splitlines()
    labels.write_text("\n".join([rows[0], "", *rows[1:], "", ""]))
    assert len(found_in("lists", root).sequences) == 3
    labels.write_text("\n".join([rows[0], "", rows[1] + " 1", *rows[2:]]))
    with pytest.raises(IngestError, match=r"label_fold2\.txt, line 3.*13"):
        found_in("lists", root)
    labels.write_text("\n".join([rows[0], "", rows[1][:-1] + "3", *rows[2:]]))
    with pytest.raises(IngestError, match=r"no occurrence.*label_fold2\.txt, line 3, AU24.*Found 3.*--codes intensity"):
        found_in("lists", root)
    labels.write_text("\n".join([rows[0], rows[1][:-1] + "x", *rows[2:]]))
    with pytest.raises(IngestError, match=r"no number.*label_fold2\.txt, line 2, column 12"):
        found_in("lists", root)


@pytest.mark.parametrize(("code", "other"), [(1, 0), (9, 0)])
def test_a_picture_with_two_labels_names_both_rows(folds, code, other):
    root, labels = folds
    path, row = next((path, row) for path, row in labels.items() if path == "F001/T1/2442.jpg")
    place = row.index(code)
    changed = [*row[:place], other, *row[place + 1 :]]
    trained = {p: (changed if p == path else r) for p, r in labels.items() if not p.startswith("M002")}
    put_pair(root / "list", "BP4D_train_*_fold2.txt", trained)
    au = f"AU{BP4D[place]:02d}"
    with pytest.raises(IngestError, match=rf"two different labels.*F001/T1/2442\.jpg.*line 3.*line 3.*{au}"):
        found_in("lists", root)


def test_a_row_again_with_the_same_labels_is_noted(folds):
    root, labels = folds
    rows = [*labels.items()][:4]
    name = "list/BP4D_test_img_path_fold1.txt"
    put(root / name, "".join(f"{path}\n" for path, _ in [*rows, rows[1]]))
    put(root / "list/BP4D_test_label_fold1.txt", lines(row for _, row in [*rows, rows[1]]))
    found = found_in("lists", root)
    assert f"{name} lists 1 pictures again, with the same labels." in found.notes
    assert together(taken("lists", found)["bp4d/F001/F001_T1"][0], "number_T").tolist() == [2440, 2441, 2442, 2443]


def test_a_person_in_two_tests_or_in_training_and_test_is_refused(folds):
    root, labels = folds
    put_pair(root / "list", "BP4D_test_*_fold2.txt", {p: r for p, r in labels.items() if p[:4] in ("M002", "F001")})
    with pytest.raises(IngestError, match=r"two parts, train and test of fold2.*bp4d/F001"):
        found_in("lists", root)
    put_pair(root / "list", "BP4D_train_*_fold2.txt", {p: r for p, r in labels.items() if p[:4] == "M003"})
    with pytest.raises(
        IngestError,
        match=r"two parts, test of fold1 and of fold2.*test_img_path_fold1.*test_img_path_fold2.*1 in both: bp4d/F001",
    ):
        found_in("lists", root)
    assert found_in("lists", root, lists=r"BP4D_\w+_path_fold1\.txt").partitions == {"fold1": ["bp4d/F001"]}


def test_missing_pictures_are_counted_and_named(folds):
    root, _ = folds
    (root / "img/M002/T1/2441.jpg").unlink()
    shutil.rmtree(root / "img/F001")
    found = found_in("lists", root)
    assert found.aside == {"bp4d/F001/F001_T1": "none of its 4 pictures is there, such as F001/T1/2440.jpg"}
    assert "1 listed pictures are not there and were left out (1 of bp4d/M002/M002_T1)." in found.notes
    assert found.partitions == {"fold2": ["bp4d/M002"], "fold3": ["bp4d/M003"]}
    clips, _ = taken("lists", found, options=Options())["bp4d/M003/M003_T1"]
    assert levels(clips[0]) == [90, 95, 100, 105]
    shutil.rmtree(root / "img")
    with pytest.raises(IngestError, match=r"None of the pictures.*F001/T1/2440\.jpg"):
        found_in("lists", root)


def test_pictures_of_another_person_are_never_taken_for_missing_ones(tmp_path):
    put_pair(tmp_path, "BP4D_test_*_fold1.txt", {f"F001/T1/{k}.jpg": [k % 2] * 12 for k in range(1, 5)})
    put(tmp_path / "img/M002/T1/1.jpg", grey(7))
    put(tmp_path / "T1/2.jpg", grey(8))
    with pytest.raises(IngestError, match="None of the pictures"):
        found_in("lists", tmp_path)


def test_folders_of_another_machine_are_left_away(tmp_path):
    rows = {
        f"/home/M001/data/crops/SN00{s}/{k:05d}.png": [s, 0, 0, k, 9, 5, 0, 0, 0, 0, 0, 0]
        for s in (1, 2)
        for k in (0, 2)
    }
    header = "image_path," + ",".join(f"au{au}" for au in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))
    text = "".join(f"{path},{','.join(map(str, row))}\n" for path, row in rows.items())
    put(tmp_path / "DISFA/labels/0/test.csv", f"{header}\n{text}")
    for s in (1, 2):
        for k in (0, 2):
            put(tmp_path / f"pictures/SN00{s}/{k:05d}.PNG", grey(50 * s + k))
    with pytest.raises(IngestError, match=r"no occurrence.*line 4, AU01.*--codes intensity"):
        found_in("lists", tmp_path)
    found = found_in("lists", tmp_path, codes="intensity")
    assert (found.corpus, found.partitions) == ("disfa", {"fold0": ["disfa/SN001", "disfa/SN002"]})
    options = Options(codes="intensity", threshold=2)
    results = taken("lists", found, options=options, spec=PAIRS)
    ((one,), _), ((two,), _) = results["disfa/SN001/SN001"], results["disfa/SN002/SN002"]
    assert (levels(one), levels(two)) == ([50, 52], [100, 102])
    np.testing.assert_array_equal(two.intensity_TA[:, [0, 3, 4, 5]], [[2, 0, np.nan, 5], [2, 2, np.nan, 5]])
    assert two.y_TA[:, [0, 3, 4, 5]].tolist() == [[1, 0, 0, 1], [1, 1, 0, 1]]
    assert two.valid_TA[:, [0, 3, 4, 5]].tolist() == [[True, True, False, True]] * 2
    assert one.y_TA[:, [0, 3]].tolist() == [[0, 0], [0, 1]]
    assert two.time_T.tolist() == [0, 0.1]


def test_columns_that_cannot_be_told_are_refused(folds):
    root, labels = folds
    for options, expected, there in (
        ({"name": "mine"}, "columns of a known corpus", "12 columns of mine"),
        ({"columns": "1,2,4"}, "3 columns, as --columns says", "12 columns of bp4d"),
    ):
        with pytest.raises(IngestError, match=rf"which action units.*{expected}.*{there}"):
            found_in("lists", root, **options)
    put_pair(root / "list", "BP4D_test_*_fold1.txt", {p: r[:7] for p, r in labels.items() if p[:4] == "F001"})
    with pytest.raises(
        IngestError, match=r"which action units.*BP4D_test_label_fold1\.txt.*7 columns of bp4d.*all 7 columns"
    ):
        found_in("lists", root)
    only = {"lists": r".*test.*fold1\.txt"}
    found = found_in("lists", root, columns="26,25,12,9,6,4,1", **only)
    clips, _ = taken("lists", found)["bp4d/F001/F001_T1"]
    assert (found.aus, clips[0].y_TA[0].tolist()) == ((26, 25, 12, 9, 6, 4, 1), [1, 0, 0, 1, 1, 0, 1])
    with pytest.raises(RecipeError, match="cannot be asked for"):
        found_in("lists", root, columns="1,x", **only)


def test_a_path_that_tells_two_subjects_tells_none(tmp_path):
    sessions = {
        f"{who}/{session}/{k}.png": [k % 2, 1] for who in ("P01", "P02") for session in ("S1", "S2") for k in (1, 2)
    }
    put_pair(tmp_path, "mine_train_*.txt", sessions)
    for k, path in enumerate(sessions):
        put(tmp_path / path, grey(20 * k + 9))
    with pytest.raises(IngestError, match=r"who is in the pictures.*8 of 8, such as P01/S1/1\.png.*--subject"):
        found_in("lists", tmp_path, columns="6,12")
    found = found_in("lists", tmp_path, columns="6,12", subject=r"^(?P<subject>P\d+)/")
    assert found.partitions == {"train": ["mine/P01", "mine/P02"]}


def test_who_is_in_a_picture_must_be_told(tmp_path):
    names = {f"faces/{who}{k}.png": [k % 2, 1] for who in ("anna", "ben") for k in range(4)}
    put_pair(tmp_path, "mine_train_*.txt", names)
    for k, path in enumerate(names):
        put(tmp_path / path, grey(20 * k))
    with pytest.raises(IngestError, match=r"who is in the pictures.*8 of 8, such as faces/anna0\.png.*--subject"):
        found_in("lists", tmp_path, columns="6,12")
    with pytest.raises(IngestError, match=r"4 of 8, such as faces/ben0\.png"):
        found_in("lists", tmp_path, columns="6,12", subject="(?P<subject>anna)")
    with pytest.raises(RecipeError, match=r"lacks a group.*\(\?P<subject>…\).*Found anna"):
        Options(subject="anna")
    with pytest.raises(RecipeError, match="no regular expression"):
        Options(subject="(?P<subject>x")
    found = found_in("lists", tmp_path, columns="6,12", subject=r"(?P<subject>[a-z]+)\d")
    assert found.partitions == {"train": ["mine/anna", "mine/ben"]}
    results = taken("lists", found)
    assert list(results) == ["mine/anna/faces_anna", "mine/ben/faces_ben"]
    assert levels(results["mine/ben/faces_ben"][0][0]) == [80, 100, 120, 140]
    assert together(results["mine/ben/faces_ben"][0], "y_TA").tolist() == [[0, 1], [1, 1], [0, 1], [1, 1]]


def test_the_pattern_that_told_the_subjects_is_said(folds):
    notes = found_in("lists", folds[0]).notes
    assert sum(r"of bp4d is told by" in note and r"([FM]\d{3})" in note and "3 subjects" in note for note in notes) == 1


def test_two_sizes_of_a_picture_need_a_folder(folds):
    root, _ = folds
    shutil.copytree(root / "img", root / "img_200x200")
    assert len(found_in("lists", root).sequences) == 3
    for path in (root / "img_200x200").rglob("*.jpg"):
        path.write_bytes(grey(10))
    with pytest.raises(IngestError, match=r"Two pictures have one name.*img/F001.*img_200x200/F001.*--pictures"):
        found_in("lists", root)
    clips, _ = taken("lists", found_in("lists", root, pictures="img"))["bp4d/F001/F001_T1"]
    assert levels(clips[0]) == [10, 15, 20, 25]
    clips, _ = taken("lists", found_in("lists", root, pictures="img_200x200"))["bp4d/F001/F001_T1"]
    assert levels(clips[0]) == [10, 10, 10, 10]


def test_two_pictures_of_one_number_are_refused(tmp_path):
    put_pair(tmp_path, "BP4D_test_*.txt", {"F001/T1/01.jpg": [0] * 12, "F001/T1/1.jpg": [1] * 12})
    for k, name in enumerate(("01", "1")):
        put(tmp_path / f"img/F001/T1/{name}.jpg", grey(k * 90 + 9))
    with pytest.raises(IngestError, match=r"have one number.*line 1.*line 2.*01\.jpg and F001/T1/1\.jpg"):
        found_in("lists", tmp_path)


def test_opengraphau_lists_have_41_columns_and_several_corpora(tmp_path):
    sides = [0, 1] * 7
    rows = {
        "BP4D/F001/T1/7.jpg": [1, -1, 0, *[-1] * 24, *[-1] * 14],
        "DISFA/SN001/0.png": [0, 1, -1, *[-1] * 23, 1, *sides],
        "AFFW/video7_left/00001.jpg": [-1, -1, 1, *[0] * 24, *sides],
        "CK+/S005/001/S005_001_00000011.png": [1] * 27 + sides,
        "RAF-AU/0012_aligned.jpg": [0] * 27 + sides,
        "CASME2/sub03/EP07_04/reg_img12.jpg": [-1] * 26 + [0] + sides,
    }
    put_pair(tmp_path / "list", "hybrid_train_*.txt", {p: r for p, r in rows.items() if p[0] in "BD"})
    put_pair(tmp_path / "list", "hybrid_val_*.txt", {p: r for p, r in rows.items() if p[0] == "A"})
    put_pair(tmp_path / "list", "hybrid_test_*.txt", {p: r for p, r in rows.items() if p[0] in "CR"})
    for k, path in enumerate(rows):
        put(tmp_path / "img" / path, grey(10 * k + 10))
    found = found_in("lists", tmp_path)
    aus = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 27, 32, 38, 39)
    assert (found.corpus, found.aus) == ("hybrid", aus)
    assert found.partitions == {
        "train": ["bp4d/F001", "disfa/SN001"],
        "validation": ["affwild2/video7"],
        "test": ["casme2/sub03", "ck+/S005", "raf-au/0012"],
    }
    assert sum("14 columns of one side of the face" in note for note in found.notes) == 3
    clips = {title: clips[0] for title, (clips, _) in taken("lists", found, ONE).items()}
    one = clips["bp4d/F001/F001_T1"]
    assert (levels(one), one.number_T.tolist(), one.valid_TA.sum()) == ([10], [7], 2)
    assert (one.y_TA[0, :3].tolist(), one.valid_TA[0, :3].tolist()) == ([1, 0, 0], [True, False, True])
    two = clips["disfa/SN001/SN001"]
    assert (np.flatnonzero(two.valid_TA[0]).tolist(), two.y_TA[0, [0, 1, 26]].tolist()) == ([0, 1, 26], [0, 1, 1])
    assert {clip.corpus for clip in clips.values()} == {"hybrid"}


def test_jaanet_tests_parts(tmp_path):
    rows = {f"imgs/DISFA/SN00{s}/{k}.jpg": [(s + k) % 2] * 8 for s in (2, 6, 3) for k in range(4)}
    for part, s in ((1, 2), (2, 6), (3, 3)):
        mine = {p: r for p, r in rows.items() if f"SN00{s}" in p}
        put(tmp_path / f"list/DISFA_part{part}_path.txt", "".join(f"{path}\n" for path in mine))
        put(tmp_path / f"list/DISFA_part{part}_AUoccur.txt", lines(mine.values()))
    both = {p: r for p, r in rows.items() if "SN003" not in p}
    put(tmp_path / "list/DISFA_combine_1_2_path.txt", "".join(f"{path}\n" for path in both))
    put(tmp_path / "list/DISFA_combine_1_2_AUoccur.txt", lines(both.values()))
    put(tmp_path / "list/DISFA_combine_1_2_land.txt", lines([[0.5] * 98] * 8))
    for k, path in enumerate(rows):
        put(tmp_path / path, grey(k))
    found = found_in("lists", tmp_path)
    assert found.aus == DISFA
    assert found.partitions == {"part1": ["disfa/SN002"], "part2": ["disfa/SN006"], "part3": ["disfa/SN003"]}
    assert any("1 other files are not read: list/DISFA_combine_1_2_land.txt" in note for note in found.notes)
    clips, _ = taken("lists", found)["disfa/SN006/SN006"]
    assert (clips[0].y_TA[:, 7].tolist(), levels(clips[0])) == ([0, 1, 0, 1], [4, 5, 6, 7])


def test_json_lists_call_what_does_not_occur_999(tmp_path):
    put_json(
        tmp_path / "BP4D_train1.json",
        {"2F15_T8/frame_1.jpg": [999, 999, 4, *[999] * 2, 10, *[999] * 6], "2F15_T8/frame_3.jpg": [*BP4D]},
    )
    put_json(tmp_path / "BP4D_test1.json", {"2M03_T2/frame_12.jpg": [999] * 12})
    for k, path in enumerate(("2F15_T8/frame_1", "2F15_T8/frame_3", "2M03_T2/frame_12")):
        put(tmp_path / f"BP4D_valid_frames/{path}.jpg", grey(30 * k))
    found = found_in("lists", tmp_path)
    assert found.partitions == {"fold1": ["bp4d/M003"]}
    results = taken("lists", found, ONE)
    first, third = results["bp4d/F015/2F15_T8"][0]
    assert (first.number_T.tolist(), third.number_T.tolist()) == ([1], [3])
    assert first.y_TA.tolist() == [[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]]
    assert third.y_TA.all()
    assert third.valid_TA.all()
    (other,) = results["bp4d/M003/2M03_T2"][0]
    assert (other.y_TA.any(), other.valid_TA.all()) == (False, True)


@pytest.mark.parametrize(
    ("aus", "match"),
    [
        ([999, 4, *[999] * 10], r"train1\.json, line 1.*each once.*Found \[999, 4"),
        ([999, 999, 5, *[999] * 9], "each once"),
        ([4, 4], "each once"),
        ([0, 1], "each once"),
        ([999] * 11, r"cannot be told which action units are coded.*11 places"),
        (["AU4"], "a list of action units"),
        ([True], "a list of action units"),
    ],
)
def test_json_samples_that_are_something_else_are_named(tmp_path, aus, match):
    put_json(tmp_path / "BP4D_train1.json", {"F001_T8/frame_1.jpg": aus})
    put(tmp_path / "F001_T8/frame_1.jpg", grey(3))
    with pytest.raises(IngestError, match=match):
        found_in("lists", tmp_path)


def test_json_lists_of_what_occurs_need_to_know_what_is_coded(tmp_path):
    put_json(tmp_path / "DISFA_test1.json", {"LeftVideoSN001/frame_5.jpg": [25, 12]})
    put(tmp_path / "LeftVideoSN001/frame_5.jpg", grey(3))
    with pytest.raises(IngestError, match=r"do not occur, or are not coded.*2 orders.*--columns"):
        found_in("lists", tmp_path)
    found = found_in("lists", tmp_path, columns="1,2,4,6,9,12,25,26")
    ((clip,), _) = (
        taken("lists", found, ONE)["disfa/SN001/LeftVideoSN001_frame"]
        if False
        else next(iter(taken("lists", found, ONE).values()))
    )
    assert (clip.subject, clip.y_TA.tolist()) == ("disfa/SN001", [[0, 0, 0, 0, 0, 1, 1, 0]])
    path = tmp_path / "DISFA_test1.json"
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(IngestError, match=r"test1\.json, line 2"):
        found_in("lists", tmp_path, columns="1,2,4,6,9,12,25,26")
    path.write_text(json.dumps([{"img_path": "LeftVideoSN001/frame_5.jpg", "AUs": [26]}], indent=1))
    found = found_in("lists", tmp_path, columns="1,2,4,6,9,12,25,26")
    ((clip,), _) = taken("lists", found, ONE)["disfa/SN001/LeftVideoSN001"]
    assert clip.y_TA.tolist() == [[0, 0, 0, 0, 0, 0, 0, 1]]


def test_tables_are_read_by_name_and_name_what_they_leave(tmp_path):
    header = "quality,AU12,image_path,AU06_r,AU4_c"
    put(tmp_path / "mine_all.csv", f"{header}\n0.5,1,s1/a_1.jpg,2.5,0\n0.9,0,s1/a_2.jpg,,1\n")
    for k in (1, 2):
        put(tmp_path / f"s1/a_{k}.jpg", grey(60 * k))
    found = found_in("lists", tmp_path)
    assert (found.corpus, found.aus, found.partitions) == ("mine", (12, 6, 4), {})
    assert "mine_all.csv: columns that are not read: quality." in found.notes
    ((clip,), _) = taken("lists", found, PAIRS)["mine/s1/s1"]
    assert clip.y_TA[:, [0, 2]].tolist() == [[1, 0], [0, 1]]
    np.testing.assert_array_equal(clip.intensity_TA[:, 1], np.float32([2.5, np.nan]))
    assert not clip.valid_TA[:, 1].any()
    assert found_in("lists", tmp_path, columns="4,6,12").aus == (12, 6, 4)
    with pytest.raises(IngestError, match=r"other names than was said.*4, as --columns says.*--aus"):
        found_in("lists", tmp_path, columns="4")
    put(tmp_path / "mine_all.csv", "s1/a_1.jpg 1 0\ns1/a_2.jpg 0 0\n")
    with pytest.raises(IngestError, match="2 columns of mine"):
        found_in("lists", tmp_path)
    ((clip,), _) = taken("lists", found_in("lists", tmp_path, columns="17,1"), PAIRS)["mine/s1/s1"]
    assert (clip.y_TA.tolist(), levels(clip)) == ([[1, 0], [0, 0]], [60, 120])


def test_lists_of_two_corpora_or_with_other_columns_are_refused(folds):
    root, _ = folds
    put_pair(root / "list", "DISFA_test_*_fold1.txt", {"SN001/0.png": [0] * 8})
    with pytest.raises(IngestError, match=r"several corpora.*bp4d, disfa.*--lists"):
        found_in("lists", root)
    assert found_in("lists", root, lists="BP4D_.*").corpus == "bp4d"
    put(root / "list/BP4D_more.csv", "image,AU1\nF001/T1/2440.jpg,1\n")
    with pytest.raises(IngestError, match=r"different columns.*BP4D_more\.csv"):
        found_in("lists", root, lists="BP4D_.*")


def test_lists_and_labels_that_have_no_partner_are_named(folds):
    root, _ = folds
    (root / "list/BP4D_train_label_fold3.txt").unlink()
    (root / "list/BP4D_test_img_path_fold3.txt").unlink()
    found = found_in("lists", root)
    assert any(
        "1 lists of pictures have no file of labels: list/BP4D_train_img_path_fold3.txt" in n for n in found.notes
    )
    assert any("1 other files are not read: list/BP4D_test_label_fold3.txt" in note for note in found.notes)
    shutil.rmtree(root / "list")
    with pytest.raises(IngestError, match=r"does not look like a folder of lists.*BP4D_train_img_path_fold1"):
        found_in("lists", root)


@st.composite
def listings(draw):
    """Return subjects' pictures with codes, each picture of one subject, and who is tested in which fold."""
    subjects = draw(st.lists(st.integers(1, 40), min_size=2, max_size=5, unique=True))
    aus = draw(st.permutations([1, 2, 4, 6, 12, 25]))[: draw(st.integers(1, 6))]
    codes = st.lists(st.sampled_from([0, 1, 9, -1]), min_size=len(aus), max_size=len(aus)).filter(
        lambda row: set(row) & {0, 1}
    )
    pictures = {}
    for subject in subjects:
        for number in draw(st.lists(st.integers(0, 3000), min_size=1, max_size=4, unique=True)):
            pictures[f"s{subject:02d}/v/{number:0{draw(st.integers(1, 5))}d}.png"] = draw(codes)
    folds = {subject: draw(st.integers(1, 3)) for subject in subjects}
    form = draw(st.sampled_from(["{:d}", "{:.18e}", "{:.1f}"])), draw(st.sampled_from(["pair", ",", ";", "\t"]))
    return pictures, aus, folds, form, draw(st.randoms(use_true_random=False))


def put_table(path, mark, aus, rows):
    """Write a list as a table, its columns in an order of its own."""
    order = sorted(range(len(aus)), key=lambda k: str(aus[k]))
    table = [[f"au{aus[k]}" for k in order] + ["image_path"]]
    table += [[row[k] for k in order] + [picture] for picture, row in rows.items()]
    put(path, "".join(mark.join(cells) + "\n" for cells in table))


@settings(max_examples=40, deadline=None)
@given(listings())
def test_lists_that_are_written_are_read_back(tmp_path_factory, listing):
    pictures, aus, folds, (form, mark), random = listing
    root = tmp_path_factory.mktemp("lists")
    for path in pictures:
        put(root / "img" / path, b"")
    for fold in set(folds.values()):
        for part in ("train", "test"):
            wanted = [p for p in pictures if (folds[int(p[1:3])] == fold) == (part == "test")]
            random.shuffle(wanted)
            if wanted:
                rows = {path: [form.format(code) for code in pictures[path]] for path in wanted}
                if mark == "pair":
                    put_pair(root / "list", f"mine_{part}_*_fold{fold}.txt", rows)
                else:
                    put_table(root / f"list/mine_{part}_fold{fold}.csv", mark, aus, rows)
    found = found_in("lists", root, columns=",".join(map(str, aus)))
    read = {}
    for sequence in found.sequences:
        table = sequence.table
        assert table.number_L.tolist() == [number for number, _ in sequence.source.numbered]
        for k, (_, entry) in enumerate(sequence.source.numbered):
            path = entry.name.removeprefix("img/")
            read[path] = [int(table.occurrence[au][k]) for au in aus]
            assert sequence.subject == f"mine/{path[:3]}"
    assert read == {path: [code if code in (0, 1) else -1 for code in row] for path, row in pictures.items()}
    assert found.partitions == {
        f"fold{fold}": sorted(f"mine/s{s:02d}" for s in folds if folds[s] == fold)
        for fold in sorted(set(folds.values()))
    }
