"""Aff-Wild2: videos from the web, or the organisers' face crops; a row of action units a frame, from frame 1.

The training and the validation set are folders of labels. Of two people in one video the labels are ``x_left`` and
``x_right``; both belong to the subject ``x``, so that no split parts a video.
"""

import re
from collections import defaultdict
from typing import Literal

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.copies import one_each, two_of
from au_dist.corpora.folder import VIDEO_SUFFIXES
from au_dist.corpora.label_files import LabelTable, read_ordered
from au_dist.corpora.mtl import is_list, read_list
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Film, Folders, Found, Pictures, Sequence, no_labels, nothing_found
from au_dist.corpora.timed import Timed
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES
from au_dist.video.video import probe

AUS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)

#: Of crops whose video is not there; most videos have this.
FPS = 30.0

PARTITIONS = {"train": "train", "training": "train", "validation": "validation"}

LOOKED_FOR = ["crops such as cropped_aligned/VIDEO/00001.jpg", "or videos such as batch1/VIDEO.mp4"]
LABELS_LOOKED_FOR = ["labels such as AU_Detection_Challenge/Train_Set/VIDEO.txt", "or training_set_annotations.txt"]


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
    lists = [
        entry for entry in tree.entries if entry.suffix == ".txt" and "set" in entry.stem.lower() and is_list(entry)
    ]
    tables: dict[str, LabelTable] = {}
    if labels and lists:
        shown = first_few(entry.name for entry in lists)
        notes.append(f"Labels are those of the AU challenge; lists of the multi-task one are not read ({shown}).")
    else:
        tables = _tables(lists, partitions)
    crops = Folders()
    for match, entry in tree.matching(r"cropped[^/]*/(?:batch\d+/)?([^/]+)/\d+\.\w+", *PICTURE_SUFFIXES):
        crops.add((match[1],), entry)
    folders = {name: entries for (name,), entries in crops.chosen(notes, prefer="aligned").items()}
    filmed = tree.matching(r"batch\d+/([^/]+)\.\w+", *VIDEO_SUFFIXES)
    videos = one_each(((match[1], entry) for match, entry in filmed), "videos", notes)
    if not folders and not videos:
        raise nothing_found("Aff-Wild2", tree, LOOKED_FOR)
    coded_videos = labels.keys() | tables.keys()
    if not coded_videos:
        raise no_labels("Aff-Wild2", tree, len(folders or videos), LABELS_LOOKED_FOR)
    sequences: list[Sequence] = []
    lonely, guessed = [], 0
    for name in sorted(coded_videos, key=lambda name: (_video_of(name), name)):
        video = _video_of(name)
        film = videos.get(video)
        if name in folders:
            fps = _fps(film)
            guessed += fps is None
            last = int(tables[name].number_L[-1]) if name in tables else None
            pictures = tuple(picture for picture in folders[name] if last is None or picture[0] <= last)
            if not pictures:
                lonely.append(name)
                continue
            source: Film | Pictures = Pictures(pictures, fps or FPS, cropped=True)
        elif film and not folders:
            source = Film(film, first=1)
        else:
            lonely.append(name)
            continue
        # A crop shows the one person that is meant.
        side = _side(name) if isinstance(source, Film) else "any"
        files = {"rows": labels[name]} if name in labels else {}
        whole = isinstance(source, Film) and name in labels
        sequence = Sequence(
            *("affwild2", f"affwild2/{video}", name, source, files), table=tables.get(name), whole=whole, side=side
        )
        sequences.append(sequence)
    if lonely:
        notes.append(f"{len(lonely)} labelled videos have no recording ({first_few(lonely)}).")
    filmed_only = set() if folders else videos.keys() - {_video_of(name) for name in coded_videos}
    if unlabelled := sorted((folders.keys() - coded_videos) | filmed_only):
        notes.append(f"{len(unlabelled)} recordings have no labels and were left out ({first_few(unlabelled)}).")
    if guessed:
        notes.append(
            f"{guessed} folders of crops have no video that tells their frame rate: {FPS:g} frames a second are taken."
        )
    both = partitions["train"] & partitions["validation"]
    if both:
        notes.append(f"These videos are in the training and in the validation set: {first_few(sorted(both))}.")
    return Found(
        "affwild2",
        tuple(sequences),
        dict(tree.unreadable),
        tuple(notes),
        {part: sorted(who & {sequence.subject for sequence in sequences}) for part, who in partitions.items()},
    )


def _tables(lists: list[Entry], partitions: dict[str, set[str]]) -> dict[str, LabelTable]:
    """Return video → its labels of the lists of the multi-task challenge; their parts are put to the others."""
    tables: dict[str, LabelTable] = {}
    where: dict[str, Entry] = {}
    for entry in lists:
        part = next((part for word, part in PARTITIONS.items() if entry.stem.lower().startswith(word)), None)
        for video, table in read_list(entry, AUS).items():
            if video in tables:
                raise two_of("lists of labels", video, where[video], entry)
            tables[video], where[video] = table, entry
            if part:
                partitions[part].add(f"affwild2/{_video_of(video)}")
    return tables


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


def read_labels(sequence: Sequence, options: Options) -> LabelTable | Timed:
    """Read the label file of a recording.

    Raises:
        IngestError: The file cannot be read.
    """
    if sequence.table is not None:
        return sequence.table
    (entry,) = sequence.labels.values()
    return read_ordered(entry.text(), entry.where)
