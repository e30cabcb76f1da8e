"""A model predicts with the crops that it was trained on, and says where it does not."""

from dataclasses import replace

import corpus_trees as trees
import numpy as np
import pytest
from detector_file import COARSE, CROP, LEFT, RIGHT, pictures, write_detector, write_landmarks, write_video

from au_dist.core.errors import IngestError, RecipeError
from au_dist.core.schema import CropRecipe, finding
from au_dist.scoring.model import load_model
from au_dist.scoring.predict import predict
from au_dist.scoring.score_video import finding_notes, score_video, video_spec

READY = CropRecipe(size=40, alignment="none")


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    return write_detector(tmp_path_factory.mktemp("coarse"), crop=COARSE).uri


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    return write_detector(tmp_path_factory.mktemp("ready"), crop=READY).uri


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "scene.mp4"
    large = [np.kron(scene, np.ones((2, 2, 1), np.uint8)) for scene in trees.person(0, 4).scene_T]
    return write_video(path, large)


def scores(model, path, **options):
    loaded = load_model(model)
    scored, _ = score_video(loaded, path, video_spec(loaded, **options))
    return scored.score_NA


def test_faces_are_found_as_those_that_the_model_learnt_from(coarse, scene, tmp_path):
    spec = video_spec(load_model(coarse))
    assert (spec.detector, spec.detect_side, spec.half_window, spec.max_gap) == ("centerface", 160, 0, 2)
    unsaid = write_detector(tmp_path / "unsaid").uri
    as_asked = scores(unsaid, scene, detect_side=160, half_window=0, max_gap=2)
    np.testing.assert_array_equal(scores(coarse, scene), as_asked)
    by_default = scores(unsaid, scene)
    assert np.abs(as_asked - by_default).max() > 1e-4
    assert predict(coarse, scene, tmp_path / "out").notes == ()


def test_what_is_asked_for_otherwise_is_said(coarse, scene, tmp_path):
    found = predict(coarse, scene, tmp_path / "out", detect_side=320, half_window=1)
    assert found.notes == (
        "the faces that the model learnt from were found with detect_side 160, these with 320",
        "the faces that the model learnt from were found with half_window 0, these with 1",
    )
    model = load_model(coarse)
    theirs = video_spec(model, detector="landmarks", landmarks=scene.with_suffix(".csv"), half_window=0, max_gap=2)
    assert finding_notes(model, theirs) == [
        "the faces that the model learnt from were found with detector centerface, these with landmarks",
    ]


def test_a_model_that_does_not_say_how_is_said_to_be_one(scene, tmp_path):
    unsaid = write_detector(tmp_path / "unsaid").uri
    assert load_model(unsaid).crop.finding == {}
    (note,) = predict(unsaid, scene, tmp_path / "out").notes
    assert "does not say how" in note
    assert "detector centerface, detect_side 640, half_window 1, max_gap 5" in note


def test_what_found_the_faces_and_is_not_here_is_asked_for(tmp_path):
    path = write_video(tmp_path / "pair.mp4", pictures(6))
    write_landmarks(tmp_path / "pair.csv", {t: [LEFT, RIGHT] for t in range(6)})
    by_points = write_detector(tmp_path / "a", crop=replace(CROP, **finding("landmarks", 640, 1, 5))).uri
    with pytest.raises(RecipeError, match=r"is not here.*--landmarks"):
        predict(by_points, path, tmp_path / "out")
    found = predict(by_points, path, tmp_path / "out", landmarks=tmp_path / "pair.csv")
    assert (found.frames_with_face, found.notes) == (6, ())
    own = write_detector(tmp_path / "b", crop=replace(CROP, **finding("/where/it/was/mine.py:find", 640, 1, 5))).uri
    with pytest.raises(RecipeError, match=r"is not here.*detector mine.py:find.*--detector"):
        predict(own, path, tmp_path / "out")
    model = load_model(own)
    assert finding_notes(model, video_spec(model, detector="/now/here/mine.py:find")) == []
    assert finding_notes(model, video_spec(model, detector="/now/here/yours.py:find")) != []
    with pytest.raises(RecipeError, match="would not be looked at"):
        video_spec(model, detector="centerface", landmarks=tmp_path / "pair.csv")


@pytest.mark.slow
def test_a_model_of_ready_made_crops_takes_crops_only(ready, scene, tmp_path):
    with pytest.raises(IngestError, match=r"ready-made face crops.*480 x 400.*--already-cropped"):
        predict(ready, scene, tmp_path / "out")
    faces = write_video(tmp_path / "faces.mp4", trees.person(0, 6).face_T)
    found = predict(ready, faces, tmp_path / "out")
    assert (found.frames, found.frames_with_face, found.notes) == (6, 6, ())
    nobody = write_video(tmp_path / "nobody.mp4", [np.full((150, 150, 3), 40 * k, np.uint8) for k in range(6)])
    with pytest.raises(IngestError, match=r"fills the frame in 0 of the first 6"):
        predict(ready, nobody, tmp_path / "out")
    small = [np.pad(face[::2, ::2], ((40, 35), (40, 35), (0, 0))) for face in trees.person(0, 6).face_T]
    with pytest.raises(IngestError, match=r"fills the frame in 0 of the first 6"):
        predict(ready, write_video(tmp_path / "small.mp4", small), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["faces.csv", "faces.png"]


@pytest.mark.slow
def test_crops_that_show_no_face_are_counted_and_not_scored(ready, tmp_path):
    black = np.zeros((150, 150, 3), np.uint8)
    film = write_video(tmp_path / "film.mp4", [*trees.person(0, 8).face_T, black, black])
    found = predict(ready, film, tmp_path / "out")
    assert (found.frames, found.frames_with_face) == (10, 8)
    assert found.notes[0].startswith("2 frames that no face fills are not scored")
    every = predict(ready, film, tmp_path / "every", cropped=True)
    assert (every.frames, every.frames_with_face, every.notes) == (10, 10, ())
    mine, all_ = (np.genfromtxt(path, delimiter=",", skip_header=1) for path in (found.csv, every.csv))
    np.testing.assert_array_equal(mine[:8, 4:], all_[:8, 4:])


def test_what_frames_are_said_to_be_must_fit_the_model(ready, coarse, scene):
    with pytest.raises(RecipeError, match=r"found and cut out.*said to be crops.*--already-cropped"):
        video_spec(load_model(coarse), cropped=True)
    with pytest.raises(RecipeError, match=r"ready-made crops.*said to be whole frames.*--crop-again"):
        video_spec(load_model(ready), cropped=False)


def test_a_square_head_that_fills_the_frame_is_cropped_again_and_that_is_said(coarse, tmp_path):
    film = write_video(tmp_path / "head.mp4", trees.person(0, 4).face_T)
    found = predict(coarse, film, tmp_path / "out")
    assert found.frames_with_face == 4
    (note,) = found.notes
    assert "cropped again (--crop-again)" in note
    said = predict(coarse, film, tmp_path / "said", cropped=False)
    assert said.notes == ()
    assert said.csv.read_bytes() == found.csv.read_bytes()
