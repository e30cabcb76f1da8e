"""Prediction: what is in the table, that it is what the network says, and that nothing half-made stays behind."""

import csv

import numpy as np
import pytest
import simplejpeg
import torch
from collected import video_clips
from detector_file import (
    AUS,
    CROP,
    LEFT,
    REAL,
    RIGHT,
    SIZE,
    THRESHOLDS,
    network,
    pictures,
    recipe,
    write_detector,
    write_landmarks,
    write_video,
)
from PIL import Image

from au_dist.core.errors import CheckpointError, IngestError, RecipeError, StorageError
from au_dist.core.schema import CropRecipe, au_names
from au_dist.scoring import score_video as scoring
from au_dist.scoring.model import load_model
from au_dist.scoring.predict import predict
from au_dist.scoring.scored import ScoredVideo, by_share, main_tracks
from au_dist.train import checkpoint
from au_dist.video.video_spec import VideoSpec

FRAMES = 24
#: The left face is larger in time; frames 8 and 9 are a gap that tracking fills; nobody after frame 19.
WHO = {t: [LEFT] for t in range(20) if t not in (8, 9)} | {t: [LEFT, RIGHT] for t in range(12, 16)}
SEEN = sorted(WHO)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return write_detector(tmp_path_factory.mktemp("runs") / "toy").uri


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    times = [40 * t + (9 if t % 3 == 1 else 0) for t in range(FRAMES)]
    # All frames alike in colour, lest they be taken for cuts.
    still = pictures(1)[0].astype(int)
    moving = [np.clip(still + shift, 0, 255).astype(np.uint8) for shift in range(0, 4 * FRAMES, 4)]
    write_landmarks(folder / "pair.csv", WHO)
    return write_video(folder / "pair.mp4", moving, times), times


def options(path):
    return {"detector": "landmarks", "landmarks": path.with_suffix(".csv")}


