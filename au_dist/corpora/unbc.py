"""The UNBC-McMaster shoulder pain archive: pictures, and a FACS file for each of them.

``Images/042-ll042/ll042t1aaaff/ll042t1aaaff001.png``;
``Frame_Labels/FACS/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt``, empty where nothing occurs. Files of the same
names in ``Frame_Labels/PSPI`` hold the pain, and are not read.
"""

from collections import defaultdict

from au_dist.corpora.copies import one_each
from au_dist.corpora.facs_files import FRAME, read_frames, unpaired, unverified
from au_dist.corpora.label_files import LabelTable
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Folders, Found, Pictures, Sequence, no_labels, nothing_found
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES

AUS = (4, 6, 7, 9, 10, 12, 20, 25, 26, 43)

#: Eyes are closed, or not.
BINARY = (43,)

#: A guess: pictures do not say it.
FPS = 30.0


def find(tree: Tree, options: Options) -> Found:
    """Find the recordings of the archive.

    Raises:
        IngestError: There are none, or no labels.
    """
    title, notes = "UNBC-McMaster", [unverified("UNBC-McMaster")]
    folders = Folders()
    for match, entry in tree.matching(r"(\d{3}-[a-z]+\d+)/([^/]+)/[^/]*?\d+\.\w+", *PICTURE_SUFFIXES):
        folders.add((match[1].lower(), match[2]), entry)
    pictures = folders.chosen(notes, prefer="images")
    if not pictures:
        raise nothing_found(title, tree, ["pictures such as Images/042-ll042/ll042t1aaaff/ll042t1aaaff001.png"])
    labels: dict[tuple[str, ...], dict[str, Entry]] = defaultdict(dict)
    coded = tree.matching(r"FACS/(\d{3}-[a-z]+\d+)/([^/]+)/[^/]*?(\d+)_facs\.txt", ".txt")
    files = (((match[1].lower(), match[2], int(match[3])), entry) for match, entry in coded)
    for (subject, name, number), entry in one_each(files, "label files", notes).items():
        labels[subject, name][f"{FRAME}{number}"] = entry
    if not labels:
        raise no_labels(title, tree, len(pictures), ["labels such as Frame_Labels/FACS/042-ll042/…/…001_facs.txt"])
    sequences = [
        Sequence("unbc", f"unbc/{key[0]}", key[1], Pictures(pictures[key], FPS), labels[key], whole=True)
        for key in sorted(pictures.keys() & labels.keys())
    ]
    notes += unpaired(pictures, labels)
    return Found("unbc", tuple(sequences), dict(tree.unreadable), tuple(notes))


def read_labels(sequence: Sequence, options: Options) -> LabelTable:
    """Read the FACS files of a recording.

    Raises:
        IngestError: One is something else.
    """
    return read_frames(sequence, AUS, BINARY)
