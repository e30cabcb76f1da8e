"""The videos and pictures in a tree, and a name for each."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from au_dist.core.errors import IngestError
from au_dist.corpora.timelines import is_timeline
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.contents import first_bytes
from au_dist.video.pictures import PICTURE_SUFFIXES, note

VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts"),
        *(".3gp", ".ogv", ".asf", ".vob", ".mxf", ".f4v", ".divx", ".dv"),
        # Without a container, as some cameras and editors leave them.
        *(".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".y4m", ".ivf", ".mjpeg", ".mjpg"),
    )
)


def find_videos(tree: Tree, notes: list[str] | None = None) -> list[Entry]:
    """Return the videos and pictures of a tree, without the timelines that `predict` wrote.

    A file counts by its suffix or, where that is unknown, by its first bytes.

    Args:
        tree: The tree.
        notes: Filled in place: what a person should know.

    Raises:
        IngestError: Nothing in it is a video or picture.
    """
    videos = [entry for entry in tree.entries if _looks_like_video(entry)]
    ours = {entry for entry in videos if entry.member is None and is_timeline(entry.path)}
    if ours:
        note(notes, f"{len(ours)} timelines that predict wrote into {tree.root} are left out")
    if videos := [entry for entry in videos if entry not in ours]:
        return videos
    raise IngestError(
        "The folder holds no videos",
        where=tree.root,
        expected="files such as .mp4, .mov, .avi, .mkv, .webm or .jpg, also in folders below",
        found=tree.summary(),
    )


def _looks_like_video(entry: Entry) -> bool:
    if entry.suffix in VIDEO_SUFFIXES | PICTURE_SUFFIXES:
        return True
    if entry.member is not None:
        return False
    start = first_bytes(entry.path, 12)
    riff_video = start[:4] == b"RIFF" and start[8:12] == b"AVI "
    return start[4:8] == b"ftyp" or start[:4] == b"\x1a\x45\xdf\xa3" or start[:3] == b"FLV" or riff_video


def video_names(entries: Iterable[Entry]) -> dict[Entry, str]:
    """Return a name for each video, unique within the tree: as little of its path as tells them apart."""
    entries = list(entries)
    names: dict[Entry, str] = {}
    for candidate in (lambda e: e.stem, lambda e: str(PurePosixPath(e.name).with_suffix(""))):
        times = Counter(candidate(entry) for entry in entries)
        names |= {entry: candidate(entry) for entry in entries if entry not in names and times[candidate(entry)] == 1}
    return {entry: names.get(entry) or entry.name for entry in entries}
