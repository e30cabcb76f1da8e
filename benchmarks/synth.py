"""Measures how fast synthetic faces are made: frames per second of one core, rendering and JPEG encoding together.

python benchmarks/synth.py [--size 64] [--subjects 4]
python benchmarks/synth.py --tiny              one subject at 32 px
"""

import argparse
import time

from au_dist.synthetic.clips import SynthSpec, synth_clips


def main(argv: list[str] | None = None) -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="side of the crop in pixels")
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--tiny", action="store_true", help="one subject at 32 px")
    options = parser.parse_args(argv)
    if options.tiny:
        options.size, options.subjects = 32, 1
    spec = SynthSpec(subjects=options.subjects, size=options.size)
    next(iter(synth_clips(spec)))  # imports and first calls are not what is measured
    wall, core = time.perf_counter(), time.process_time()
    clips = list(synth_clips(spec))
    wall, core = time.perf_counter() - wall, time.process_time() - core
    frames = sum(len(clip.jpeg_T) for clip in clips)
    size = sum(len(jpeg) for clip in clips for jpeg in clip.jpeg_T) / frames
    print(
        f"{frames} frames of {options.size} px: {frames / core:.0f} frames/s per core "
        f"({wall:.2f} s wall, {core:.2f} s of processor), {size / 1024:.1f} KiB a frame"
    )


if __name__ == "__main__":
    main()
