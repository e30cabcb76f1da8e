"""Lists of pictures that are face crops already: recordings, labels and folds, as research groups keep them.

A picture may be in many lists, as one of the training list of a fold and of the test list of another. It is taken once,
and its labels must be the same wherever it is listed.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora import bp4d, disfa
from au_dist.corpora.label_files import LabelTable, as_occurrence, occurrence_from
from au_dist.corpora.list_files import Column, Listed, corpus_of, read_lists
from au_dist.corpora.list_folds import partitions_of
from au_dist.corpora.list_pictures import Picture, Places, Recording, names_of, pictures_of
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Found, Pictures, Sequence, nothing_found
from au_dist.corpora.tree import Tree
from au_dist.corpora.understood import rates

#: Frames per second; lists do not say them.
FPS = {"bp4d": bp4d.FPS, "bp4d+": bp4d.FPS, "disfa": disfa.FPS}
OTHER_FPS = 30.0

#: Name of a set whose lists have none.
UNNAMED = "lists"

LOOKED_FOR = [
    "lists such as BP4D_train_img_path_fold1.txt with BP4D_train_label_fold1.txt",
    "JSON lines with img_path and AUs",
    "or tables with a column of pictures and columns AU1, AU2 …",
]


def find(tree: Tree, options: Options) -> Found:
    """Find the pictures of the lists in a tree, and their labels.

    Raises:
        IngestError: There are no lists, they contradict each other, or it cannot be told what they mean.
    """
    notes: list[str] = []
    lists = read_lists(tree, options, notes)
    if not lists:
        raise nothing_found("a folder of lists", tree, LOOKED_FOR)
    corpus = _one_corpus(lists, options)
    columns = _same_columns(lists)
    notes += [f"{listed.entry.name}: {phrase}." for listed in lists for phrase in listed.unread]
    places = Places(tree, options.pictures)
    gathered = _Gathered(columns)
    pictures = pictures_of(lists, corpus, places, options, notes)
    who = [(listed, {picture.subject for picture in some}) for listed, some in zip(lists, pictures, strict=True)]
    for listed, some in zip(lists, pictures, strict=True):
        gathered.add(listed, some, notes)
    sequences, aside = _sequences(corpus, gathered, options, notes)
    if not sequences:
        raise IngestError(
            "None of the pictures of the lists is here",
            where=tree.root,
            expected=f"{next(iter(gathered.pictures.values())).path} in a folder below",
            found=tree.summary(),
            fix="Give the folder that holds both lists and pictures.",
        )
    listed_here = sum(picture.entry is not None for picture in gathered.pictures.values())
    if others := len(places.entries) - listed_here:
        notes.append(f"{others} pictures are in no list and were left out.")
    parts = partitions_of(who, {sequence.subject for sequence in sequences if sequence.subject}, notes)
    aus = tuple(dict.fromkeys(au for au, _ in columns))
    notes.append("The pictures are taken as they are: no face is looked for, nothing is aligned.")
    understood = (
        ("lists", f"{len(lists)}, of {len(gathered.pictures)} pictures"),
        ("columns", ", ".join(f"AU{au:02d}{'_r' if kind == 'r' else ''}" for au, kind in columns)),
        *rates(sequences),
    )
    return Found(corpus, tuple(sequences), dict(tree.unreadable) | aside, tuple(notes), parts, aus, understood)


def _one_corpus(lists: list[Listed], options: Options) -> str:
    names = {corpus_of(listed.name, options) or UNNAMED: listed for listed in lists}
    if len(names) > 1:
        raise IngestError(
            "The lists are of several corpora",
            where=" and ".join(listed.entry.where for listed in list(names.values())[:2]),
            expected="one",
            found=", ".join(sorted(names)),
            fix="Say which files count, as with --lists 'BP4D_.*', or of what corpus all are: --corpus NAME.",
        )
    return next(iter(names))


def _same_columns(lists: list[Listed]) -> tuple[Column, ...]:
    first = lists[0]
    for listed in lists[1:]:
        if set(listed.columns) != set(first.columns):
            raise IngestError(
                "The lists have different columns",
                where=f"{first.entry.where} and {listed.entry.where}",
                expected=", ".join(f"AU{au:02d}_{kind}" for au, kind in first.columns),
                found=", ".join(f"AU{au:02d}_{kind}" for au, kind in listed.columns),
                fix="Say which files count: --lists PATTERN.",
            )
    return first.columns


@dataclass
class _Gathered:
    """The pictures of all lists, each once, with its labels."""

    columns: tuple[Column, ...]
    pictures: dict[str, Picture] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    places: dict[str, tuple[Listed, int]] = field(default_factory=dict)

    def add(self, listed: Listed, pictures: list[Picture], notes: list[str]) -> None:
        """Put the pictures of a list to the others.

        Raises:
            IngestError: One is there already with other labels, or as somebody else's.
        """
        code_LK = listed.codes_LK[:, [listed.columns.index(column) for column in self.columns]]
        again = 0
        for row, picture in enumerate(pictures):
            before = self.places.setdefault(picture.key, (listed, row))
            if before == (listed, row):
                self.pictures[picture.key], self.labels[picture.key] = picture, code_LK[row]
                continue
            again += before[0] is listed
            if self.pictures[picture.key].subject != picture.subject:
                raise self._clash(picture, listed, row, "subjects", self.pictures[picture.key].subject, picture.subject)
            if not np.array_equal(self.labels[picture.key], code_LK[row], equal_nan=True):
                here, there = (self._words(code_K) for code_K in (self.labels[picture.key], code_LK[row]))
                raise self._clash(picture, listed, row, "labels", here, there)
        if again:
            notes.append(f"{listed.entry.name} lists {again} pictures again, with the same labels.")

    def _words(self, code_K: np.ndarray) -> str:
        codes = ("unknown" if np.isnan(code) else f"{code:g}" for code in code_K)
        return ", ".join(f"AU{au:02d} {code}" for (au, _), code in zip(self.columns, codes, strict=True))

    def _clash(self, picture: Picture, listed: Listed, row: int, what: str, one: str, other: str) -> IngestError:
        first = self.places[picture.key]
        return IngestError(
            f"A picture has two different {what}",
            where=f"{picture.path}: {first[0].at(first[1])} and {listed.at(row)}",
            expected=one,
            found=other,
            fix="Mend one of the lists, or leave one out with --lists.",
        )


def _sequences(
    corpus: str, gathered: _Gathered, options: Options, notes: list[str]
) -> tuple[list[Sequence], dict[str, str]]:
    """Return the recordings, those of a subject together, and what is set aside."""
    recordings: dict[Recording, dict[int, str]] = defaultdict(dict)
    for key, picture in gathered.pictures.items():
        known = recordings[picture.recording].setdefault(picture.number, key)
        if known != key:
            (one, row), (other, line) = gathered.places[known], gathered.places[key]
            raise IngestError(
                "Two pictures of a recording have one number",
                where=f"{one.at(row)} and {other.at(line)}",
                expected="a number for each",
                found=f"{gathered.pictures[known].path} and {picture.path}",
            )
    names = names_of({key: gathered.pictures[min(some.values())].place for key, some in recordings.items()})
    sequences, aside, missing = [], dict[str, str](), Counter[str]()
    for recording in sorted(recordings, key=lambda key: (key[0], names[key])):
        numbered = sorted(recordings[recording].items())
        pictures = [(number, gathered.pictures[key]) for number, key in numbered]
        there = tuple((number, picture.entry) for number, picture in pictures if picture.entry)
        title = f"{recording[0]}/{names[recording]}"
        if not there:
            aside[title] = f"none of its {len(numbered)} pictures is there, such as {pictures[0][1].path}"
            continue
        missing[title] += len(numbered) - len(there)
        codes = {number: gathered.labels[key] for number, key in numbered if gathered.pictures[key].entry}
        source = Pictures(there, FPS.get(pictures[0][1].corpus, OTHER_FPS), cropped=True)
        table = _table(codes, gathered.columns, options)
        sequences.append(Sequence(corpus, recording[0], names[recording], source, table=table))
    if missing := +missing:
        shown = first_few(f"{count} of {title}" for title, count in missing.most_common())
        notes.append(f"{missing.total()} listed pictures are not there and were left out ({shown}).")
    told = sorted({sequence.source.fps for sequence in sequences if isinstance(sequence.source, Pictures)})
    notes.append(f"Lists say no frame rate: {' and '.join(f'{fps:g}' for fps in told)} frames a second are taken.")
    return sequences, aside


def _table(codes: Mapping[int, np.ndarray], columns: tuple[Column, ...], options: Options) -> LabelTable:
    """Return the labels of a recording from number → codes."""
    code_LK = np.stack(list(codes.values()))
    levels = {au: code_LK[:, k].astype(np.float32) for k, (au, kind) in enumerate(columns) if kind == "r"}
    occurrence = {au: as_occurrence(code_LK[:, k]) for k, (au, kind) in enumerate(columns) if kind == "c"}
    if options.codes != "occurrence":
        occurrence = occurrence_from(levels, options.threshold) | occurrence
    return LabelTable(np.array(list(codes), np.int64), occurrence, levels)
