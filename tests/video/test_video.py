"""Frames and times out of files as they come."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_files import grey, write_video

from au_dist.core.errors import IngestError
from au_dist.corpora.folder import find_videos, video_names
from au_dist.corpora.tree import Entry, look
from au_dist.video.video import _Clock, probe, read_frames


def test_variable_frame_rate_and_audio_first(tmp_path):
    times = [0, 40, 90, 100, 300, 1000]
    path = write_video(tmp_path / "a.mp4", [grey(20 * i) for i in range(6)], times, audio_first=True)
    frames = list(read_frames(path))
    assert [frame.number for frame in frames] == list(range(6))
    np.testing.assert_allclose([frame.time for frame in frames], np.array(times) / 1000, atol=1e-3)
    for i, frame in enumerate(frames):
        assert abs(frame.rgb_HWC.mean() - 20 * i) < 4
    info = probe(path)
    assert (info.width, info.height, info.frames, info.codec) == (64, 48, 6, "mpeg4")


def test_time_begins_with_the_first_frame(tmp_path):
    path = write_video(tmp_path / "late.mkv", [grey(10), grey(90)], [700, 750])
    np.testing.assert_allclose([frame.time for frame in read_frames(path)], [0, 0.05], atol=1e-3)


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([5.0, 5.1, 5.1, 5.2], [0.0, 0.1, None, 0.2]),
        ([0.0, 0.1, 0.05, 0.2], [0.0, 0.1, None, 0.2]),
        ([None, None, None], [0.0, 0.04, 0.08]),
        ([1.0, None, 1.2], [0.0, 0.04, 0.2]),
        # Two recordings put end to end: the clock starts again and goes on from there.
        ([0.0, 5.0, 0.0, 0.1], [0.0, 5.0, 5.04, 5.14]),
    ],
)
def test_clock(stamps, times):
    clock = _Clock(fps=25.0)
    told = [clock.tell(stamp) for stamp in stamps]
    assert [time is None for time in told] == [time is None for time in times]
    np.testing.assert_allclose([t for t in told if t is not None], [t for t in times if t is not None], atol=1e-9)


@pytest.mark.parametrize(("degrees", "corner"), [(-90, (0, 1)), (90, (1, 0)), (180, (1, 1))])
def test_turned_pictures_come_upright(tmp_path, degrees, corner):
    picture = grey(0, 64, 96).copy()
    picture[:32, :48] = 255
    path = write_video(tmp_path / "a.mp4", [picture] * 2, degrees=degrees)
    rgb = next(read_frames(path)).rgb_HWC
    height, width = rgb.shape[:2]
    assert (height, width) == ((96, 64) if abs(degrees) == 90 else (64, 96))
    quarters = rgb.reshape(2, height // 2, 2, width // 2, 3).mean((1, 3, 4))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == corner


def test_pixels_become_square(tmp_path):
    path = write_video(tmp_path / "a.avi", [grey(50)] * 2, pixel_aspect=Fraction(3, 2))
    assert next(read_frames(path)).rgb_HWC.shape == (48, 96, 3)
    assert next(read_frames(path, square_pixels=False)).rgb_HWC.shape == (48, 64, 3)


def test_damage_is_counted_and_passed_over(tmp_path):
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    path = write_video(tmp_path / "a.mkv", pictures)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    dropped: dict[str, int] = {}
    times = [frame.time for frame in read_frames(path, dropped=dropped)]
    assert 15 < len(times) < 40
    assert np.all(np.diff(times) > 0)


def test_pictures_are_videos_of_one_frame(tmp_path):
    picture = Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3))
    exif = picture.getexif()
    exif[274] = 6  # stored lying on its side
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.jpg", exif=exif)
    (frame,) = read_frames(tmp_path / "a.png")
    np.testing.assert_array_equal(frame.rgb_HWC, np.asarray(picture))
    (turned,) = read_frames(tmp_path / "b.jpg")
    assert turned.rgb_HWC.shape == (64, 48, 3)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.mp4", b"not a video\nat all\n", "a text file that begins with 'not a video'"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1\nother.ts\n", "a text file"),
        ("empty.mp4", b"", "an empty or unreadable file"),
        ("noise.mp4", b"\x00\x01\x02" * 4000, "FFmpeg"),
        ("text.jpg", b"hello", "a text file"),
        ("short.png", b"\x89PNG\r\n\x1a\n\x00\x00", "picture cannot be read"),
    ],
)
def test_what_is_no_video_is_told_in_one_paragraph(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(IngestError) as caught:
        list(read_frames(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sound_alone_and_absent_files(tmp_path):
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(IngestError, match="only audio"):
        probe(path)
    with pytest.raises(IngestError, match="no such file"):
        next(read_frames(tmp_path / "absent.mp4"))


def test_find_videos_by_suffix_and_by_content(tmp_path):
    video = write_video(tmp_path / "b.mp4", [grey(0)])
    (tmp_path / "sub").mkdir()
    unnamed = tmp_path / "sub" / "no_suffix"
    unnamed.write_bytes(video.read_bytes())
    for other in ("._b.mp4", "labels.csv"):
        (tmp_path / other).write_text("x")
    assert [entry.path for entry in find_videos(look(tmp_path))] == [video, unnamed]


def test_folders_without_videos(tmp_path):
    with pytest.raises(IngestError, match="an empty folder"):
        find_videos(look(tmp_path))
    for name in ("a.csv", "b.csv", "readme"):
        (tmp_path / name).write_text("x")
    with pytest.raises(IngestError, match=r"2 \.csv, 1 no suffix"):
        find_videos(look(tmp_path))
    with pytest.raises(IngestError, match="no such folder"):
        look(tmp_path / "absent")
    with pytest.raises(IngestError, match=r"Found 1 \.csv"):
        find_videos(look(tmp_path / "a.csv"))


def test_names_are_short_and_unique():
    entries = [Entry(name, Path(name)) for name in ("x.mp4", "a/y.mp4", "b/y.mp4", "b/y.jpg", "a/z.mov", "a.b/c")]
    assert list(video_names(entries).values()) == ["x", "a/y", "b/y.mp4", "b/y.jpg", "z", "c"]
