"""Many videos: every one has a result of its own or a reason, and what is done is not done again."""

import csv
import shutil
from pathlib import Path

import corpus_trees as trees
import numpy as np
import pytest
from detector_file import COARSE, write_detector, write_video
from PIL import Image

from au_dist.core.errors import IngestError, RecipeError
from au_dist.scoring.predict import predict
from au_dist.scoring.predict_many import check_all, predict_many
from au_dist.scoring.results import read_made
from au_dist.scoring.scored import header
from au_dist.scoring.sources import find_sources, is_one
from au_dist.storage.store import open_store


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return write_detector(tmp_path_factory.mktemp("model") / "toy", crop=COARSE).uri


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos of one name in two folders, one of two suffixes, a picture, a text that is called a video."""
    root = tmp_path_factory.mktemp("videos")
    films = {name: trees.person(k, 3 + k).scene_T for k, name in enumerate(("a/x.mp4", "b/x.mp4", "b/x.avi"))}
    for name, scenes in films.items():
        (root / name).parent.mkdir(exist_ok=True)
        write_video(root / name, scenes)
    Image.fromarray(trees.person(0, 3).scene_T[0]).save(root / "still.jpg")
    (root / "torn.mp4").write_text("no video")
    return root


def names(*addresses, taken=()):
    sources, _ = find_sources([str(address) for address in addresses], frozenset(taken))
    return {str(Path(source.address)): source.name for source in sources}


def test_results_lie_as_the_videos_do_and_no_two_are_one(folder, monkeypatch):
    below = {"a/x.mp4": "a/x", "b/x.mp4": "b/x.mp4", "b/x.avi": "b/x.avi", "still.jpg": "still", "torn.mp4": "torn"}
    assert names(folder) == {str(folder / path): name for path, name in below.items()}
    monkeypatch.chdir(folder)
    assert names(".") == below
    assert names("a/x.mp4", "b/x.mp4") == {"a/x.mp4": "a/x", "b/x.mp4": "b/x"}
    assert names("a", "b/x.mp4", "still.jpg") == {"a/x.mp4": "a/x", "b/x.mp4": "b/x", "still.jpg": "still"}
    assert names("a/x.mp4", "a", "./a/x.mp4", str(folder / "a")) == {"a/x.mp4": "x"}
    assert names("still.jpg", taken={"STILL"}) == {"still.jpg": "still.jpg"}


@pytest.mark.parametrize("seed", range(8))
def test_names_differ_whatever_is_in_a_folder(seed, tmp_path):
    random = np.random.default_rng(seed)
    for _ in range(30):
        stem = "".join(random.choice(["a", "A", ".mp4", "b/", "-2", "."], 3)).strip("/")
        path = tmp_path / f"v{stem}.{random.choice(['mp4', 'avi', 'MP4'])}"
        if not path.is_dir() and not any(parent.is_file() for parent in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    found = names(tmp_path, taken={"va"})
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert len(found) == len(files)
    assert len({name.casefold() for name in found.values()} | {"va"}) == len(found) + 1


@pytest.mark.parametrize("several", [False, True])
def test_a_timeline_of_an_older_version_is_no_picture(tmp_path, several):
    for name in ("talk", "openface", "photo"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "talk.csv").write_text(header([1, 12], several))
    (tmp_path / "openface.csv").write_text("frame, face_id, timestamp, confidence, success, gaze_0_x, AU01_c\n")
    sources, notes = find_sources([str(tmp_path)])
    assert [source.name for source in sources] == ["openface", "photo"]
    assert notes == [f"1 timelines that predict wrote into {tmp_path} are left out"]


def test_a_folder_without_videos_is_said(tmp_path):
    assert not is_one(str(tmp_path))
    with pytest.raises(IngestError, match="no videos"):
        find_sources([str(tmp_path)])


def refusing(folder, detector, out, match, **options):
    with pytest.raises(RecipeError, match=match):
        predict_many(detector, [str(folder)], out, parallel=2, **options)


def test_what_can_be_refused_is_before_any_work(folder, detector, tmp_path):
    refusing(folder, detector, tmp_path / "all.csv", "need a folder")
    refusing(folder, detector, tmp_path, "no such choice", faces="some")
    for name in ("a/x.csv", "videos.csv"):
        other = tmp_path / Path(name).stem
        (other / name).parent.mkdir(parents=True)
        (other / name).write_text("frame,AU01_c\n")
        refusing(folder, detector, other, rf"in the way.*{name}")
        assert [path.read_text() for path in other.rglob("*") if path.is_file()] == ["frame,AU01_c\n"]


@pytest.mark.ray
def test_a_folder_is_predicted_on_ray_and_goes_on(folder, detector, tmp_path, ray_here):
    videos = tmp_path / "videos"
    shutil.copytree(folder, videos)
    rows = []
    # Into the folder of the videos, where a timeline is a picture like any other.
    options = {"parallel": 2, "show": lambda row, done, total: rows.append((row.source.name, done, total))}
    many = predict_many(detector, [str(videos)], videos, **options)
    assert [done for _, done, _ in rows] == [1, 2, 3, 4, 5]
    by_name = {row.source.name: row for row in many.rows}
    assert {name: row.made and row.made.frames for name, row in by_name.items()} == {
        "a/x": 3, "b/x.avi": 5, "b/x.mp4": 4, "still": 1, "torn": None,
    }  # fmt: skip
    assert "text file" in by_name["torn"].error
    _, notes = find_sources([str(videos)])
    assert notes == [f"4 timelines that predict wrote into {videos} are left out"]
    alone = predict(detector, videos / "a/x.mp4", tmp_path / "alone")
    assert alone.csv.read_bytes() == (videos / "a/x.csv").read_bytes()
    with (videos / "videos.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["frames"] for row in table] == ["3", "5", "4", "1", ""]
    assert [bool(row["error"]) for row in table] == [False, False, False, False, True]
    with pytest.raises(IngestError, match=r"1 of 5 videos were set aside.*torn\.mp4.*run the same command again"):
        check_all(many)


@pytest.mark.ray
def test_what_is_done_is_done_again_only_where_something_changed(folder, detector, tmp_path, ray_here):
    videos, out = tmp_path / "videos", tmp_path / "out"
    shutil.copytree(folder / "b", videos)
    write_video(videos / "y.mp4", trees.person(1, 3).scene_T)
    predict_many(detector, [str(videos)], out, parallel=2)
    (out / "y.csv").unlink()
    (out / "y.png").unlink()
    again = predict_many(detector, [str(videos)], out, parallel=2)
    assert [(row.source.name, row.done_before) for row in again.rows] == [
        ("x.avi", True), ("x.mp4", True), ("y", False),
    ]  # fmt: skip
    check_all(again)
    before = read_made(out / "y.png")
    other = predict_many(detector, [str(videos)], out, parallel=2, detect_side=128)
    assert not any(row.done_before for row in other.rows)
    assert read_made(out / "y.png").asked != before.asked
    write_video(videos / "y.mp4", trees.person(2, 3).scene_T)
    changed = predict_many(detector, [str(videos)], out, parallel=2, detect_side=128)
    assert [bool(row.error) for row in changed.rows] == [False, False, True]
    assert "result of another video" in changed.rows[2].error
    forced = predict_many(detector, [str(videos)], out, parallel=2, detect_side=128, overwrite=True)
    assert [row.done_before for row in forced.rows] == [False, False, False]
    check_all(forced)


@pytest.mark.s3
def test_a_video_in_storage(folder, detector, tmp_path, s3_store, monkeypatch):
    for name, text in s3_store.environment.items():
        monkeypatch.setenv(name, text)
    place = open_store(f"s3://{s3_store.bucket}/videos")
    for name in ("a/x.mp4", "b/x.mp4"):
        place.upload(folder / name, name)
    place.write("notes.txt", b"")
    assert is_one(f"{place.uri}/a/x.mp4")
    assert not is_one(place.uri)
    sources, _ = find_sources([place.uri])
    assert {source.address.removeprefix(place.uri): source.name for source in sources} == {
        "/a/x.mp4": "a/x", "/b/x.mp4": "b/x",
    }  # fmt: skip
    there = predict(detector, f"{place.uri}/a/x.mp4", tmp_path / "there")
    here = predict(detector, folder / "a/x.mp4", tmp_path / "here")
    assert there.csv == tmp_path / "there" / "x.csv"
    assert there.csv.read_bytes() == here.csv.read_bytes()
    assert there.picture.read_bytes() == here.picture.read_bytes()
