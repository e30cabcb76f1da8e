"""One file for a recording and one for its labels: a second is refused with both names, a copy is noted."""

import shutil

import corpus_trees as trees
import pytest
from collected import found_in, taken, together

from au_dist.core.errors import IngestError

AFF = "Third ABAW Annotations/AU_Detection_Challenge"

#: Corpus, its tree, a file of it, and where a second one of that name lies: each is one recording's, or its labels'.
SECONDS = [
    ("bp4d", trees.bp4d, "AUCoding/AU_OCC/F001_T1.csv", "AUCoding/old/F001_T1.csv"),
    ("bp4d", trees.bp4d, "AUCoding/AU_INT/AU06/F001_T1_AU06.csv", "AU_INT/AU06/F001_T1_AU06.csv"),
    ("bp4d", trees.bp4d_videos, "2D/2F01_07.avi", "more/F001_T3.avi"),
    ("bp4d", trees.bp4d, "Sequences(2D+3D)/F001/T1/0052.jpg", "Sequences(2D+3D)/F001/T1/52.jpg"),
    ("bp4d+", trees.bp4d_plus, "AUCoding/AU_OCC/F001_T1.csv", "AUCoding/v0.1/F001_T1.csv"),
    ("disfa", trees.disfa, "ActionUnit_Labels/SN001/SN001_au1.txt", "old/SN001/SN001_au1.txt"),
    ("disfa", trees.disfa, "Videos_LeftCamera/LeftVideoSN001_comp.avi", "x/leftvideosn001.avi"),
    (
        "disfa+",
        trees.disfa_plus,
        "DISFAPlusDataset/Labels/SN001/A1_AU1_TrailNo_1/AU1.txt",
        "Labels/SN001/A1_AU1_TrailNo_1/AU1.txt",
    ),
    ("affwild2", trees.affwild2, f"{AFF}/Train_Set/9.txt", f"{AFF}/Validation_Set/9.txt"),
    ("affwild2", trees.affwild2, "batch1/1-30.mp4", "batch2/1-30.avi"),
    ("gft", trees.gft, "videos/001A.mp4", "old/001A.mp4"),
    ("gft", trees.gft, "tables/001A_labels.csv", "tables/001A_new.csv"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("corpus", "make", "first", "second"), SECONDS, ids=[f"{s[0]}-{s[3]}" for s in SECONDS])
def test_two_files_of_one_name_are_refused_and_copies_noted(tmp_path, corpus, make, first, second):
    root = make(tmp_path)
    source = next(path for path in (root / first, root / second) if path.exists())
    target = root / (second if source == root / first else first)
    target.parent.mkdir(parents=True, exist_ok=True)
    once = found_in(corpus, root)
    shutil.copy(source, target)
    twice = found_in(corpus, root)
    assert [s.title for s in twice.sequences] == [s.title for s in once.sequences]
    assert sum("there twice, byte for byte" in note for note in twice.notes) == 1
    content = bytearray(source.read_bytes())
    content[-2] ^= 1
    target.write_bytes(bytes(content))
    with pytest.raises(IngestError, match="have one name") as caught:
        found_in(corpus, root)
    for path in (source, target):
        assert str(path) in str(caught.value)


@pytest.mark.slow
def test_pictures_of_a_recording_in_two_folders_are_refused_unless_alike(tmp_path):
    root = trees.bp4d(tmp_path)
    shutil.copytree(root / "Sequences(2D+3D)/F001", root / "backup/F001")
    found = found_in("bp4d", root)
    assert any("1 recordings are in several folders" in note for note in found.notes)
    assert len(taken("bp4d", found)["bp4d/F001/F001_T1"][0]) == 5
    (root / "backup/F001/T1/0060.jpg").write_bytes(trees.jpeg(trees.person(1, 20).scene_T[0]))
    with pytest.raises(IngestError, match=r"Two folders of pictures have one name.*F001.*F001/T1"):
        found_in("bp4d", root)


@pytest.mark.slow
def test_aligned_crops_come_before_those_that_are_not(tmp_path):
    root = trees.affwild2(tmp_path)
    for k in range(16):
        trees.put(root / "cropped/9" / f"{k + 1:05d}.jpg", trees.jpeg(trees.person(2, 16).face_T[k]))
    found = found_in("affwild2", root)
    (sequence,) = [s for s in found.sequences if s.name == "9"]
    assert {entry.name.split("/")[0] for _, entry in sequence.source.numbered} == {"cropped_aligned"}
    assert any("9 from cropped_aligned/9" in note for note in found.notes)


def test_tables_beside_the_labels_are_named(tmp_path):
    root = trees.bp4d(tmp_path)
    trees.put(root / "2DFeatures/F001_T1.csv", "landmarks")
    found = found_in("bp4d", root)
    assert any("2DFeatures/F001_T1.csv" in note for note in found.notes)
    clips, _ = taken("bp4d", found)["bp4d/F001/F001_T1"]
    assert together(clips, "number_T").tolist() == list(range(51, 71))
    trees.put(root / "2DFeatures/F001_T1.csv", "")
    shutil.rmtree(root / "AUCoding")
    for folder in ("one", "two"):
        trees.put(root / folder / "F001_T1.csv", trees.occurrence(trees.person(0, 20), 51 + (folder == "two")))
    with pytest.raises(IngestError, match="Two label files have one name"):
        found_in("bp4d", root)
