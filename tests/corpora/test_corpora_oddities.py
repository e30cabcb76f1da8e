"""What may be wrong or unusual about a corpus on disk, and what is made of it."""

import shutil
import zipfile

import corpus_trees as trees
import numpy as np
import pytest
from collected import PLAIN, found_in, taken, together

from au_dist.core.errors import IngestError, RecipeError
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.layout import read_layout
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import read
from au_dist.corpora.tree import look
from au_dist.ingest.how import recipe_for
from au_dist.video.crops import crop, encode
from au_dist.video.video_spec import VideoSpec


def test_other_lengths_are_cut_by_two_frames_and_refused_beyond(tmp_path):
    root = trees.disfa(tmp_path, ("SN001",))
    label = root / "ActionUnit_Labels/SN001/SN001_au1.txt"
    for column, au in enumerate(trees.DISFA_AUS):
        more = trees.pairs(np.zeros(26, int) + column % 2)
        (label.parent / f"SN001_au{au}.txt").write_text(more)
    ((clips, report),) = taken("disfa", found_in("disfa", root)).values()
    assert report.notes == ["2 labelled frames have no picture and were left out"]
    assert together(clips, "number_T")[-1] == 24
    for au in trees.DISFA_AUS:
        (label.parent / f"SN001_au{au}.txt").write_text(trees.pairs(np.zeros(27, int)))
    with pytest.raises(IngestError, match=r"not of the same recording.*3 labels of frames"):
        taken("disfa", found_in("disfa", root))
    for au in trees.DISFA_AUS:
        (label.parent / f"SN001_au{au}.txt").write_text(trees.pairs(np.zeros(20, int)))
    with pytest.raises(IngestError, match="4 frames after the last label"):
        taken("disfa", found_in("disfa", root))


def test_a_video_that_ends_before_its_header_says_counts_decoded_frames(tmp_path):
    root = trees.disfa(tmp_path, ("SN001",))
    video = root / "Videos_LeftCamera/LeftVideoSN001_comp.avi"
    data = video.read_bytes()
    places = [
        place
        for place in range(data.index(b"movi"), data.index(b"idx1"))
        if data[place : place + 4] == b"00dc" and int.from_bytes(data[place + 4 : place + 8], "little")
    ]
    video.write_bytes(data[: places[22]])
    ((clips, report),) = taken("disfa", found_in("disfa", root)).values()
    assert report.header_frames > 22
    assert report.frames == 22
    assert report.notes == ["2 labelled frames have no picture and were left out"]
    assert together(clips, "number_T")[-1] == 20
    video.write_bytes(data[: places[20]])
    with pytest.raises(IngestError, match="4 labels of frames up to 24, after the last of the video, 20"):
        taken("disfa", found_in("disfa", root))


def test_landmarks_of_another_program_belong_to_decoded_frames(tmp_path):
    root = trees.disfa(tmp_path / "tree", ("SN001",))
    names = [f"{axis}_{k}" for axis in "xy" for k in range(68)]
    rows = [",".join(["frame", *names])]
    for frame in range(1, 25):
        x = [70 + (60 if 42 <= k < 48 or k == 54 else 30 if k == 30 else 0) + frame for k in range(68)]
        y = [80 + (60 if k in (48, 54) else 30 if k == 30 else 0) for k in range(68)]
        rows.append(",".join(map(str, [frame, *x, *y])))
    trees.put(tmp_path / "points" / "LeftVideoSN001_comp.csv", "\n".join(rows) + "\n")
    spec = VideoSpec(detector="landmarks", landmarks=tmp_path / "points", clip_frames=4, half_window=0)
    ((clips, report),) = taken("disfa", found_in("disfa", root), spec).values()
    assert report.frames_with_face == 24
    first = recipe_for("disfa", found_in("disfa", root), Options(), spec).crop
    shifted = np.array([[71, 80], [131, 80], [101, 110], [71, 140], [131, 140]], np.float32)
    scene = next(read(found_in("disfa", root).sequences[0].source, None)).rgb_HWC
    assert clips[0].jpeg_T[0] == encode(crop(scene, shifted, first), 92)


def test_fera_2017_shows_each_recording_from_several_sides(tmp_path):
    for view in (1, 6):
        trees.put(tmp_path / f"FERA17_TR_F001_T1_{view}.mp4", b"x")
    trees.put(tmp_path / "Occ" / "FERA17_TR_F001_T1.csv", "x")
    (sequence,) = found_in("bp4d", tmp_path).sequences
    assert sequence.source.entry.name == "FERA17_TR_F001_T1_6.mp4"


@pytest.mark.slow
def test_a_corrupt_picture_is_passed_over(tmp_path):
    root = trees.bp4d(tmp_path)
    (root / "Sequences(2D+3D)/F001/T1/0055.jpg").write_bytes(b"\xff\xd8 no picture")
    results = taken("bp4d", found_in("bp4d", root))
    clips, report = results["bp4d/F001/F001_T1"]
    assert 55 not in together(clips, "number_T")
    assert report.dropped["picture not readable"] == 1


