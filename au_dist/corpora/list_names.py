"""What the name of a list of pictures tells: the corpus, what the list is for, its fold; and the order of columns.

Names such as ``BP4D_train_img_path_fold1.txt`` (ME-GraphAU, AUNCE), ``hybrid_val_label.txt`` (OpenGraphAU),
``DISFA_part2_path.txt`` (JAA-Net), ``BP4D_test3.json`` (FMAE), ``labels/0/train.csv`` (LibreFace).
"""

import re
from dataclasses import dataclass

from au_dist.corpora import affwild2, bp4d, disfa, gft
from au_dist.corpora.layout import NAME
from au_dist.corpora.tree import Entry

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "devel"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}

#: Spellings of a corpus, in small letters and without marks → its name here.
CORPORA = {
    **dict.fromkeys(("bp4d", "bp4dspontaneous"), "bp4d"),
    **dict.fromkeys(("bp4d+", "bp4dplus"), "bp4d+"),
    "disfa": "disfa",
    # A person of DISFA+ is one of DISFA.
    **dict.fromkeys(("disfa+", "disfaplus"), "disfa"),
    "gft": "gft",
    **dict.fromkeys(("affwild2", "affw", "affw2"), "affwild2"),
    **dict.fromkeys(("ck+", "ckplus"), "ck+"),
    "unbc": "unbc",
    "casme2": "casme2",
    "rafau": "raf-au",
}

#: Columns of OpenGraphAU's lists; None for those of one side of the face: L1, R1, L2, … R14.
HYBRID = (
    *(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 27, 32, 38, 39),
    *(None,) * 14,
)

#: Orders of columns that lists of a corpus have, by what they hold; told apart by how many there are.
ORDERS: dict[str, dict[str, tuple[tuple[int, ...], ...]]] = {
    "occurrence": {
        "bp4d": (bp4d.AUS,),
        "bp4d+": (bp4d.AUS,),
        "disfa": ((1, 2, 4, 6, 9, 12, 25, 26), disfa.AUS),
        "gft": (gft.AUS,),
        "affwild2": (affwild2.AUS,),
    },
    "intensity": {
        "bp4d": ((6, 10, 12, 14, 17),),
        "bp4d+": ((6, 10, 12, 14, 17),),
        "disfa": ((1, 2, 4, 6, 9, 12, 25, 26), disfa.AUS),
    },
}

_PART = re.compile(rf"({'|'.join(PARTS)})(\d*)")
_FOLD = re.compile(r"fold(\d*)")
_STOP = re.compile(rf"(?:{'|'.join(PARTS)}|fold|part|combine)\d*|img|image|images|path|label|labels|list|all|auoccur")


@dataclass(frozen=True)
class ListName:
    """What a list's name tells; None where it does not.

    Attributes:
        corpus: The corpus.
        part: ``train``, ``validation`` or ``test``.
        fold: ``fold1``, or ``part1`` where a list is named for the part that it tests.
    """

    corpus: str | None
    part: str | None
    fold: str | None


def name_of_list(entry: Entry) -> ListName:
    """Read the name of a list, and of the folders it is in."""
    words = re.split(r"[_\s]+", entry.stem.lower())
    folders = [folder.lower() for folder in reversed(entry.parts[:-1])]
    part, fold = None, None
    for k, word in enumerate(words):
        if match := _PART.fullmatch(word):
            part, fold = PARTS[match[1]], f"fold{int(match[2])}" if match[2] else fold
        elif match := _FOLD.fullmatch(word):
            number = match[1] or next(iter(words[k + 1 : k + 2]), "")
            fold = f"fold{int(number)}" if number.isdigit() else fold
        elif match := re.fullmatch(r"part(\d+)", word):
            part, fold = "test", f"part{int(match[1])}"
        elif word == "combine":
            part = "train"
    if part and not fold and folders and (match := re.fullmatch(r"(?:fold[_-]?)?(\d+)", folders[0])):
        fold = f"fold{int(match[1])}"
    return ListName(_corpus_of(words, folders), part, fold)


def known_corpus(text: str) -> str | None:
    """Return the corpus that a word is a name of."""
    return CORPORA.get(re.sub(r"[^a-z0-9+]", "", text.lower()))


def _corpus_of(words: list[str], folders: list[str]) -> str | None:
    first = next((k for k, word in enumerate(words) if _STOP.fullmatch(word)), len(words))
    for length in range(first, 0, -1):
        if corpus := known_corpus("".join(words[:length])):
            return corpus
    name = "_".join(words[:first])
    if re.fullmatch(NAME, name):
        return name
    return next(filter(None, map(known_corpus, folders)), None)


def orders_of(corpus: str | None, codes: str) -> tuple[tuple[int, ...], ...]:
    """Return the orders of columns that lists of a corpus have, of ``occurrence`` or ``intensity``."""
    return ORDERS[codes].get(corpus or "", ())


def columns_of(corpus: str | None, codes: str, count: int) -> tuple[int | None, ...] | None:
    """Return the action units of so many columns of a corpus's list; None where nobody says."""
    if count == len(HYBRID):
        return HYBRID
    return next((order for order in orders_of(corpus, codes) if len(order) == count), None)
