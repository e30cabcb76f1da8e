"""Taking in recordings: frames a second and core, the share of each stage, and memory against a recording's length.

    python benchmarks/ingest.py
    python benchmarks/ingest.py --tiny            6 frames of BP4D's pictures and of a web video; memory for 6 alone

One process, one thread. Processor time, so that other work on the machine counts little.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: What the frames of a corpus are like: width, height, whether they are pictures, and at which side faces are sought.
KINDS = {
    "BP4D pictures": (1040, 1392, True, 320),
    "DISFA video": (1024, 768, False, 320),
    "web video": (640, 360, False, 640),
}


def write_frames(folder: Path, width: int, height: int, count: int, pictures: bool) -> None:
    """Write a synthetic face in front of a wall, as a video or as pictures."""
    import io

    import av
    import numpy as np
    from PIL import Image

    from au_dist.synthetic.clips import SynthSpec, synth_clips

    side = min(int(min(width, height) * 0.7), 512)
    faces = []
    for clip in synth_clips(SynthSpec(1, 1, 16, 1, size=side, seed=1)):
        with Image.open(io.BytesIO(clip.jpeg_T[0])) as face:
            scene = Image.new("RGB", (width, height), (150, 150, 150))
            scene.paste(face, ((width - side) // 2, (height - side) // 2))
            faces.append(scene)
    if pictures:
        for k in range(count):
            faces[k % 16].save(folder / f"{k + 1:04d}.jpg", quality=92)
        return
    with av.open(str(folder / "film.avi"), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(faces[k % 16]), format="rgb24")))
        container.mux(stream.encode())


def measure(folder: str, size: int, detect_side: int) -> dict[str, float]:
    """Take in a folder in this process."""
    from au_dist.core.schema import CropRecipe
    from au_dist.corpora.options import Options
    from au_dist.corpora.recordings import Film, Pictures, Sequence, numbered
    from au_dist.corpora.tree import look
    from au_dist.ingest.how import IngestRecipe
    from au_dist.ingest.take_in import take_in
    from au_dist.video.video_spec import VideoReport, VideoSpec

    entries = look(Path(folder)).entries
    film = entries[0].suffix == ".avi"
    frames = Film(entries[0]) if film else Pictures(numbered(entries, []), 25.0)
    recipe = IngestRecipe(
        "video", "video", (), Options(), VideoSpec(max_faces=1, detect_side=detect_side), CropRecipe(size=size)
    )
    report = VideoReport(Path(folder))
    begun = time.process_time()
    clips = sum(1 for _ in take_in(Sequence("video", None, "x", frames), recipe, report))
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"frames": report.frames, "clips": clips, "seconds": seconds, "mib": peak, **report.seconds}


def run(folder: Path, size: int, detect_side: int) -> dict[str, float]:
    """Take in a folder in a process of its own."""
    task = {"folder": str(folder), "size": size, "detect_side": detect_side}
    command = [sys.executable, __file__, "--one", json.dumps(task)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main(argv: list[str] | None = None) -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--tiny", action="store_true", help="6 frames of two kinds, one size of crops")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.one:
        print(json.dumps(measure(**json.loads(arguments.one))))
        return
    kinds, sizes, lengths = dict(KINDS), [112, 224], [200, 2000]
    if arguments.tiny:
        arguments.frames, sizes, lengths = 6, [112], [6]
        del kinds["DISFA video"]
    print("| frames | looked at | crops | frames/s a core | decode | detect | crop | encode |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for name, (width, height, pictures, side) in kinds.items():
            folder = Path(place) / name
            folder.mkdir()
            write_frames(folder, width, height, arguments.frames, pictures)
            for size in sizes:
                found = run(folder, size, side)
                stages = ("decode", "detect", "crop", "encode")
                spent = sum(found[stage] for stage in stages)
                shares = " | ".join(f"{found[stage] / spent:.0%}" for stage in stages)
                rate = found["frames"] / found["seconds"]
                print(f"| {name}, {width}x{height} | {side} | {size} | {rate:.1f} | {shares} |", flush=True)
        print("\n| frames of a video | peak memory of its process, MiB |")
        print("|---|---|")
        for count in lengths:
            folder = Path(place) / f"long {count}"
            folder.mkdir()
            write_frames(folder, 640, 360, count, pictures=False)
            print(f"| {count} | {run(folder, 112, 320)['mib']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
