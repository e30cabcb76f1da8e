"""The `ffmpeg` command, to compare with; and films that it makes: their frames bear their number and a way up."""

import re
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest


@cache
def command() -> str:
    """The program that the package imageio-ffmpeg brings."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg brings the command to compare with")
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        pytest.skip(f"no ffmpeg command for this machine: {error}")


def ffmpeg(*arguments: object, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    words = [command(), "-hide_banner", "-loglevel", "info", "-nostats", "-y", *map(str, arguments)]
    return subprocess.run(words, input=stdin or b"", capture_output=True, timeout=60, check=True)


def film(count: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Frames that differ in their middle, with four corners that show which way is up; (N, H, W, 3)."""
    frames = np.full((count, height, width, 3), 110, np.uint8)
    frames[:, : height // 4, : width // 4] = 250
    frames[:, : height // 4, -(width // 4) :] = (230, 20, 20)
    frames[:, -(height // 4) :, : width // 4] = (20, 20, 230)
    level = np.linspace(10, 240, count).round().astype(np.uint8)
    frames[:, height // 4 : -(height // 4), width // 4 : -(width // 4)] = level[:, None, None, None]
    return frames


def write(path: Path, frames: np.ndarray, *options: str, rate: int = 25) -> Path:
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", "-"]
    ffmpeg(*source, *options, path, stdin=frames.tobytes())
    return path


def frames_of(path: Path) -> tuple[np.ndarray, list[float]]:
    """What the command shows of a film, (N, H, W, 3), and when, from the first."""
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    shown = ffmpeg("-copyts", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-vf", "showinfo", *raw)
    told = shown.stderr.decode(errors="replace")
    times = [float(time) for time in re.findall(r"\bn: *\d+ pts:.*?pts_time:([-\d.]+)", told)]
    width, height = map(int, re.findall(r"\bs:(\d+)x(\d+)", told)[-1])
    frames = np.frombuffer(shown.stdout, np.uint8).reshape(-1, height, width, 3)
    return frames, [time - times[0] for time in times]
