"""Ordinary videos and pictures without labels."""

from au_dist.ingest.corpora.options import Options
from au_dist.ingest.folder import find_videos, video_names
from au_dist.ingest.sequences import Film, Found, Sequence
from au_dist.ingest.tree import Entry, Tree


def find(tree: Tree, options: Options) -> Found:
    """Find videos and pictures in a folder and below it.

    Raises:
        IngestError: There are none.
    """
    paths = find_videos(tree.root)
    names = video_names(paths, tree.root)
    sequences = []
    for path in paths:
        entry = Entry(path.relative_to(tree.root).as_posix(), path)
        subject = {"track": None, "file": names[path], "folder": entry.parts[0]}[options.subjects]
        sequences.append(Sequence("video", subject and f"video/{subject}", names[path], Film(entry)))
    return Found(tuple(sorted(sequences, key=lambda found: (found.subject or "", found.frames.entry))))  # type: ignore[union-attr]
