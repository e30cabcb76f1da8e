"""The videos in a folder, and a name for each."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from au_dist.errors import IngestError
from au_dist.ingest.video import PICTURE_SUFFIXES, first_bytes

VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts"),
        *(".3gp", ".ogv", ".asf", ".vob", ".gif"),
    )
)


def find_videos(folder: Path) -> list[Path]:
    """Return the videos and pictures in a folder and below it, sorted; hidden files are left out.

    A file counts by its suffix or, where that is unknown, by its first bytes.

    Raises:
        IngestError: The folder is absent, or nothing in it is a video or picture.
    """
    if not folder.is_dir():
        raise IngestError(
            "The folder of videos does not exist" if not folder.exists() else "This is not a folder of videos",
            where=folder,
            fix="Give the folder that holds the video files.",
        )
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    videos = [path for path in files if _looks_like_video(path)]
    if videos:
        return videos
    kinds = Counter(path.suffix.lower() or "no suffix" for path in files)
    found = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(6))
    raise IngestError(
        "The folder holds no videos",
        where=folder,
        expected="files such as .mp4, .mov, .avi, .mkv, .webm or .jpg, also in folders below",
        found=f"{len(files)} other files ({found})" if files else "an empty folder",
    )


def _looks_like_video(path: Path) -> bool:
    if path.suffix.lower() in VIDEO_SUFFIXES | PICTURE_SUFFIXES:
        return True
    start = first_bytes(path, 12)
    riff_video = start[:4] == b"RIFF" and start[8:12] == b"AVI "
    return start[4:8] == b"ftyp" or start[:4] == b"\x1a\x45\xdf\xa3" or start[:3] == b"FLV" or riff_video


def video_names(paths: Iterable[Path], folder: Path) -> dict[Path, str]:
    """Return a name for each video, unique within the folder: as little of its relative path as tells them apart."""
    paths = list(paths)
    names: dict[Path, str] = {}
    for candidate in (lambda p: p.stem, lambda p: p.relative_to(folder).with_suffix("").as_posix()):
        times = Counter(candidate(path) for path in paths)
        names |= {path: candidate(path) for path in paths if path not in names and times[candidate(path)] == 1}
    return {path: names.get(path) or path.relative_to(folder).as_posix() for path in paths}
