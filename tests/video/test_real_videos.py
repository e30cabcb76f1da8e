"""Every real file, where there are some: counts, times, level eyes."""

from collections import Counter

import numpy as np
import pytest
from collected import track_crops, video_clips
from video_files import REAL

from au_dist.core.schema import CropRecipe
from au_dist.corpora.folder import find_videos, video_names
from au_dist.corpora.tree import look
from au_dist.video.faces import open_detector
from au_dist.video.video import Frame, read_frames
from au_dist.video.video_spec import VideoReport, VideoSpec

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not REAL.is_dir(), reason="no real files here")]

RECIPE = CropRecipe()
SPEC = VideoSpec(clip_frames=16)


def ingest(name, spec=SPEC):
    report = VideoReport(REAL / name)
    clips = list(video_clips(REAL / name, spec, RECIPE, report=report))
    assert all(clip.faults(0) == [] for clip in clips)
    assert len({clip.clip_id for clip in clips}) == len(clips) == report.clips
    return clips, report


def test_all_files_are_found_and_named():
    entries = find_videos(look(REAL))
    assert len(entries) == 6
    assert len(set(video_names(entries).values())) == 6


def test_one_face_throughout():
    clips, report = ingest("single_face.mp4")
    assert (report.frames, report.frames_with_face, report.tracks, len(clips)) == (72, 72, 1, 4)


def test_variable_rate_audio_first_and_a_face_that_leaves():
    clips, report = ingest("face_noface.mov")
    assert (report.frames, report.frames_with_face, report.tracks, len(clips)) == (169, 72, 1, 4)
    times = [frame.time for frame in read_frames(REAL / "face_noface.mov")]
    assert report.duration == times[-1]
    assert len(np.unique(np.diff(times).round(4))) == 4


def test_no_face_and_a_wrong_header():
    clips, report = ingest("no_face.mp4")
    assert clips == []
    assert (report.frames, report.header_frames, report.frames_with_face, report.error) == (95, 98, 0, None)


def test_several_faces():
    clips, report = ingest("several_faces_1080p.mp4")
    assert report.frames == report.frames_with_face == 105
    assert len({clip.subject for clip in clips}) >= 5
    # Two people stay in view from beginning to end: 105 frames are six clips.
    assert sum(number == 6 for number in Counter(clip.subject for clip in clips).values()) == 2


def test_pictures():
    assert len(ingest("single_face.jpg", VideoSpec(clip_frames=1))[0]) == 1
    assert len(ingest("multi_face.jpg", VideoSpec(clip_frames=1))[0]) == 5


@pytest.mark.parametrize("name", ["single_face.mp4", "face_noface.mov", "multi_face.jpg", "single_face.jpg"])
def test_eyes_are_level_and_in_place(name):
    """Found again in the crops, the eyes lie where the recipe says."""
    recipe = CropRecipe(size=224)
    detect = open_detector("centerface")
    for track in track_crops(REAL / name, SPEC, recipe):
        found = [detect(Frame(0, 0.0, rgb)) for rgb in track.crop_TSSC[::12]]
        eyes = np.array([faces[0].landmarks_52[:2] for faces in found if faces]) / 224
        assert len(eyes) >= 0.8 * len(found)
        np.testing.assert_allclose(np.median(eyes, axis=0), [[0.31, 0.4], [0.69, 0.4]], atol=0.05)