def test_an_unreadable_archive_is_set_aside_and_the_others_go_on(tmp_path):
    root = trees.bp4d_plus(tmp_path)
    (root / "2D+3D/M009.zip").write_bytes(b"PK\x03\x04 torn")
    found = found_in("bp4d+", root)
    assert [sequence.name for sequence in found.sequences] == ["F001_T1", "M002_T1"]
    ((where, why),) = found.aside.items()
    assert where.endswith("M009.zip")
    assert "cannot be opened" in why


def test_a_whole_corpus_in_one_archive(tmp_path):
    root = trees.disfa(tmp_path / "tree", ("SN001",))
    archive = tmp_path / "DISFA.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*.*")):
            file.write(path, f"DISFA/{path.relative_to(root)}")
    ((clips, _),) = taken("disfa", found_in("disfa", archive)).values()
    folder = taken("disfa", found_in("disfa", root))["disfa/SN001/SN001"][0]
    assert [clip.jpeg_T for clip in clips] == [clip.jpeg_T for clip in folder]


@pytest.mark.parametrize("corpus", ["bp4d", "bp4d+", "disfa", "disfa+", "gft", "affwild2"])
def test_an_unknown_layout_says_what_was_looked_for_and_what_is_there(tmp_path, corpus):
    trees.put(tmp_path / "stuff" / "notes.docx", "x")
    with pytest.raises(
        IngestError, match=r"does not look like.*Expected (pictures|videos|crops|recordings).*1 \.docx in stuff"
    ):
        found_in(corpus, tmp_path)
    with pytest.raises(IngestError, match="no such folder"):
        found_in(corpus, tmp_path / "absent")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpus", "make", "labels"),
    [
        ("bp4d", trees.bp4d, "AUCoding"),
        ("bp4d+", trees.bp4d_plus, "AUCoding"),
        ("disfa", trees.disfa, "ActionUnit_Labels"),
        ("disfa+", trees.disfa_plus, "DISFAPlusDataset/Labels"),
        ("affwild2", trees.affwild2, "Third ABAW Annotations"),
        ("gft", trees.gft, "tables"),
    ],
)
def test_a_missing_label_folder_is_named(tmp_path, corpus, make, labels):
    shutil.rmtree(make(tmp_path) / labels)
    with pytest.raises(IngestError, match=r"but no labels.*Expected (occurrence|labels|tables)"):
        found_in(corpus, tmp_path)


