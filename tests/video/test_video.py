"""Frames and times out of files as they come."""

import gc
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from video_files import MATRICES, grey, with_matrix, write_video

from au_dist.core.errors import IngestError
from au_dist.corpora import plain
from au_dist.corpora.folder import find_videos, video_names
from au_dist.corpora.options import Options
from au_dist.corpora.timelines import RECORD
from au_dist.corpora.tree import Entry, look
from au_dist.scoring.scored import header
from au_dist.video.video import probe, read_frames


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


def test_frames_that_have_passed_are_let_go(tmp_path):
    path = write_video(tmp_path / "a.mp4", [grey(10 * k) for k in range(20)])
    gc.collect()
    gc.disable()
    try:
        for _ in read_frames(path):
            pass
        assert sum(type(one) is av.VideoFrame for one in gc.get_objects()) < 5
    finally:
        gc.enable()


def test_time_begins_with_the_first_frame(tmp_path):
    path = write_video(tmp_path / "late.mkv", [grey(10), grey(90)], [700, 750])
    np.testing.assert_allclose([frame.time for frame in read_frames(path)], [0, 0.05], atol=1e-3)


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_turned_and_mirrored_pictures_come_upright(tmp_path, matrix):
    """A stored pixel (p, q) from the middle comes to (ap + cq, bp + dq)."""
    a, b, c, d = matrix
    stored = grey(110, 64, 96).copy()
    levels = {(-1, -1): 10, (1, -1): 60, (-1, 1): 180, (1, 1): 250}
    for (p, q), level in levels.items():
        stored[(0, 32)[q > 0] :][:32, (0, 48)[p > 0] :][:, :48] = level
    path = with_matrix(write_video(tmp_path / "a.mp4", [stored] * 2), *matrix)
    for frame in read_frames(path):
        height, width = frame.rgb_HWC.shape[:2]
        assert (height, width) == ((96, 64) if a == 0 else (64, 96))
        quarters = frame.rgb_HWC.reshape(2, height // 2, 2, width // 2, 3).mean((1, 3, 4))
        for (p, q), level in levels.items():
            x, y = a * p + c * q, b * p + d * q
            assert abs(quarters[int(y > 0), int(x > 0)] - level) < 5
            # Points go where their pixels go.
            point = frame.orientation.points(np.array([[48 + 24 * p, 32 + 16 * q]]), width, height)[0]
            assert abs(frame.rgb_HWC[int(point[1]), int(point[0])].mean() - level) < 5


def test_a_matrix_that_turns_by_no_quarter_is_said(tmp_path):
    path = with_matrix(write_video(tmp_path / "a.mp4", [grey(90)] * 2), 0.7, 0.7, -0.7, 0.7)
    notes: list[str] = []
    assert len(list(read_frames(path, notes=notes))) == 2
    assert notes == ["the file asks to be turned by no quarter of a circle: turned by the nearest"]


def test_names_with_colons_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = write_video(tmp_path / "a.mp4", [grey(0), grey(90)])
    for name in ("12:30:05.mp4", "http:a.mp4", "concat:x|y.mp4", "file:a.mp4", "100%.mp4", "-i.mp4", "pipe:.mp4"):
        Path(name).write_bytes(plain.read_bytes())
        assert len(list(read_frames(Path(name)))) == probe(Path(name)).frames == 2


def test_a_photograph_in_a_container_is_refused_whatever_its_name(tmp_path):
    tile = write_video(tmp_path / "a.mp4", [grey(0)]).read_bytes()
    boxes = [(b"ftyp", b"heic\0\0\0\0mif1heic"), (b"meta", bytes(40)), (b"mdat", tile)]
    photograph = b"".join(struct.pack(">I4s", 8 + len(body), kind) + body for kind, body in boxes)
    for name in ("IMG_1.HEIC", "IMG_1.heif", "IMG_1.mp4", "IMG_1"):
        path = tmp_path / name
        path.write_bytes(photograph)
        for look_at in (probe, lambda path: list(read_frames(path))):
            with pytest.raises(IngestError, match=r"a photograph in an HEIF container .brand 'heic'.*JPEG or PNG"):
                look_at(path)


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


def test_timelines_of_a_prediction_are_no_pictures_to_take_in(tmp_path):
    write_video(tmp_path / "talk.mp4", [grey(0)])
    made = PngInfo()
    made.add_text(RECORD, "{}")
    Image.new("RGB", (8, 8)).save(tmp_path / "talk.png", pnginfo=made)
    for name in ("face", "old"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "old.csv").write_text(header([12], several=False))
    found = plain.find(look(tmp_path), Options())
    assert [sequence.name for sequence in found.sequences] == ["face", "talk"]
    assert found.notes == (f"2 timelines that predict wrote into {tmp_path} are left out",)


@pytest.mark.parametrize("suffix", [".h264", ".HEVC", ".y4m"])
def test_videos_without_a_container_are_not_left_out_beside_others(tmp_path, suffix):
    for name in ("talk.mp4", f"raw{suffix}"):
        (tmp_path / name).write_bytes(b"x")
    assert len(find_videos(look(tmp_path))) == 2


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
