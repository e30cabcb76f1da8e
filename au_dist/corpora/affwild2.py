"""Aff-Wild2: videos from the web, or the organisers' face crops; a row of action units a frame, from frame 1.

The training and the validation set are folders of labels. Of two people in one video the labels are ``x_left`` and
``x_right``; both belong to the subject ``x``, so that no split parts a video.
"""

import re
from collections import defaultdict
from typing import Literal

from au_dist.core.errors import IngestError
from au_dist.corpora.copies import one_each
from au_dist.corpora.folder import VIDEO_SUFFIXES
from au_dist.corpora.label_files import LabelTable, read_ordered
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Film, Folders, Found, Pictures, Sequence, no_labels, nothing_found
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES
from au_dist.video.video import probe

AUS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)

#: Of crops whose video is not there; most videos have this.
FPS = 30.0

PARTITIONS = {"train": "train", "training": "train", "validation": "validation"}

LOOKED_FOR = ["crops such as cropped_aligned/VIDEO/00001.jpg", "or videos such as batch1/VIDEO.mp4"]
LABELS_LOOKED_FOR = ["labels such as AU_Detection_Challenge/Train_Set/VIDEO.txt"]


def find(tree: Tree, options: Options) -> Found:
    """Find the recordings of Aff-Wild2: crops where there are some, else videos.

    Raises:
        IngestError: There are none, or no labels.
    """
    notes: list[str] = []
    partitions: dict[str, set[str]] = defaultdict(set)
    coded = list(tree.matching(r"AU_[^/]*/(train|training|validation)_set/([^/]+)\.txt", ".txt"))
    for match, _ in coded:
        partitions[PARTITIONS[match[1].lower()]].add(f"affwild2/{_video_of(match[2])}")
    labels = one_each(((match[2], entry) for match, entry in coded), "label files", notes)
    crops = Folders()
    for match, entry in tree.matching(r"cropped[^/]*/(?:batch\d+/)?([^/]+)/\d+\.\w+", *PICTURE_SUFFIXES):
        crops.add((match[1],), entry)
    folders = {name: entries for (name,), entries in crops.chosen(notes, prefer="aligned").items()}
    filmed = tree.matching(r"batch\d+/([^/]+)\.\w+", *VIDEO_SUFFIXES)
    videos = one_each(((match[1], entry) for match, entry in filmed), "videos", notes)
    if not folders and not videos:
        raise nothing_found("Aff-Wild2", tree, LOOKED_FOR)
    if not labels:
        raise no_labels("Aff-Wild2", tree, len(folders or videos), LABELS_LOOKED_FOR)
    sequences: list[Sequence] = []
    lonely, guessed = [], 0
    for name in sorted(labels, key=lambda name: (_video_of(name), name)):
        video = _video_of(name)
        film = videos.get(video)
        if name in folders:
            fps = _fps(film)
            guessed += fps is None
            source: Film | Pictures = Pictures(folders[name], fps or FPS, cropped=True)
        elif film and not folders:
            source = Film(film, first=1)
        else:
            lonely.append(name)
            continue
        whole = isinstance(source, Film)
        # A crop shows the one person that is meant.
        side = _side(name) if whole else "any"
        sequence = Sequence(
            "affwild2", f"affwild2/{video}", name, source, {"rows": labels[name]}, whole=whole, side=side
        )
        sequences.append(sequence)
    if lonely:
        notes.append(f"{len(lonely)} label files have no recording ({', '.join(lonely[:4])}).")
    filmed_only = set() if folders else videos.keys() - {_video_of(name) for name in labels}
    if unlabelled := sorted((folders.keys() - labels.keys()) | filmed_only):
        notes.append(f"{len(unlabelled)} recordings have no labels and were left out ({', '.join(unlabelled[:4])}).")
    if guessed:
        notes.append(
            f"{guessed} folders of crops have no video that tells their frame rate: {FPS:g} frames a second are taken."
        )
    both = partitions["train"] & partitions["validation"]
    if both:
        notes.append(f"These videos are in the training and in the validation set: {', '.join(sorted(both)[:4])}.")
    return Found(
        "affwild2",
        tuple(sequences),
        dict(tree.unreadable),
        tuple(notes),
        {part: sorted(who & {sequence.subject for sequence in sequences}) for part, who in partitions.items()},
    )


def _video_of(name: str) -> str:
    return re.sub(r"_(left|right)$", "", name)


def _side(name: str) -> Literal["any", "left", "right"]:
    return "left" if name.endswith("_left") else "right" if name.endswith("_right") else "any"


def _fps(film: Entry | None) -> float | None:
    """Return the frame rate that a video tells; None where there is none to ask."""
    try:
        return None if film is None or film.member else probe(film.path).fps
    except IngestError:
        return None


def read_labels(sequence: Sequence, options: Options) -> LabelTable:
    """Read the label file of a recording.

    Raises:
        IngestError: The file cannot be read.
    """
    (entry,) = sequence.labels.values()
    return read_ordered(entry.text(), entry.where)