def test_where_a_picture_is_missing_the_others_keep_their_places(tmp_path):
    root = trees.bp4d_plus(tmp_path)
    for archive in (root / "2D+3D").glob("*.zip"):
        with zipfile.ZipFile(archive) as file:
            for member in file.namelist():
                if "/T1/" in member and not member.endswith("003.jpg"):
                    trees.put(root / "2D+3D" / member, file.read(member))
        archive.unlink()
    clips, report = taken("bp4d+", found_in("bp4d+", root))["bp4d+/F001/F001_T1"]
    numbers_T = together(clips, "number_T")
    assert numbers_T.tolist() == [1, 2, 3, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(together(clips, "y_TA"), trees.person(0, 12).y_TA[numbers_T - 1])
    assert report.notes == ["1 labelled frames have no picture and were left out"]


def test_pictures_of_two_cameras_are_not_mixed(tmp_path):
    root = trees.disfa(tmp_path, ("SN001",))
    shutil.rmtree(root / "Videos_LeftCamera")
    shutil.rmtree(root / "Video_RightCamera")
    for camera, numbers in (("left", range(24)), ("right", range(26))):
        for k in numbers:
            scene = trees.person(0, 24, "DISFA_ge2_12au").scene_T[min(k, 23)]
            trees.put(root / camera / "SN001" / f"{k:04d}.jpg", trees.jpeg(scene))
    for camera, count in (("left", 24), ("right", 26)):
        found = found_in("disfa", root, camera=camera)
        (sequence,) = found.sequences
        assert {entry.name.split("/")[0] for _, entry in sequence.source.numbered} == {camera}
        assert [number for number, _ in sequence.source.numbered] == list(range(1, count + 1))
        assert any("several folders" in note for note in found.notes)


def test_other_names_of_the_same_files_are_found(tmp_path):
    who = trees.person(0, 8)
    trees.film(tmp_path / "2F01_T5.avi", who.scene_T, 25)
    with zipfile.ZipFile(tmp_path / "F002.Zip", "w") as archive:
        archive.writestr("T01/000.jpg", trees.jpeg(who.scene_T[0]))
    for name in ("F001_T5", "F002_T1"):
        trees.put(tmp_path / "AUCoding" / f"{name}.csv", trees.occurrence(who, 1))
        trees.put(tmp_path / "2DFeatures" / f"{name}.csv", "landmarks")
    found = found_in("bp4d", tmp_path)
    assert [sequence.title for sequence in found.sequences] == ["bp4d/F001/F001_T5", "bp4d/F002/F002_T1"]
    assert {sequence.labels["occurrence"].parts[0] for sequence in found.sequences} == {"AUCoding"}


def test_a_broken_video_beside_crops_costs_only_its_frame_rate(tmp_path):
    root = trees.affwild2(tmp_path)
    (root / "batch1/1-30.mp4").write_bytes(b"")
    found = found_in("affwild2", root)
    assert len(found.sequences) == 4
    assert found.notes == (
        "4 folders of crops have no video that tells their frame rate: 30 frames a second are taken.",
    )
    sets = root / "Third ABAW Annotations/AU_Detection_Challenge"
    shutil.copy(sets / "Train_Set/1-30.txt", sets / "Validation_Set/1-30.txt")
    found = found_in("affwild2", root)
    assert any("in the training and in the validation set: affwild2/1-30" in note for note in found.notes)


def test_a_thumbnail_is_no_recording(tmp_path):
    root = trees.gft(tmp_path)
    trees.put(root / "videos" / "001A.jpg", b"x")
    found = found_in("gft", root)
    assert all(sequence.source.entry.suffix == ".mp4" for sequence in found.sequences)


def test_a_layout_with_a_threshold_keeps_intensities(tmp_path):
    trees.film(tmp_path / "a1.mp4", trees.person(0, 4).scene_T, 30)
    trees.put(tmp_path / "a1.csv", "t;AU04\n1;0\n2;3\n3;\n4;9\n")
    own = tmp_path / "own.yaml"
    own.write_text("corpus: mine\nrecordings: ['(?P<name>a\\d)\\.mp4']\ntables: '(?P<name>a\\d)\\.csv'\nthreshold: 2\n"
                   "frame_column: t\n")  # fmt: skip
    options = Options(layout=read_layout(own))
    found = CORPORA["gft"].find(look(tmp_path), options)
    ((clips, _),) = taken("gft", found, options=options, aus="4").values()
    np.testing.assert_array_equal(clips[0].intensity_TA[:, 0], [0, 3, np.nan, np.nan])
    assert clips[0].y_TA[:, 0].tolist() == [0, 1, 0, 0]
    assert clips[0].corpus == "mine"
    own.write_text("recordings: ['(?P<name>x)']\ntables: '(?P<name>y)'\nau_column: 'AU\\d'\n")
    with pytest.raises(RecipeError, match="no group for the number"):
        read_layout(own)


def test_videos_in_archives_and_who_is_in_them(tmp_path):
    video = trees.film(tmp_path / "x" / "id01" / "a.mp4", trees.person(0, 4).scene_T, 25)
    with zipfile.ZipFile(tmp_path / "x" / "more.zip", "w") as archive:
        archive.write(video, "id02/b.mp4")
    found = found_in("video", tmp_path / "x", subjects="folder", name="mine")
    assert [sequence.title for sequence in found.sequences] == ["mine/id01/a", "mine/more/b"]
    results = taken("video", found)
    assert [len(clips) for clips, _ in results.values()] == [1, 1]
    assert results["mine/more/b"][0][0].corpus == "mine"


def test_links_in_a_circle_are_walked_once(tmp_path):
    root = trees.disfa(tmp_path, ("SN001",))
    (root / "loop").symlink_to(root)
    assert len(look(root).entries) == 15
    (root / "no\udce9.avi").write_bytes(b"x")
    assert list(look(root).unreadable.values()) == ["its name is not UTF-8"]


def test_the_other_camera_is_offered(tmp_path):
    root = trees.disfa(tmp_path, ("SN001",))
    shutil.rmtree(root / "Videos_LeftCamera")
    with pytest.raises(IngestError, match=r"left camera.*--camera"):
        found_in("disfa", root)
    assert found_in("disfa", root, camera="right").sequences


@pytest.mark.slow
def test_square_pictures_full_of_face_are_not_cropped_again(tmp_path):
    for k, face in enumerate(trees.person(0, 30).face_T):
        trees.put(tmp_path / "F001" / "T1" / f"{k + 1}.jpg", trees.jpeg(face))
    trees.put(tmp_path / "AU_OCC" / "F001_T1.csv", trees.occurrence(trees.person(0, 30), 1))
    found = found_in("bp4d", tmp_path)
    with pytest.raises(IngestError, match=r"face crops already.*--already-cropped.*--detector none.*--crop-again"):
        taken("bp4d", found, VideoSpec(clip_frames=4))
    ((as_they_are, _),) = taken("bp4d", found).values()
    ((again, _),) = taken("bp4d", found, VideoSpec(clip_frames=4, cropped=False)).values()
    assert len(again) == len(as_they_are) == 7
    assert again[0].jpeg_T != as_they_are[0].jpeg_T


def test_what_frames_are_said_to_be_fits_the_detector():
    for cropped, detector in ((True, "centerface"), (False, "none")):
        with pytest.raises(RecipeError, match="does not fit what the frames are said to be"):
            VideoSpec(detector=detector, cropped=cropped)
    assert VideoSpec(detector="none", cropped=True).detector == "none"


@pytest.mark.parametrize("aus", ["", "1,x", "1,1", "99"])
def test_strange_action_units_are_refused(tmp_path, aus):
    found = found_in("bp4d", trees.bp4d(tmp_path))
    with pytest.raises(RecipeError, match="cannot be asked for"):
        recipe_for("bp4d", found, Options(), PLAIN, aus=aus)
