"""Frames, their order, times and way up, as the `ffmpeg` command shows them, over containers and codecs."""

import numpy as np
import pytest
from collected import video_clips
from ffmpeg import ffmpeg, film, frames_of, write
from video_files import MATRICES, with_matrix

from au_dist.core.schema import CropRecipe
from au_dist.video.video import probe, read_frames, to_its_end
from au_dist.video.video_spec import VideoReport, VideoSpec

H264 = ("-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p")
B_FRAMES = (*H264, "-bf", "3", "-b_strategy", "0")
HEVC = ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-bf", "2")
WMV2 = ("-c:v", "wmv2", "-q:v", "2")
MJPEG = ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")
VP9 = ("-c:v", "libvpx-vp9", "-crf", "10", "-b:v", "0", "-cpu-used", "8")

KINDS = {
    "h264.mp4": B_FRAMES,
    "h264.mov": B_FRAMES,
    "h264.mkv": B_FRAMES,
    "h264.avi": B_FRAMES,
    "h264_default.avi": H264,
    "h264.asf": B_FRAMES,
    "h264.wmv": (*B_FRAMES, "-f", "asf"),
    "h264.flv": B_FRAMES,
    "h264.ts": B_FRAMES,
    "h264.mpg": (*B_FRAMES, "-f", "mpeg"),
    "hevc.mp4": HEVC,
    "hevc.mkv": HEVC,
    "interlaced.mp4": (*H264, "-flags", "+ilme+ildct"),
    "interlaced.ts": (*MPEG2, "-flags", "+ilme+ildct", "-vf", "setfield=tff"),
    "deep.mov": (*HEVC[:-1], "yuv420p10le"),
    "mpeg4.avi": MPEG4,
    "mpeg4.mkv": MPEG4,
    "mpeg4.asf": MPEG4,
    "mpeg4.mp4": MPEG4,
    "mpeg2.mpg": MPEG2,
    "mpeg2.ts": MPEG2,
    "mpeg2.avi": MPEG2,
    "wmv2.wmv": WMV2,
    "wmv2.avi": WMV2,
    "mjpeg.avi": MJPEG,
    "mjpeg.mov": MJPEG,
    "vp9.webm": VP9,
    "vp9.mp4": VP9,
    "ffv1.mkv": ("-c:v", "ffv1"),
    "raw.avi": ("-c:v", "rawvideo", "-pix_fmt", "bgr24"),
    "theora.ogv": ("-c:v", "libtheora", "-q:v", "9"),
    "prores.mov": ("-c:v", "prores_ks"),
}
#: Which containers do not know when a frame is to be shown, and what is said of it.
NOTED = {name: ["order of decoding"] for name in ("h264.avi", "h264_default.avi", "h264.asf", "h264.wmv")}
NOTED["h264.mpg"] = ["made up"]
COUNT = 40


def read(path, **options):
    frames = list(read_frames(path, **options))
    assert [frame.number for frame in frames] == list(range(len(frames)))
    return np.stack([frame.rgb_HWC for frame in frames]), [frame.time for frame in frames]


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", KINDS)
def test_containers_and_codecs(tmp_path, name, threads):
    path = write(tmp_path / name, film(COUNT), *KINDS[name])
    dropped, notes = {}, []
    ours, times = read(path, threads=threads, dropped=dropped, notes=notes)
    theirs, _ = frames_of(path)
    assert ours.shape == theirs.shape == (COUNT, 64, 96, 3)
    np.testing.assert_allclose(ours.astype(float), theirs, atol=12)
    np.testing.assert_allclose(times, 0.04 * np.arange(COUNT), atol=1.1e-3)
    assert dropped == {}
    assert [word for word in ("order of decoding", "made up") if any(word in note for note in notes)] == NOTED.get(
        name, []
    )


