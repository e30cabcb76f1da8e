"""DISFA and DISFA+: intensities of twelve action units, a text file each; occurrence is intensity above a threshold.

A person has the same name in both corpora, so both give the same subject: ``disfa/SN001``.
"""

from collections import defaultdict
from dataclasses import replace

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.copies import one_each
from au_dist.corpora.folder import VIDEO_SUFFIXES
from au_dist.corpora.label_files import LabelTable, joined, occurrence_from, read_named_pictures, read_pairs
from au_dist.corpora.options import Options
from au_dist.corpora.published import bad_frames
from au_dist.corpora.recordings import TOLERANCE, Film, Folders, Found, Pictures, Sequence, no_labels, nothing_found
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES

AUS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)

FPS = 20.0

LOOKED_FOR = ["videos such as Videos_LeftCamera/LeftVideoSN001_comp.avi", "or pictures such as SN001/0001.jpg"]
LABELS_LOOKED_FOR = ["labels such as ActionUnit_Labels/SN001/SN001_au1.txt"]


def find(tree: Tree, options: Options) -> Found:
    """Find the recordings of DISFA.

    Raises:
        IngestError: There are none, or no labels.
    """
    notes: list[str] = []
    labels: dict[str, dict[str, Entry]] = defaultdict(dict)
    coded = tree.matching(r"[^/]*?(SN\d{3})_au(\d{1,2})\.txt", ".txt")
    files = (((match[1].upper(), int(match[2])), entry) for match, entry in coded)
    for (subject, au), entry in one_each(files, "label files", notes).items():
        labels[subject][f"intensity {au}"] = entry
    films: dict[str, dict[str, Entry]] = {"left": {}, "right": {}}
    filmed = tree.matching(r"(left|right)Video(SN\d{3})[^/]*\.\w+", *VIDEO_SUFFIXES)
    videos_found = (((match[1].lower(), match[2].upper()), entry) for match, entry in filmed)
    for (camera, subject), entry in one_each(videos_found, "videos", notes).items():
        films[camera][subject] = entry
    folders = Folders()
    for match, entry in tree.matching(r"(SN\d{3})/[^/]*?\d+\.\w+", *PICTURE_SUFFIXES):
        folders.add((match[1].upper(),), entry)
    pictures = {subject: entries for (subject,), entries in folders.chosen(notes, prefer=options.camera).items()}
    videos, other = films[options.camera], films["right" if options.camera == "left" else "left"]
    if not videos and not pictures and not other:
        raise nothing_found("DISFA", tree, LOOKED_FOR)
    if not videos and not pictures:
        raise IngestError(
            f"There are no videos of the {options.camera} camera",
            where=tree.root,
            found=f"{len(other)} of the other",
            fix="Choose the camera with --camera; labels are the same.",
        )
    if not labels:
        raise no_labels("DISFA", tree, len(videos.keys() | pictures.keys()), LABELS_LOOKED_FOR)
    sequences, aside = [], dict(tree.unreadable)
    for subject in sorted(videos.keys() | pictures.keys()):
        entry = videos.get(subject) or pictures[subject][0][1]
        if subject not in labels:
            aside[entry.where] = f"no labels of {subject}"
            continue
        bad = bad_frames("disfa", options.bad_frames).get(subject, ())
        source: Film | Pictures
        if subject in videos:
            source = Film(videos[subject], options.first_frame)
        else:
            source = Pictures(_from_one(pictures[subject]), FPS)
        sequence = Sequence("disfa", f"disfa/{subject}", subject, source, labels[subject], whole=True, dropped=bad)
        sequences.append(sequence)
        if missing := set(AUS) - {int(kind.split()[1]) for kind in labels[subject]}:
            notes.append(f"{subject} has no label file of AU {', '.join(map(str, sorted(missing)))}.")
    if lonely := labels.keys() - videos.keys() - pictures.keys():
        notes.append(f"There are labels without a recording: {first_few(sorted(lonely))}.")
    return Found("disfa", tuple(sequences), aside, tuple(notes))


def _from_one(pictures: tuple[tuple[int, Entry], ...]) -> tuple[tuple[int, Entry], ...]:
    """Labels count from 1; pictures that count from 0 are moved."""
    shift = 1 if pictures and pictures[0][0] == 0 else 0
    return tuple((number + shift, entry) for number, entry in pictures)


def find_plus(tree: Tree, options: Options) -> Found:
    """Find the trials of DISFA+.

    Raises:
        IngestError: There are none, or no labels.
    """
    notes = [f"DISFA+ does not say its frame rate; {FPS:g} a second is taken, that of DISFA."]
    labels: dict[tuple[str, ...], dict[str, Entry]] = defaultdict(dict)
    coded = tree.matching(r"(SN\d{3})/([^/]+)/AU(\d{1,2})\.txt", ".txt")
    files = (((match[1].upper(), match[2], int(match[3])), entry) for match, entry in coded)
    for (subject, trial, au), entry in one_each(files, "label files", notes).items():
        labels[subject, trial][f"intensity {au}"] = entry
    folders = Folders()
    for match, entry in tree.matching(r"(SN\d{3})/([^/]+)/\d+\.\w+", *PICTURE_SUFFIXES):
        folders.add((match[1].upper(), match[2]), entry)
    pictures = folders.chosen(notes, prefer="images")
    if not pictures:
        raise nothing_found("DISFA+", tree, ["pictures such as Images/SN001/A1_AU1_TrailNo_1/000.jpg"])
    if not labels:
        raise no_labels("DISFA+", tree, len(pictures), ["labels such as Labels/SN001/A1_AU1_TrailNo_1/AU1.txt"])
    sequences, aside = [], dict(tree.unreadable)
    for key in sorted(pictures):
        subject, trial = key
        if key not in labels:
            aside[pictures[key][0][1].where] = f"no labels of {subject}/{trial}"
            continue
        source = Pictures(pictures[key], FPS)
        sequences.append(Sequence("disfa+", f"disfa/{subject}", trial, source, labels[key], whole=True))
    if lonely := sorted("/".join(key) for key in labels.keys() - pictures.keys()):
        notes.append(f"{len(lonely)} trials have labels, but no pictures ({first_few(lonely)}).")
    return Found("disfa+", tuple(sequences), aside, tuple(notes))


def read_labels(sequence: Sequence, options: Options) -> LabelTable:
    """Read the label files of a recording; occurrence follows from intensity.

    Raises:
        IngestError: A file cannot be read.
    """
    reader = read_named_pictures if sequence.corpus == "disfa+" else read_pairs
    tables = [
        reader(entry.text(), entry.where, int(kind.split()[1])) for kind, entry in sorted(sequence.labels.items())
    ]
    table = joined(tables, sequence.where, TOLERANCE)
    return replace(table, occurrence=occurrence_from(table.intensity, options.threshold))
