"""``au-dist predict`` at the front door: one video, many, and what it refuses."""

import csv

import corpus_trees as trees
import pytest
from detector_file import COARSE, write_detector, write_video
from test_cli import au_dist, process, refused


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_detector(tmp_path_factory.mktemp("model") / "toy", crop=COARSE).uri


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for k, name in enumerate(("F001_T1.mp4", "F002_T1.mp4")):
        write_video(folder / name, trees.person(k, 3).scene_T)
    return folder


@pytest.mark.slow
def test_one_video_says_its_frames_and_what_differs(model, videos, tmp_path):
    done = au_dist("predict", model, videos / "F001_T1.mp4", "--out", tmp_path, "--detect-side", 128)
    assert done.returncode == 0, done.stderr
    assert f"csv      {tmp_path}/F001_T1.csv  3 frames, 3 with a face" in done.stdout
    assert "note: the faces that the model learnt from were found with detect_side 160, these with 128" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["F001_T1.csv", "F001_T1.png"]


@pytest.mark.slow
def test_a_label_file_beside_the_video_stays(model, videos, tmp_path):
    (tmp_path / "F001_T1.csv").write_text("frame,AU01\n1,1\n")
    arguments = ("predict", model, videos / "F001_T1.mp4", "--out", tmp_path)
    refused(au_dist(*arguments), "in the way", "F001_T1.csv", "--overwrite")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["frame,AU01\n1,1\n"]
    assert au_dist(*arguments, "--overwrite").returncode == 0
    assert (tmp_path / "F001_T1.csv").read_text().startswith("frame, timestamp")


def test_what_the_frames_are_said_to_be_is_asked_of_the_model(model, videos, tmp_path):
    arguments = ("predict", model, videos / "F001_T1.mp4", "--out", tmp_path)
    refused(au_dist(*arguments, "--already-cropped"), "found and cut out", "said to be crops", "--already-cropped")
    assert au_dist(*arguments, "--crop-again").returncode == 0


@pytest.mark.ray
def test_many_videos_have_a_table_and_an_exit_code(model, videos, tmp_path, joined):
    torn = tmp_path / "torn.mp4"
    torn.write_text("no video")
    options = ("--out", tmp_path / "out", "--detect-side", 128)
    done = process("predict", model, videos, torn, *options)
    # What holds for all of them is said once, and counted.
    assert [line.partition(":")[0] for line in done.stderr.splitlines() if "with detect_side 160" in line] == [
        "note"
    ] * 2
    assert "note: of 2 videos: the faces that the model learnt from were found with detect_side 160" in done.stderr
    refused(done, "1 of 3 videos were set aside", "torn.mp4")
    assert "3 videos" in done.stdout
    with (tmp_path / "out" / "videos.csv").open(newline="") as file:
        assert [row["frames"] for row in csv.DictReader(file)] == ["3", "3", ""]
    well = process("predict", model, videos, *options)
    assert well.returncode == 0, well.stderr
    assert "2 of them done before" in well.stdout