@pytest.mark.parametrize("scale", ["25", "600"])
@pytest.mark.parametrize("suffix", ["avi", "asf"])
def test_what_was_copied_into_a_container_without_times_of_showing(tmp_path, suffix, scale):
    """Ticks of a copy are those of its source, many to a frame; FFmpeg guesses that the last one is one tick long."""
    source = write(tmp_path / "a.mp4", film(COUNT), *B_FRAMES, "-video_track_timescale", scale)
    path, notes = tmp_path / f"b.{suffix}", []
    ffmpeg("-i", source, "-c", "copy", path)
    ours, times = [], []
    for frame in to_its_end(read_frames(path, notes=notes), probe(path), notes):
        ours.append(frame.rgb_HWC)
        times.append(frame.time)
    np.testing.assert_allclose(np.stack(ours).astype(float), frames_of(source)[0], atol=12)
    np.testing.assert_allclose(times, 0.04 * np.arange(COUNT), atol=1.1e-3)
    assert len(notes) == 1
    assert "order of decoding" in notes[0]


@pytest.mark.slow
def test_variable_rates_are_those_of_the_command(tmp_path):
    for name in ("a.mp4", "a.mkv", "a.ts"):
        path = write(tmp_path / name, film(40), "-vf", "select=not(eq(mod(n\\,3)\\,1))", "-fps_mode", "vfr", *B_FRAMES)
        ours, times = read(path)
        theirs, when = frames_of(path)
        np.testing.assert_allclose(ours.astype(float), theirs, atol=12)
        np.testing.assert_allclose(times, when, atol=1.1e-3)
        assert len(np.unique(np.round(np.diff(times), 3))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_all_eight_orientations(tmp_path, suffix):
    plain = write(tmp_path / "plain.mp4", film(3), *H264)
    shown = set()
    for name, matrix in MATRICES.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(plain.read_bytes())
        path = with_matrix(path, *matrix)
        if suffix != "mp4":
            source, path = path, path.with_suffix(f".{suffix}")
            ffmpeg("-i", source, "-c", "copy", path)
        ours, _ = read(path)
        theirs, _ = frames_of(path)
        assert ours.shape == theirs.shape, name
        np.testing.assert_allclose(ours.astype(float), theirs, atol=12, err_msg=name)
        shown.add(ours[0].tobytes())
    assert len(shown) == 8


@pytest.mark.slow
def test_a_torn_file_says_what_is_missing(tmp_path):
    path = write(tmp_path / "a.mp4", film(40), *B_FRAMES, "-movflags", "+faststart")
    whole, spec = path.read_bytes(), VideoSpec(detector="none", clip_frames=1)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    report = VideoReport(path)
    assert list(video_clips(path, spec, CropRecipe(alignment="none"), report=report))
    assert 5 < report.frames < 0.9 * report.header_frames == 36
    assert report.notes[-1].startswith(f"{report.frames} frames came out, up to ")
    assert report.notes[-1].endswith(" s; the header promises 40, 1.60 s")
    path.write_bytes(whole)
    report = VideoReport(path)
    assert list(video_clips(path, spec, CropRecipe(alignment="none"), report=report))
    assert (report.frames, report.notes) == (40, [])


@pytest.mark.slow
def test_a_cover_picture_is_no_video_and_a_second_camera_is_said(tmp_path):
    plain = write(tmp_path / "plain.mp4", film(5), *H264)
    cover = tmp_path / "cover.png"
    ffmpeg("-i", plain, "-frames:v", 1, cover)
    both = tmp_path / "both.mp4"
    ffmpeg("-i", plain, "-i", cover, "-map", 1, "-map", 0, "-c:v:0", "mjpeg", "-c:v:1", "copy",
           "-disposition:v:0", "attached_pic", both)  # fmt: skip
    notes: list[str] = []
    assert len(read(both, notes=notes)[0]) == 5
    assert notes == []
    two = tmp_path / "two.mkv"
    ffmpeg("-i", plain, "-i", plain, "-map", "0:v", "-map", "1:v", "-c", "copy", two)
    assert len(read(two, notes=notes)[0]) == 5
    assert notes == ["2 video streams: the first is read"]