def read(path):
    """Read as programs for OpenFace's tables do: names stripped, every value a number."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    names = [name.strip() for name in rows[0]]
    return names, [dict(zip(names, map(float, row), strict=True)) for row in rows[1:]]


@pytest.fixture(scope="module")
def predicted(detector, video, tmp_path_factory):
    out = tmp_path_factory.mktemp("main")
    return predict(detector, video[0], out, **options(video[0]))


@pytest.fixture(scope="module")
def everyone(detector, video, tmp_path_factory):
    out = tmp_path_factory.mktemp("all")
    return predict(detector, video[0], out, faces="all", **options(video[0]))


@pytest.mark.slow
def test_columns(predicted, everyone):
    first = predicted.csv.read_text().splitlines()[0]
    calls, chances = [f"{au}_c" for au in au_names(AUS)], [f"{au}_p" for au in au_names(AUS)]
    assert first == ", ".join(["frame", "timestamp", "confidence", "success", *calls, *chances])
    names, _ = read(everyone.csv)
    assert names == ["frame", "face_id", "timestamp", "confidence", "success", *calls, *chances]


@pytest.mark.skipif(not REAL.is_dir(), reason="no real files here")
def test_columns_are_those_that_openface_wrote(predicted):
    ours, _ = read(predicted.csv)
    theirs, rows = read(REAL / "OpenFace_Test.csv")
    shared = [name for name in ours if not name.endswith("_p")]
    assert [name for name in theirs if name in shared] == shared
    lines = [path.read_text().splitlines() for path in (predicted.csv, REAL / "OpenFace_Test.csv")]
    assert [", " in line[0] for line in lines] == [True, True]
    assert [" " in line[1] for line in lines] == [False, False]
    assert rows[0]["frame"] == 1


def test_every_decoded_frame_has_a_row_and_its_own_time(predicted, video):
    _, rows = read(predicted.csv)
    assert [row["frame"] for row in rows] == list(range(1, FRAMES + 1))
    np.testing.assert_allclose([row["timestamp"] for row in rows], np.array(video[1]) / 1000, atol=1e-3)
    assert (predicted.frames, predicted.written, predicted.frames_with_face, predicted.faces) == (24, 24, 18, 2)


def test_frames_without_a_face_say_nothing(predicted):
    _, rows = read(predicted.csv)
    for row in rows:
        seen = row["frame"] - 1 in SEEN
        assert row["success"] == seen
        assert row["confidence"] == pytest.approx(0.9 if seen else 0)
        if not seen:
            assert not any(row[name] for name in row if name.startswith("AU"))


def test_scores_are_the_networks_on_the_ingested_clips(predicted, everyone, video):
    """The whole way again by other means: ingest's clips, out of their JPEGs, plain normalisation, the network."""
    path, _ = video
    spec = VideoSpec(clip_frames=1, **options(path))
    faces = {}
    for clip in video_clips(path, spec, CROP):
        faces[int(clip.number_T[0]), int(clip.subject.rpartition("#")[2])] = clip
    assert {number for number, _ in faces} == {*SEEN, 8, 9}
    detect, edge = network(recipe()).eval(), (CROP.size - SIZE) // 2
    _, main = read(predicted.csv)
    _, rows = read(everyone.csv)
    assert [row for row in rows if row["success"] and row["face_id"] == 0] == [
        {**row, "face_id": 0.0} for row in main if row["success"]
    ]
    assert sum(row["success"] for row in rows) == 18 + 4
    spread = []
    for row in rows:
        if not row["success"]:
            continue
        clip = faces[int(row["frame"]) - 1, int(row["face_id"])]
        crop = simplejpeg.decode_jpeg(clip.jpeg_T[0])[edge : edge + SIZE, edge : edge + SIZE] / 255
        normal = (crop - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        with torch.no_grad():
            logit = detect.heads(detect.network(torch.tensor(normal, dtype=torch.float32).permute(2, 0, 1)[None]))
        found = [row[f"{name}_p"] for name in au_names(AUS)]
        np.testing.assert_allclose(found, torch.sigmoid(logit)[0].numpy(), atol=5e-6)
        assert [row[f"{name}_c"] for name in au_names(AUS)] == (np.array(found) >= THRESHOLDS).tolist()
        spread.append(found)
    assert np.std(spread, axis=0).min() > 1e-3


def test_presence_uses_the_checkpoints_thresholds(predicted, video, tmp_path):
    _, rows = read(predicted.csv)
    limit = float(np.median([row["AU12_p"] for row in rows if row["success"]])) + 1e-5
    moved = write_detector(tmp_path / "moved", thresholds=[2.0, 0.0, 2.0, 0.0, limit])
    found = predict(moved.uri, video[0], tmp_path / "out", **options(video[0]))
    _, rows = read(found.csv)
    seen = [row for row in rows if row["success"]]
    assert {(row["AU01_c"], row["AU02_c"], row["AU04_c"], row["AU06_c"]) for row in seen} == {(0, 1, 0, 1)}
    assert [row["AU12_c"] for row in seen] == [float(row["AU12_p"] >= limit) for row in seen]
    called = sum(row["AU12_c"] for row in seen)
    assert 0 < called < len(seen)
    assert found.present[12] == pytest.approx(called / len(seen))


def test_all_faces_have_rows_and_an_empty_frame_has_one(everyone):
    _, rows = read(everyone.csv)
    ids = {}
    for row in rows:
        ids.setdefault(int(row["frame"]) - 1, []).append(int(row["face_id"]))
    assert sorted(ids) == list(range(FRAMES))
    for frame in range(FRAMES):
        expected = [-1] if frame not in SEEN else [0, 1] if 12 <= frame < 16 else [0]
        assert ids[frame] == expected
    assert all(row["success"] == (row["face_id"] >= 0) for row in rows)


@pytest.mark.slow
def test_a_video_without_a_face(detector, video, tmp_path):
    nobody = write_landmarks(tmp_path / "nobody.csv", {})
    for faces in ("main", "all"):
        found = predict(detector, video[0], tmp_path / faces, faces=faces, detector="landmarks", landmarks=nobody)
        _, rows = read(found.csv)
        assert len(rows) == FRAMES
        assert not any(row[name] for row in rows for name in row if name.startswith(("AU", "success", "confidence")))
        assert all(np.isnan(share) for share in found.present.values())
        assert found.picture.stat().st_size > 5000


def test_a_picture_is_a_video_of_one_frame(detector, tmp_path):
    path = tmp_path / "still.png"
    Image.fromarray(pictures(1)[0]).save(path)
    write_landmarks(tmp_path / "still.csv", {0: [LEFT]})
    before = path.read_bytes()
    with pytest.raises(RecipeError, match="would replace an input"):
        predict(detector, path, tmp_path, **options(path))
    assert path.read_bytes() == before
    found = predict(detector, path, tmp_path / "named.csv", **options(path))
    assert (found.csv, found.picture) == (tmp_path / "named.csv", tmp_path / "named.png")
    _, rows = read(found.csv)
    assert [(row["frame"], row["timestamp"], row["success"]) for row in rows] == [(1, 0, 1)]


def test_frames_that_are_said_to_be_crops_need_no_detector(video, tmp_path):
    run = write_detector(tmp_path / "crops", crop=CropRecipe(size=40, alignment="none"))
    found = predict(run.uri, video[0], tmp_path / "out", cropped=True)
    _, rows = read(found.csv)
    assert [row["success"] for row in rows] == [1] * FRAMES
    with pytest.raises(RecipeError, match="do not fit each other"):
        predict(run.uri, video[0], tmp_path / "other", detector="centerface")
    assert not (tmp_path / "other").exists()


def test_chunks_do_not_matter(detector, monkeypatch):
    monkeypatch.setattr("au_dist.scoring.model.CHUNK", 4)
    model = load_model(detector)
    frames = np.stack([picture[:40, :40] for picture in pictures(11)])
    together = model.scores(frames)
    assert together.shape == (11, len(AUS))
    assert together.dtype == np.float32
    alone = np.concatenate([model.scores(frames[i : i + 1]) for i in range(11)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.std(together, axis=0).min() > 1e-3
    assert model.scores(frames[:0]).shape == (0, len(AUS))


def test_scores_of_a_video_do_not_depend_on_chunks(detector, video, monkeypatch):
    model = load_model(detector)
    spec = scoring.video_spec(model, **options(video[0]))
    whole, _ = scoring.score_video(model, video[0], spec)
    monkeypatch.setattr(scoring, "CHUNK", 5)
    parts, _ = scoring.score_video(model, video[0], spec)
    np.testing.assert_allclose(parts.score_NA, whole.score_NA, atol=1e-5)
    np.testing.assert_array_equal(parts.at_N, whole.at_N)


def test_thumbnails_are_few_and_spread(detector, video, monkeypatch):
    monkeypatch.setattr(scoring, "THUMBNAIL_FRAMES", 2)
    model = load_model(detector)
    _, kept = scoring.score_video(model, video[0], scoring.video_spec(model, **options(video[0])))
    frames = sorted({at for at, _ in kept})
    assert 2 <= len(frames) <= 4
    assert frames[-1] - frames[0] >= 8


def scored(spans, areas):
    """Tracks that are in a span of frames each, with a constant area."""
    faces = sorted((t, track) for track, (first, last) in enumerate(spans) for t in range(first, last + 1))
    at, track = np.array(faces).T
    number = np.arange(30)
    scores = np.stack([track, at], 1).astype(np.float32)
    return ScoredVideo(number, number / 25, at, track, np.ones(len(at)), np.array(areas)[track], scores)


def test_the_main_face_is_the_largest_share_and_never_who_stood_beside_it():
    # 0 long and small, 1 short and large, 2 the rest of 1 after a loss, 3 beside 2.
    film = scored([(0, 29), (5, 9), (12, 20), (15, 25)], [10.0, 100.0, 90.0, 20.0])
    assert by_share(film) == [2, 1, 0, 3]
    assert main_tracks(film) == [2, 1]
    chosen = film.score_of(film.of_tracks(main_tracks(film)))
    assert chosen[5:10, 0].tolist() == [1.0] * 5
    assert chosen[12:21].tolist() == [[2.0, t] for t in range(12, 21)]
    assert np.isnan(chosen[[*range(5), 10, 11, *range(21, 30)]]).all()


def test_a_pretraining_is_refused_with_the_way_out(video, tmp_path):
    run = write_detector(tmp_path / "pre", task=None, method="aunce", name="pre")
    with pytest.raises(CheckpointError, match=r"pretraining.*task: detection.*init: \{run: pre\}"):
        predict(run.uri, video[0], tmp_path / "out")


def test_a_damaged_checkpoint_is_refused(video, tmp_path):
    run = write_detector(tmp_path / "torn")
    weights = tmp_path / "torn" / checkpoint.folder(7) / checkpoint.WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(run.uri)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": None}, "no thresholds"),
        ({"thresholds": [0.5]}, "no thresholds"),
        ({"crop": CropRecipe(size=40, version=0)}, "version 1.*version 0"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message, video, tmp_path):
    run = write_detector(tmp_path / "odd", **changes)
    with pytest.raises(CheckpointError, match=message):
        predict(run.uri, video[0], tmp_path / "out", **options(video[0]))
    assert not (tmp_path / "out").exists()


def test_bad_input_leaves_nothing(detector, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    nobody = write_landmarks(tmp_path / "nobody.csv", {})
    for path, message in ((tmp_path / "absent.mp4", "no such file"), (text, "text file")):
        with pytest.raises(IngestError, match=message):
            predict(detector, path, tmp_path / "out", detector="landmarks", landmarks=nobody)
    with pytest.raises(IngestError):
        predict(detector, text, tmp_path / "out", detector="landmarks", landmarks=tmp_path / "none.csv")
    with pytest.raises(RecipeError, match="main or all"):
        predict(detector, text, tmp_path / "out", faces="some")
    with pytest.raises(StorageError, match="no folder to write into"):
        predict(detector, text, text / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nobody.csv", "text.mp4"]


def test_a_failure_while_writing_leaves_the_old_result(detector, video, tmp_path):
    found = predict(detector, video[0], tmp_path, **options(video[0]))
    before = found.csv.read_bytes()
    found.picture.unlink()
    found.picture.mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        predict(detector, video[0], tmp_path, faces="all", overwrite=True, **options(video[0]))
    assert found.csv.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [found.csv.name, found.picture.name]


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="no real files here")
@pytest.mark.parametrize(
    ("name", "frames", "with_face"),
    [
        ("single_face.mp4", 72, 72),
        ("face_noface.mov", 169, 72),
        ("no_face.mp4", 95, 0),
        ("several_faces_1080p.mp4", 105, 105),
        ("single_face.jpg", 1, 1),
        ("multi_face.jpg", 1, 1),
    ],
)
def test_real_files(detector, tmp_path, name, frames, with_face):
    found = predict(detector, REAL / name, tmp_path, threads=2)
    _, rows = read(found.csv)
    assert (len(rows), sum(row["success"] for row in rows)) == (frames, with_face)
    assert (found.frames, found.frames_with_face) == (frames, with_face)
    assert np.all(np.diff([row["timestamp"] for row in rows]) > 0)
    with Image.open(found.picture) as picture:
        assert picture.width == 1440
