"""Every corpus by its name on the command line."""

from collections.abc import Callable
from dataclasses import dataclass

from au_dist.corpora import affwild2, bp4d, ckplus, disfa, gft, lists, plain, table, unbc
from au_dist.corpora.label_files import LabelTable
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Found, Sequence
from au_dist.corpora.timed import Timed
from au_dist.corpora.tree import Tree


@dataclass(frozen=True)
class Corpus:
    """How one corpus is taken in.

    Attributes:
        title: Its name for people.
        aus: The action units that the field uses, in order; none for videos without labels and where the recordings say
            which they have labels of.
        find: Finds its recordings in a tree.
        labels: Reads the labels of a recording; None where there are none.
        people: How many faces of a frame count, the larger first; 0 for all.
        options: What may be said about how it is read: fields of `Options`.
        place: What is given for it on the command line.
        does: What is done with its frames, for a person.
        detect_side: Longest side, in pixels, at which faces are looked for: less where faces fill the frame.
    """

    title: str
    aus: tuple[int, ...]
    find: Callable[[Tree, Options], Found]
    labels: Callable[[Sequence, Options], LabelTable | Timed] | None
    people: int = 1
    options: tuple[str, ...] = ("frames",)
    does: str = "find, track, align and crop faces"
    detect_side: int = 640
    place: str = "Its folder or zip archive, as delivered."


_BP4D = ("frames", "frame_map", "first_frame", "bad_frames")
_DISFA = ("frames", "threshold", "camera", "first_frame", "bad_frames")
_DISFA_PLUS = ("frames", "threshold")
_TABLE = ("root", "frames", "counted", "occurs_from", "subjects", "name")
_LISTS = ("name", "columns", "codes", "threshold", "subject", "lists", "pictures")

_AS_THEY_ARE = "take the pictures as they are"
_TABLES = "The table (CSV, TSV, Excel or Parquet), or a folder of tables, one a video."


def _own(sequence: Sequence, options: Options) -> LabelTable | Timed:
    """Return the labels that the importer read."""
    assert sequence.table is not None
    return sequence.table


CORPORA = {
    "bp4d": Corpus("BP4D", bp4d.AUS, bp4d.find, bp4d.read_labels, options=_BP4D, detect_side=320),
    "bp4d+": Corpus("BP4D+", bp4d.AUS, bp4d.find_plus, bp4d.read_labels, options=_BP4D, detect_side=320),
    "disfa": Corpus("DISFA", disfa.AUS, disfa.find, disfa.read_labels, options=_DISFA, detect_side=320),
    "disfa+": Corpus("DISFA+", disfa.AUS, disfa.find_plus, disfa.read_labels, options=_DISFA_PLUS, detect_side=320),
    "gft": Corpus("GFT, or any corpus with tables", gft.AUS, gft.find, gft.read_labels, options=("frames", "layout")),
    "affwild2": Corpus("Aff-Wild2", affwild2.AUS, affwild2.find, affwild2.read_labels),
    "ck+": Corpus("CK+", ckplus.AUS, ckplus.find, ckplus.read_labels),
    "unbc": Corpus("UNBC-McMaster", unbc.AUS, unbc.find, unbc.read_labels),
    "table": Corpus("own data with a table of labels", (), table.find, _own, options=_TABLE, place=_TABLES),
    "lists": Corpus("lists of cropped pictures", (), lists.find, _own, options=_LISTS, does=_AS_THEY_ARE),
    "video": Corpus("videos without labels", (), plain.find, None, people=0, options=("name", "subjects")),
}
