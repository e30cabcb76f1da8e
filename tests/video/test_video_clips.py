"""From video files to clips: synthetic faces moving about, found by the real detector."""

import dataclasses
import json

import numpy as np
import pytest
import simplejpeg
from collected import track_crops, video_clips
from video_files import MATRICES, grey, scene, synthetic_faces, with_matrix, write_video

from au_dist.core.errors import IngestError, RecipeError
from au_dist.core.schema import CropRecipe
from au_dist.video.clips import stream_crops
from au_dist.video.video_spec import VideoReport, VideoSpec

RECIPE = CropRecipe(size=48)
FRAMES = 24


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory):
    """Two faces, one moving right; an empty scene after frame 20; uneven times."""
    left, right = synthetic_faces(0, FRAMES), synthetic_faces(1, FRAMES)
    pictures = [
        scene([(left[i], 8 + 2 * i, 30, 1.0), (right[i], 220, 40, 1.2)]) if i < 20 else scene([]) for i in range(FRAMES)
    ]
    times = [40 * i + (7 if i % 3 == 1 else 0) for i in range(FRAMES)]
    return write_video(tmp_path_factory.mktemp("video") / "pair.mp4", pictures, times, audio_first=True), times


@pytest.mark.slow
def test_two_faces_become_two_subjects(two_faces):
    path, times = two_faces
    report = VideoReport(path)
    clips = list(video_clips(path, VideoSpec(clip_frames=8), RECIPE, report=report))
    assert [clip.subject for clip in clips] == ["video/pair#0", "video/pair#1"] * 2
    assert len({clip.clip_id for clip in clips}) == 4
    for i, clip in enumerate(clips):
        assert clip.faults(0) == []
        at = range(8 * (i // 2), 8 * (i // 2) + 8)
        assert clip.number_T.tolist() == list(at)
        np.testing.assert_allclose(clip.time_T, [times[k] / 1000 for k in at], atol=1e-3)
        assert clip.confidence_T.min() > 0.5
        assert {simplejpeg.decode_jpeg(jpeg).shape for jpeg in clip.jpeg_T} == {(48, 48, 3)}
    assert (report.frames, report.frames_examined, report.frames_with_face) == (24, 24, 20)
    assert (report.faces, report.tracks, report.clips, report.filled, report.header_frames) == (40, 2, 4, 0, 24)
    assert report.dropped == {"crop at the end of a track, too few left for a clip": 8}
    assert all(seconds > 0 for seconds in report.seconds.values())
    json.dumps(dataclasses.asdict(report), default=str)


def test_the_crop_is_the_face_that_was_painted(two_faces):
    path, _ = two_faces
    painted = synthetic_faces(1, FRAMES)
    small = CropRecipe(size=128)
    track = next(track for track in track_crops(path, VideoSpec(), small) if track.box_T4[0, 0] > 190)
    centre = (slice(24, 104), slice(24, 104))
    same = [np.abs(track.crop_TSSC[i][centre].astype(int) - painted[i][centre]).mean() for i in range(0, 20, 4)]
    other = synthetic_faces(0, FRAMES)
    else_ = [np.abs(track.crop_TSSC[i][centre].astype(int) - other[i][centre]).mean() for i in range(0, 20, 4)]
    assert max(same) < 0.8 * min(else_)


def test_subject_name_and_corpus(two_faces):
    path, _ = two_faces
    clips = list(video_clips(path, VideoSpec(clip_frames=8), RECIPE, "mine", subject="F001", name="a/pair"))
    assert {clip.subject for clip in clips} == {"mine/F001"}
    assert {clip.video for clip in clips} == {"a/pair#0", "a/pair#1"}
    assert len({clip.clip_id for clip in clips}) == len(clips)


@pytest.mark.slow
def test_stride_faces_and_size(two_faces):
    path, _ = two_faces
    (clip, *rest) = video_clips(path, VideoSpec(clip_frames=5, stride=2, max_faces=1), RECIPE)
    assert clip.number_T.tolist() == [0, 2, 4, 6, 8]
    assert {other.subject for other in rest} == {clip.subject}
    report = VideoReport(path)
    assert list(video_clips(path, VideoSpec(min_face=400), RECIPE, report=report)) == []
    assert report.dropped == {"face smaller than 400 pixels": 40}
    assert report.error is None


def test_a_video_without_faces_is_a_report_and_no_clips(tmp_path):
    path = write_video(tmp_path / "empty.mp4", [grey(99, 96, 96)] * 5)
    report = VideoReport(path)
    assert list(video_clips(path, VideoSpec(), RECIPE, report=report)) == []
    assert (report.frames, report.frames_with_face, report.tracks, report.clips) == (5, 0, 0, 0)


def test_tracks_end_at_a_cut(tmp_path):
    one, two = synthetic_faces(0, FRAMES), synthetic_faces(1, FRAMES)
    before = [scene([(face, 100, 40, 1.0)]) for face in one[:4]]
    after = [255 - scene([]) // 2 for _ in range(4)]
    for i, picture in enumerate(after):
        picture[40:168, 100:228] = two[i]
    path = write_video(tmp_path / "cut.mp4", [*before, *after])
    assert [track.number_T.tolist() for track in track_crops(path, VideoSpec(), RECIPE)] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_gaps_are_filled_with_success_false(tmp_path):
    face = synthetic_faces(1, FRAMES)[0]
    pictures = [scene([(face, 80 + 4 * i, 40, 1.0)] if i not in (3, 4) else []) for i in range(9)]
    path = write_video(tmp_path / "gap.mp4", pictures)
    (track,) = track_crops(path, VideoSpec(half_window=0), RECIPE)
    assert np.flatnonzero(~track.success_T).tolist() == [3, 4]
    assert track.confidence_T[[3, 4]].tolist() == [0.0, 0.0]
    expected = np.interp([3, 4], [2, 5], track.box_T4[[2, 5], 0])
    np.testing.assert_allclose(track.box_T4[[3, 4], 0], expected, atol=1e-3)
    report = VideoReport(path)
    (clip,) = video_clips(path, VideoSpec(clip_frames=9), RECIPE, report=report)
    assert np.flatnonzero(clip.confidence_T == 0).tolist() == [3, 4]
    assert report.filled == 2


def test_frames_that_are_crops_already(tmp_path):
    path = write_video(tmp_path / "crops.avi", list(synthetic_faces(2, FRAMES)[:6]))
    recipe = CropRecipe(size=64, alignment="none")
    (clip,) = video_clips(path, VideoSpec(detector="none", clip_frames=6), recipe)
    assert clip.faults(0) == []
    assert clip.confidence_T.tolist() == [1.0] * 6
    with pytest.raises(RecipeError, match="do not fit each other"):
        list(video_clips(path, VideoSpec(detector="none"), RECIPE))
    with pytest.raises(RecipeError, match="do not fit each other"):
        list(video_clips(path, VideoSpec(), recipe))


def test_landmarks_from_a_folder(tmp_path):
    path = write_video(tmp_path / "a.mp4", [grey(100, 96, 128)] * 4)
    points = {36: (50, 40), 42: (78, 40), 30: (64, 55), 48: (54, 70), 54: (74, 70)}
    near = {point: max(known for known in points if known <= max(point, 30)) for point in range(68)}
    values = [str(points[near[point]][axis]) for axis in (0, 1) for point in range(68)]
    header = ["frame", *(f"{axis}_{point}" for axis in "xy" for point in range(68))]
    folder = tmp_path / "landmarks"
    folder.mkdir()
    lines = [",".join(header), *(",".join([str(frame), *values]) for frame in (1, 2, 4))]
    (folder / "a.csv").write_text("\n".join(lines))
    spec = VideoSpec(detector="landmarks", landmarks=folder, clip_frames=4, min_face=10)
    (clip,) = video_clips(path, spec, RECIPE)
    assert np.flatnonzero(clip.confidence_T == 0).tolist() == [2]
    with pytest.raises(IngestError, match="The video has no landmarks"):
        list(video_clips(write_video(tmp_path / "b.mp4", [grey(0)]), spec, RECIPE))


def test_memory_does_not_grow_with_the_video(tmp_path):
    """Frames that are alive at once are the delay of the tracks and a few in hand, whatever the length."""
    import weakref

    path = write_video(tmp_path / "long.mp4", [grey(i % 200, 64, 64) for i in range(120)])
    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0

    def detect(frame):
        nonlocal most
        alive.add(frame)
        most = max(most, len(alive))
        return []

    spec = VideoSpec(max_gap=3, half_window=1)
    assert sum(1 for _ in stream_crops(path, spec, RECIPE, detector=detect)) == 120
    assert most <= 3 + 1 + 3


@pytest.mark.parametrize(
    ("option", "value"), [("clip_frames", 0), ("stride", 0), ("min_confidence", 0.0), ("detect_side", 8)]
)
def test_options_out_of_range(option, value):
    with pytest.raises(RecipeError, match=option):
        VideoSpec(**{option: value})


def test_a_text_file_makes_no_clips(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("no video")
    with pytest.raises(IngestError, match="text file"):
        next(video_clips(path, VideoSpec(), RECIPE))


#: Where a face of 128 pixels has its eyes' outlines, nose and mouth, in the order of 68 points.
EYES_NOSE_MOUTH = {36: (40, 51), 42: (88, 51), 30: (64, 76), 48: (48, 100), 54: (80, 100), 0: (20, 40), 16: (108, 40)}


def _landmark_rows(place, mirror):
    """68 points as another program writes them that sees the stored picture: in a mirror, right is left."""
    named = dict(EYES_NOSE_MOUTH)
    if mirror:
        for one, other in ((36, 42), (48, 54), (0, 16)):
            named[one], named[other] = named[other], named[one]
    same = {**dict.fromkeys(range(36, 42), named[36]), **dict.fromkeys(range(42, 48), named[42])}
    points = np.array([place(*(named | same).get(point, named[30])) for point in range(68)])
    return points.T.ravel()


#: Whether the other program turned a video before it looked. Of one that is only mirrored, nothing tells.
PROGRAMS = [(name, False) for name in MATRICES] + [
    (name, True) for name, m in MATRICES.items() if (m[1], m[3]) != (0, 1)
]


@pytest.mark.parametrize(("name", "turned_first"), PROGRAMS)
def test_landmarks_of_a_turned_video(tmp_path, name, turned_first):
    a, b, c, d = MATRICES[name]
    faces = synthetic_faces(2, 4)
    upright = [scene([(face, 40 + 3 * i, 30, 1.0)], height=192, width=256) for i, face in enumerate(faces)]
    height, width = upright[0].shape[:2]
    p, q = (np.arange(n) - (n - 1) / 2 for n in ((width, height) if b == 0 else (height, width)))
    x, y = a * p + c * q[:, None] + (width - 1) / 2, b * p + d * q[:, None] + (height - 1) / 2
    stored = [picture[y.astype(int), x.astype(int)] for picture in upright]
    path = with_matrix(write_video(tmp_path / "a.mp4", stored), a, b, c, d)

    def place(i, left, top):
        if turned_first:
            return left + 40 + 3 * i, top + 30
        x, y = left + 40 + 3 * i - width / 2, top + 30 - height / 2
        return a * x + b * y + len(p) / 2, c * x + d * y + len(q) / 2

    header = ["frame", *(f"{axis}_{point}" for axis in "xy" for point in range(68))]
    mirror = a * d - b * c < 0 and not turned_first
    rows = [[i + 1, *_landmark_rows(lambda *at, i=i: place(i, *at), mirror)] for i in range(4)]
    table = tmp_path / "a.csv"
    table.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]))
    report = VideoReport(path)
    spec = VideoSpec(detector="landmarks", landmarks=table, half_window=0)
    (track,) = track_crops(path, spec, CropRecipe(size=128), report=report)
    assert track.number_T.tolist() == [0, 1, 2, 3]
    said = "those of the upright picture" if turned_first else "those of the stored picture"
    assert [said in note for note in report.notes] == [True] * (name != "as stored")
    np.testing.assert_allclose(track.box_T4[:, 0], [60, 63, 66, 69], atol=1e-3)
    for i, crop in enumerate(track.crop_TSSC):
        centre = (slice(24, 104), slice(24, 104))
        assert np.abs(crop[centre].astype(int) - faces[i][centre]).mean() < 5


def test_faces_in_the_dark_do_not_enter_and_are_counted(tmp_path):
    """A detector of one's own that sees a face where there is next to no light."""
    (tmp_path / "seer.py").write_text(
        "import numpy as np\nfrom au_dist.video.faces import Face\n"
        "POINTS = np.array([[39, 51], [89, 51], [64, 76], [48, 100], [80, 100]], np.float32)\n"
        "def seer(**_):\n"
        "    return lambda frame: [Face(np.array([20, 20, 108, 120], np.float32) + 40, POINTS + 40, 0.9)]\n"
    )
    faces = synthetic_faces(2, 6)
    shares = [1.0, 0.3, 0.15, 0.02, 0.01, 0.0]
    film = [(scene([(face, 40, 40, 1.0)]) * share).astype(np.uint8) for face, share in zip(faces, shares, strict=True)]
    path = write_video(tmp_path / "dusk.mp4", film)
    spec = VideoSpec(detector=f"{tmp_path / 'seer.py'}:seer", clip_frames=3)
    report = VideoReport(path)
    (clip,) = video_clips(path, spec, RECIPE, report=report)
    assert clip.number_T.tolist() == [0, 1, 2]
    assert report.dropped == {"face in the dark, below level 12 of 255": 3}
    assert len(list(video_clips(path, dataclasses.replace(spec, min_light=0), RECIPE))) == 2


def test_a_scene_after_black_frames_is_another_one_and_the_same_one_is_not(tmp_path):
    face, other = synthetic_faces(0, 4), synthetic_faces(3, 4)
    black = [np.zeros((240, 384, 3), np.uint8)] * 2
    one = [scene([(crop, 100, 40, 1.2)]) // 3 for crop in face]
    two = [255 - scene([(255 - crop, 104, 44, 1.2), (crop, 240, 100, 0.8)]) for crop in other]
    same = write_video(tmp_path / "same.mp4", [*one, *black, *one])
    assert [track.number_T.tolist() for track in track_crops(same, VideoSpec(), RECIPE)] == [list(range(10))]
    cut = write_video(tmp_path / "cut.mp4", [*one, *black, *two])
    (first, *_) = track_crops(cut, VideoSpec(), RECIPE)
    assert first.number_T.tolist() == [0, 1, 2, 3]
