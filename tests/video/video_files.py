"""Small videos, written with PyAV, that have what ordinary videos have: odd clocks, audio first, turned pictures."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import simplejpeg
from PIL import Image

from au_dist.synthetic.clips import SynthSpec, synth_clips

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real"


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    times_ms: Sequence[int] | None = None,
    *,
    audio_first: bool = False,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Write pictures, uint8 (H, W, 3), at the given times (40 ms apart by default)."""
    times_ms = times_ms or [40 * i for i in range(len(pictures))]
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000) if audio_first else None
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 20_000_000
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if sound is not None:
            quiet = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            quiet.sample_rate, quiet.pts = 16000, 0
            container.mux([*sound.encode(quiet), *sound.encode(None)])
        for picture, time in zip(pictures, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


#: a, b, c, d of a display matrix: p' = a p + c q, q' = b p + d q.
MATRICES = {
    "as stored": (1, 0, 0, 1),
    "turned right": (0, 1, -1, 0),
    "turned round": (-1, 0, 0, -1),
    "turned left": (0, -1, 1, 0),
    "left and right exchanged": (-1, 0, 0, 1),
    "top and bottom exchanged": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transposed over the other diagonal": (0, -1, -1, 0),
}


def with_matrix(path, a, b, c, d):
    """Put a display matrix into the header of the track of an MP4 file."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (round(entry * (1 << 16)) for entry in (a, b, c, d))
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    at = data.index(b"tkhd") + 44
    struct.pack_into(">9i", data, at, *matrix)
    path.write_bytes(data)
    return path


def grey(level: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@lru_cache(maxsize=4)
def synthetic_faces(subject: int, frames: int) -> tuple[np.ndarray, ...]:
    """Crops of 128 x 128 of one synthetic subject, whose eyes are where ``CropRecipe(size=128)`` says."""
    spec = SynthSpec(subjects=4, videos_per_subject=1, frames_per_video=frames, clip_frames=frames, size=128, seed=3)
    (clip,) = synth_clips(spec, subjects=[subject])
    return tuple(simplejpeg.decode_jpeg(jpeg) for jpeg in clip.jpeg_T)


def scene(faces: Sequence[tuple[np.ndarray, float, float, float]], height: int = 240, width: int = 384) -> np.ndarray:
    """Paint faces into a plain picture: crop, left, top, and factor of enlargement."""
    picture = Image.new("RGB", (width, height), (96, 104, 112))
    for face, left, top, factor in faces:
        side = round(face.shape[0] * factor)
        picture.paste(Image.fromarray(face).resize((side, side), Image.Resampling.LANCZOS), (round(left), round(top)))
    return np.asarray(picture)
