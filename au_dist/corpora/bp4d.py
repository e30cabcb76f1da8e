"""BP4D and BP4D+: pictures or videos of a subject and a task, occurrence and intensity as CSV files.

Releases differ in folders, padding, letters and containers, so files are recognised by subject and task alone:
``…/F001/T1/2440.jpg`` in a folder or an archive, ``2F01_01.avi``, ``F001_T1.mp4``; ``F001_T1.csv``,
``F001_T1_AU06.csv``.
"""

import re
from collections import defaultdict

from au_dist.core.words import first_few
from au_dist.corpora.copies import name_of, one_each
from au_dist.corpora.folder import VIDEO_SUFFIXES
from au_dist.corpora.label_files import LabelTable, joined, read_coded, read_pairs
from au_dist.corpora.options import Options
from au_dist.corpora.published import bad_frames, published_segments
from au_dist.corpora.recordings import Film, Folders, Found, Pictures, Sequence, no_labels, nothing_found, ordinal
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES

#: Standard action units of detection; intensities are coded for 6, 10, 12, 14 and 17.
AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)

#: No frame rate is stored with pictures.
FPS = 25.0

#: The last number of the 2D videos → task.
TASKS = {"01": 1, "03": 2, "07": 3, "08": 4, "09": 5, "10": 6, "11": 7, "13": 8}

LOOKED_FOR = ["pictures such as F001/T1/2440.jpg", "or videos such as 2F01_01.avi or F001_T1.mp4"]
LABELS_LOOKED_FOR = ["occurrence such as AU_OCC/F001_T1.csv", "or intensity such as AU_INT/AU06/F001_T1_AU06.csv"]

Key = tuple[str, ...]


def find(tree: Tree, options: Options, corpus: str = "bp4d") -> Found:
    """Find the recordings of BP4D or BP4D+.

    Raises:
        IngestError: There are none, or no labels.
    """
    folders = Folders()
    for match, entry in tree.matching(r"([FM]\d{3})[/_]?T(\d{1,2})/[^/]*?\d+\.\w+", *PICTURE_SUFFIXES):
        folders.add(_key(match), entry)
    notes: list[str] = []
    pictures, videos, labels = folders.chosen(notes), _videos(tree, notes), _labels(tree, notes)
    if not pictures and not videos:
        raise nothing_found("BP4D+" if corpus == "bp4d+" else "BP4D", tree, LOOKED_FOR)
    if not labels:
        raise no_labels(corpus, tree, len(pictures | videos), LABELS_LOOKED_FOR)
    if both := pictures.keys() & videos.keys():
        notes.append(f"{len(both)} recordings are there as pictures and as video; the pictures were taken.")
    sequences = []
    for key in sorted((pictures.keys() | videos.keys()) & labels.keys(), key=_natural):
        sequences.append(_sequence(corpus, key, pictures.get(key), videos.get(key), labels[key], options))
    from_zero = sum(bool(entries) and entries[0][0] == 0 for entries in pictures.values())
    if from_zero and not _by_place(corpus, options):
        notes.append(
            f"In {from_zero} recordings the pictures count from 0 and labels from 1: is it the name or the place that "
            "tells which frame a label means? --frame-map by_name or ordinal says so."
        )
    if unlabelled := (pictures.keys() | videos.keys()) - labels.keys():
        shown = first_few(map(name_of, sorted(unlabelled)))
        notes.append(f"{len(unlabelled)} recordings have no labels and were left out ({shown}).")
    if lonely := labels.keys() - pictures.keys() - videos.keys():
        notes.append(f"{len(lonely)} label files have no recording ({first_few(map(name_of, sorted(lonely)))}).")
    return Found(corpus, tuple(sequences), dict(tree.unreadable), tuple(notes))


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
    source: Pictures | Film
    if pictures:
        source = Pictures(ordinal(pictures, options.first_frame) if _by_place(corpus, options) else pictures, FPS)
    else:
        assert video is not None
        source = Film(video, options.first_frame)
    bad = bad_frames(corpus, options.bad_frames).get(f"{subject}/{task}", ())
    segment = published_segments(corpus).get(f"{subject}/{task}")
    return Sequence(corpus, f"{corpus}/{subject}", name, source, labels, dropped=bad, segment=segment)


def _by_place(corpus: str, options: Options) -> bool:
    return options.frame_map == "ordinal" or (options.frame_map == "auto" and corpus == "bp4d+")


def _videos(tree: Tree, notes: list[str]) -> dict[Key, Entry]:
    found: list[tuple[Key, Entry]] = []
    # FERA 2017 shows each recording from several sides and numbers them; 6 is the front, as far as is known.
    for match, entry in tree.matching(r"(?:[^/]*_)?([FM]\d{3})_T(\d{1,2})_6\.\w+", *VIDEO_SUFFIXES):
        found.append((_key(match), entry))
    for match, entry in tree.matching(r"2([FM])(\d{2})_(T?)(\d{1,2})\.\w+", *VIDEO_SUFFIXES):
        task = int(match[4]) if match[3] else TASKS.get(match[4])
        if task:
            found.append(((f"{match[1].upper()}0{match[2]}", f"T{task}"), entry))
    for match, entry in tree.matching(r"(?:[^/]*_)?([FM]\d{3})_?T(\d{1,2})\.\w+", *VIDEO_SUFFIXES):
        found.append((_key(match), entry))
    return one_each(found, "videos", notes)


def _labels(tree: Tree, notes: list[str]) -> dict[Key, dict[str, Entry]]:
    found: dict[tuple[Key, str], list[Entry]] = defaultdict(list)
    for match, entry in tree.matching(r"(?:[^/]*_)?([FM]\d{3})_T(\d{1,2})\.csv", ".csv"):
        found[_key(match), "occurrence"].append(entry)
    for match, entry in tree.matching(r"(?:[^/]*_)?([FM]\d{3})_T(\d{1,2})_AU(\d{1,2})\.csv", ".csv"):
        found[_key(match), f"intensity {int(match[3])}"].append(entry)
    # Other tables, of landmarks, say, have the names of label files too: labels are in folders named for them.
    likely = {key: [entry for entry in entries if _in_label_folder(entry)] for key, entries in found.items()}
    if others := [entry for key, some in likely.items() if some for entry in found[key] if entry not in some]:
        shown = first_few(entry.name for entry in others)
        notes.append(f"{len(others)} files named as label files are outside of folders AU… and not read ({shown}).")
    files = ((key, entry) for key, entries in found.items() for entry in likely[key] or entries)
    labels: dict[Key, dict[str, Entry]] = defaultdict(dict)
    for (key, kind), entry in one_each(files, "label files", notes).items():
        labels[key][kind] = entry
    return labels


def _in_label_folder(entry: Entry) -> bool:
    return any(part.upper().startswith("AU") for part in entry.parts[:-1])


def _key(match: re.Match[str]) -> Key:
    return match[1].upper(), f"T{int(match[2])}"


def _natural(key: Key) -> tuple[str, int]:
    return key[0], int(re.sub(r"\D", "", key[1]))


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
