"""CK+, the extended Cohn-Kanade set: pictures from neutral to the peak, whose last frame is coded.

``cohn-kanade-images/S005/001/S005_001_00000011.png``; ``FACS/S005/001/S005_001_00000011_facs.txt``.
"""

from collections import defaultdict

from au_dist.corpora.copies import one_each
from au_dist.corpora.facs_files import FRAME, read_frames, unpaired, unverified
from au_dist.corpora.label_files import LabelTable
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Folders, Found, Pictures, Sequence, no_labels, nothing_found
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES

#: The action units that the corpus's paper reports detection of.
AUS = (1, 2, 4, 5, 6, 7, 9, 11, 12, 15, 17, 20, 23, 24, 25, 26, 27)

#: All that are coded; what is not listed does not occur.
CODED = tuple(sorted({*AUS, 10, 13, 14, 16, 18, 21, 28, 29, 31, 34, 38, 39, 43}))

#: A guess: pictures do not say it.
FPS = 30.0


def find(tree: Tree, options: Options) -> Found:
    """Find the recordings of CK+.

    Raises:
        IngestError: There are none, or no labels.
    """
    notes = [unverified("CK+")]
    folders = Folders()
    for match, entry in tree.matching(r"(S\d{3})_(\d{3})_\d+\.\w+", *PICTURE_SUFFIXES):
        folders.add((match[1].upper(), match[2]), entry)
    pictures = folders.chosen(notes, prefer="images")
    if not pictures:
        raise nothing_found("CK+", tree, ["pictures such as cohn-kanade-images/S005/001/S005_001_00000011.png"])
    labels: dict[tuple[str, ...], dict[str, Entry]] = defaultdict(dict)
    coded = tree.matching(r"(S\d{3})_(\d{3})_(\d+)_facs\.txt", ".txt")
    files = (((match[1].upper(), match[2], int(match[3])), entry) for match, entry in coded)
    for (subject, task, number), entry in one_each(files, "label files", notes).items():
        labels[subject, task][f"{FRAME}{number}"] = entry
    if not labels:
        raise no_labels("CK+", tree, len(pictures), ["labels such as FACS/S005/001/S005_001_00000011_facs.txt"])
    sequences = [
        Sequence("ck+", f"ck+/{key[0]}", "_".join(key), Pictures(pictures[key], FPS), labels[key])
        for key in sorted(pictures.keys() & labels.keys())
    ]
    notes += unpaired(pictures, labels)
    notes.append("Only the last frame of a recording is coded: --clip-frames 1 takes it, --frames all the others too.")
    return Found("ck+", tuple(sequences), dict(tree.unreadable), tuple(notes))


def read_labels(sequence: Sequence, options: Options) -> LabelTable:
    """Read the FACS file of a recording.

    Raises:
        IngestError: It is something else.
    """
    return read_frames(sequence, CODED)
