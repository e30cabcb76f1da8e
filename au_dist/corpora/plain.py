"""Ordinary videos and pictures without labels."""

from au_dist.corpora.folder import find_videos, video_names
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Film, Found, Sequence
from au_dist.corpora.tree import Tree


def find(tree: Tree, options: Options) -> Found:
    """Find videos and pictures.

    Raises:
        IngestError: There are none.
    """
    corpus = options.name or "video"
    sequences: list[tuple[str, str, Sequence]] = []
    notes: list[str] = []
    for entry, name in video_names(find_videos(tree, notes)).items():
        subject = {"track": None, "file": name, "folder": entry.parts[0]}[options.subjects]
        sequences.append((subject or "", name, Sequence(corpus, subject and f"{corpus}/{subject}", name, Film(entry))))
    ordered = tuple(sequence for *_, sequence in sorted(sequences))
    return Found(corpus, ordered, dict(tree.unreadable), tuple(notes))
