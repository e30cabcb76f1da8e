"""A short film of one synthetic face as an ordinary video file, for trying what works on videos."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from au_dist.storage.store import atomic_file
from au_dist.synthetic.clips import SynthSpec, synth_clips

WIDTH, HEIGHT, FACE = 640, 360, 300


def write_film(path: Path, seed: int, frames: int = 48, fps: int = 10) -> None:
    """Write an H.264 film of a face in front of a plain wall.

    Args:
        path: The file; its suffix says the container, e.g. ``.mp4``.
        seed: Seed of the face and of what it does.
        frames: Number of frames.
        fps: Frames per second; the face moves as fast as a real one.
    """
    import av
    import simplejpeg

    spec = SynthSpec(
        subjects=1, videos_per_subject=1, frames_per_video=frames, clip_frames=1, size=FACE, seed=seed, stride=30 // fps
    )
    with atomic_file(path) as file, av.open(file, "w", format=path.suffix.removeprefix(".")) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for clip in synth_clips(spec):
            canvas_HWC = np.full((HEIGHT, WIDTH, 3), 150, np.uint8)
            top, left = (HEIGHT - FACE) // 2, (WIDTH - FACE) // 2
            face_HWC = simplejpeg.decode_jpeg(clip.jpeg_T[0], colorspace="RGB")
            canvas_HWC[top : top + FACE, left : left + FACE] = face_HWC
            container.mux(stream.encode(av.VideoFrame.from_ndarray(canvas_HWC, format="rgb24")))
        container.mux(stream.encode())
