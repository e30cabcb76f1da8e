"""BP4D and BP4D+: pictures or videos of a subject and a task, occurrence and intensity as CSV files.

Releases differ in folders, padding, letters and containers, so files are recognised by subject and task alone:
``…/F001/T1/2440.jpg`` in a folder or an archive, ``2F01_01.avi``, ``F001_T1.mp4``; ``F001_T1.csv``,
``F001_T1_AU06.csv``.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from au_dist.ingest.corpora.options import Options, bad_frames, published_segments
from au_dist.ingest.label_files import LabelTable, joined, read_coded, read_pairs
from au_dist.ingest.sequences import (
    Film,
    Found,
    Pictures,
    Sequence,
    no_labels,
    nothing_found,
    numbered,
    ordinal,
)
from au_dist.ingest.tree import Entry, Tree

#: Standard action units of detection; intensities are coded for 6, 10, 12, 14 and 17.
AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)

#: No frame rate is stored with pictures.
FPS = 25.0

#: The last number of the 2D videos → task.
TASKS = {"01": 1, "03": 2, "07": 3, "08": 4, "09": 5, "10": 6, "11": 7, "13": 8}

PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
VIDEOS = (".avi", ".mp4", ".mov", ".mkv", ".wmv")

LOOKED_FOR = ["pictures such as F001/T1/2440.jpg", "or videos such as 2F01_01.avi or F001_T1.mp4"]
LABELS_LOOKED_FOR = ["occurrence such as AU_OCC/F001_T1.csv", "or intensity such as AU_INT/AU06/F001_T1_AU06.csv"]

Key = tuple[str, str]


def find(tree: Tree, options: Options, corpus: str = "bp4d") -> Found:
    """Find the recordings of BP4D or BP4D+.

    Raises:
        IngestError: There are none, or no labels.
    """
    notes: list[str] = []
    pictures, videos, labels = _pictures(tree, notes), _videos(tree), _labels(tree)
    if not pictures and not videos:
        raise nothing_found("BP4D+" if corpus == "bp4d+" else "BP4D", tree, LOOKED_FOR)
    if not labels:
        raise no_labels(corpus, tree, len(pictures | videos), LABELS_LOOKED_FOR)
    if both := pictures.keys() & videos.keys():
        notes.append(f"{len(both)} recordings are there as pictures and as video; the pictures were taken.")
    sequences = []
    for key in sorted((pictures.keys() | videos.keys()) & labels.keys(), key=_natural):
        sequences.append(_sequence(corpus, key, pictures.get(key), videos.get(key), labels[key], options))
    from_zero = sum(bool(found) and found[0][0] == 0 for found in pictures.values())
    if from_zero and not _by_place(corpus, options):
        notes.append(
            f"In {from_zero} recordings the pictures count from 0 and labels from 1: is it the name or the place that "
            "tells which frame a label means? --frame-map by_name or ordinal says so."
        )
    if unlabelled := (pictures.keys() | videos.keys()) - labels.keys():
        notes.append(f"{len(unlabelled)} recordings have no labels and were left out ({_few(unlabelled)}).")
    if lonely := labels.keys() - pictures.keys() - videos.keys():
        notes.append(f"{len(lonely)} label files have no recording ({_few(lonely)}).")
    return Found(tuple(sequences), dict(tree.unreadable), tuple(notes))


def find_plus(tree: Tree, options: Options) -> Found:
    """Find the recordings of BP4D+."""
    return find(tree, options, "bp4d+")


def _sequence(
    corpus: str,
    key: Key,
    pictures: tuple[tuple[int, Entry], ...] | None,
    video: Entry | None,
    labels: dict[str, Entry],
    options: Options,
) -> Sequence:
    subject, task = key
    name = f"{subject}_{task}"
    frames: Pictures | Film
    if pictures:
        frames = Pictures(ordinal(pictures) if _by_place(corpus, options) else pictures, FPS)
    else:
        assert video is not None
        frames = Film(video, first=1)
    bad = bad_frames(corpus, options.bad_frames).get(f"{subject}/{task}", ())
    segment = published_segments(corpus).get(f"{subject}/{task}")
    return Sequence(corpus, f"{corpus}/{subject}", name, frames, labels, dropped=bad, segment=segment)


def _by_place(corpus: str, options: Options) -> bool:
    return options.frame_map == "ordinal" or (options.frame_map == "auto" and corpus == "bp4d+")


def _pictures(tree: Tree, notes: list[str]) -> dict[Key, tuple[tuple[int, Entry], ...]]:
    folders: dict[Key, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for found, entry in tree.matching(r"([FM]\d{3})[/_]?(T\d{1,2})/[^/]*?\d+\.\w+", *PICTURES):
        folders[found[1].upper(), found[2].upper()][entry.name.rpartition("/")[0]].append(entry)
    if twice := [key for key, places in folders.items() if len(places) > 1]:
        notes.append(f"{len(twice)} recordings are there twice ({_few(twice)}); the one with more pictures was taken.")
    return {
        key: numbered(places[max(places, key=lambda folder: (len(places[folder]), folder))])
        for key, places in folders.items()
    }


def _videos(tree: Tree) -> dict[Key, Entry]:
    found = {}
    # FERA 2017 shows each recording from several sides and numbers them; 6 is the front, as far as is known.
    for match, entry in tree.matching(r"(?:[^/]*_)?([FM]\d{3})_(T\d{1,2})_6\.\w+", *VIDEOS):
        found[match[1].upper(), match[2].upper()] = entry
    for match, entry in tree.matching(r"2([FM])(\d{2})_(\d{2})\.\w+", *VIDEOS):
        if match[3] in TASKS:
            found[f"{match[1].upper()}0{match[2]}", f"T{TASKS[match[3]]}"] = entry
    for match, entry in tree.matching(r"(?:[^/]*_)?([FM]\d{3})_?(T\d{1,2})\.\w+", *VIDEOS):
        found[match[1].upper(), match[2].upper()] = entry
    return found


def _labels(tree: Tree) -> dict[Key, dict[str, Entry]]:
    found: dict[Key, dict[str, Entry]] = defaultdict(dict)
    for match, entry in tree.matching(r"(?:[^/]*_)?([FM]\d{3})_(T\d{1,2})\.csv", ".csv"):
        found[match[1].upper(), match[2].upper()].setdefault("occurrence", entry)
    for match, entry in tree.matching(r"(?:[^/]*_)?([FM]\d{3})_(T\d{1,2})_AU(\d{1,2})\.csv", ".csv"):
        found[match[1].upper(), match[2].upper()].setdefault(f"intensity {int(match[3])}", entry)
    return found


def _natural(key: Key) -> tuple[str, int]:
    return key[0], int(re.sub(r"\D", "", key[1]))


def _few(keys: Iterable[Key]) -> str:
    names = sorted(f"{subject}/{task}" for subject, task in keys)
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")


def read_labels(sequence: Sequence, options: Options) -> LabelTable:
    """Read the label files of a recording.

    Raises:
        IngestError: A file cannot be read.
    """
    tables = []
    for kind, entry in sequence.labels.items():
        if kind == "occurrence":
            tables.append(read_coded(entry.text(), entry.where))
        else:
            tables.append(read_pairs(entry.text(), entry.where, int(kind.split()[1])))
    return joined(tables, sequence.where)
