"""Lists of pictures with their labels, as research groups keep them: two text files, JSON lines, or a table."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.label_files import MISSING, au_columns, unread_columns
from au_dist.corpora.list_names import ListName, columns_of, known_corpus, name_of_list, orders_of
from au_dist.corpora.options import Options, action_units
from au_dist.corpora.rows import Rows, is_numeric, preview, read_rows
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES

#: Words of a list's name → those of the file of its labels, by what that holds.
PARTNERS = {
    "occurrence": (("img_path", "label"), ("image_path", "label"), ("path", "label"), ("path", "AUoccur")),
    "intensity": (("path", "AUintensity"), ("img_path", "label"), ("image_path", "label"), ("path", "label")),
}

#: In JSON lists an action unit that does not occur.
ABSENT = 999

#: An action unit, and ``c`` for occurrence or ``r`` for intensity.
Column = tuple[int, str]


@dataclass(frozen=True, eq=False)
class Listed:
    """A list of pictures.

    Attributes:
        entry: The file that names the pictures.
        name: What its name tells.
        paths: The pictures as they are listed, with ``/``.
        lines: The line of each.
        columns: The columns of its labels.
        codes_LK: The labels, float32 [L, columns]; NaN where unknown.
        unread: What else it holds, a phrase each.
    """

    entry: Entry
    name: ListName
    paths: tuple[str, ...]
    lines: tuple[int, ...]
    columns: tuple[Column, ...]
    codes_LK: np.ndarray
    unread: tuple[str, ...] = ()

    def at(self, row: int) -> str:
        """Say where a row is, for a person."""
        return f"{self.entry.where}, line {self.lines[row]}"


def read_lists(tree: Tree, options: Options, notes: list[str]) -> list[Listed]:
    """Read the lists of a tree.

    Args:
        tree: Where they are.
        options: Which of them count, and what their columns are.
        notes: What a person should know is put here, a sentence each.

    Raises:
        IngestError: A list is not what it looks like, or its columns cannot be told.
    """
    wanted = [entry for entry in tree.entries if entry.suffix in (".txt", ".csv", ".tsv", ".json")]
    if options.lists is not None:
        pattern = re.compile(options.lists, re.IGNORECASE)
        wanted = [entry for entry in wanted if pattern.fullmatch(entry.parts[-1])]
    by_name = {entry.name.lower(): entry for entry in tree.entries if entry.suffix == ".txt"}
    lists, partners, lonely = [], set(), []
    for entry in wanted:
        if entry.suffix == ".txt" and "path" in entry.stem.lower():
            labels = _partner(entry, by_name, options)
            if labels is None:
                lonely.append(entry)
            else:
                partners.add(labels)
                lists.append(_read_pair(entry, labels, options))
    others, seen = [], {*partners, *lonely, *(listed.entry for listed in lists)}
    for entry in wanted:
        if entry not in seen:
            found = _read_json(entry, options) if entry.suffix == ".json" else _read_table(entry, options)
            if found is None:
                others.append(entry)
            else:
                lists.append(found)
    for what, some in (("lists of pictures have no file of labels", lonely), ("other files are not read", others)):
        if some:
            notes.append(f"{len(some)} {what}: {first_few(entry.name for entry in some)}.")
    return sorted(lists, key=lambda listed: listed.entry)


def _partner(entry: Entry, by_name: dict[str, Entry], options: Options) -> Entry | None:
    """Return the file with the labels of a list."""
    folder, _, name = entry.name.lower().rpartition("/")
    for word, other in PARTNERS[options.codes]:
        for ending in ("", "s"):
            partner = by_name.get(f"{folder}/{name.replace(word, other.lower() + ending)}".removeprefix("/"))
            if word in name and partner and partner != entry:
                return partner
    return None


def _read_pair(entry: Entry, labels: Entry, options: Options) -> Listed:
    """Read a list of paths and the rows of labels that belong to it, line by line."""
    listed = [(k, _path(line)) for k, line in enumerate(entry.text().splitlines(), 1) if line.strip()]
    lines, paths = zip(*listed, strict=True) if listed else ((), ())
    if (strange := next((k for k, path in enumerate(paths) if not is_picture(path)), None)) is not None:
        raise IngestError(
            "A line of the list is no picture",
            where=f"{entry.where}, line {lines[strange]}",
            expected=f"a name that ends with {', '.join(sorted(PICTURE_SUFFIXES))}",
            found=paths[strange],
        )
    columns, code_LK, at, unread = _matrix(labels, name_of_list(entry), options)
    if len(code_LK) != len(paths):
        raise IngestError(
            "List and labels are not equally long",
            where=f"{entry.where} and {labels.where}",
            expected="a row of labels for each picture",
            found=f"{len(paths)} pictures and {len(code_LK)} rows",
            fix="Take both from one place: published repositories hold some files as samples of a few lines.",
        )
    return _listed(entry, paths, lines, columns, code_LK, Rows(labels.where, at, ()), options, unread)


def _matrix(
    labels: Entry, name: ListName, options: Options
) -> tuple[tuple[Column | None, ...], np.ndarray, tuple[int, ...], tuple[str, ...]]:
    """Return the columns of a file of labels, its codes, float64, their lines, and what is not read."""
    text = labels.text()
    lines = tuple(k for k, line in enumerate(text.splitlines(), 1) if line.strip())
    if not lines:
        raise IngestError("The label file has no rows", where=labels.where)
    try:
        code_LK = np.loadtxt(text.splitlines(), ndmin=2, comments=None)
    except ValueError:
        code_LK = None
    if code_LK is not None and len(code_LK) == len(lines) and not np.isinf(code_LK).any():
        return _columns(code_LK.shape[1], labels, name, options), code_LK, lines, ()
    rows, unread = read_rows(text, labels.where), tuple[str, ...]()
    if named := {} if is_numeric(rows.first) else au_columns(rows.first, labels.where):
        unread = unread_columns(rows.first, named.values())
        rows, places = rows.below(), list(named.values())
        columns: tuple[Column | None, ...] = tuple(named)
    else:
        places = list(range(len(rows.first)))
        columns = _columns(len(places), labels, name, options)
    return columns, rows.numbers(places, [str(k + 1) for k in places]), rows.lines, unread


def _columns(count: int, labels: Entry, name: ListName, options: Options) -> tuple[Column | None, ...]:
    """Return the columns of a file without a header."""
    corpus = corpus_of(name, options)
    order = action_units(options.columns) if options.columns else columns_of(corpus, options.codes, count)
    if order is None or len(order) != count:
        raise IngestError(
            "It cannot be told which action units the columns are",
            where=labels.where,
            expected=f"{len(order)} columns, as --columns says" if order else "columns of a known corpus, or a header",
            found=f"{count} columns of {corpus or 'an unnamed corpus'}",
            fix=f"Say the action units of all {count} columns in their order: --columns 1,2,4 …",
        )
    return tuple(None if au is None else (au, "c") for au in order)


def corpus_of(name: ListName, options: Options) -> str | None:
    """Return the corpus of a list, as a person says or its name tells; None where neither does."""
    return name.corpus if options.name is None else known_corpus(options.name) or options.name


def _read_table(entry: Entry, options: Options) -> Listed | None:
    """Read a table with a column of pictures; None where it has none."""
    try:
        text = entry.text()
    except IngestError:
        return None
    if not any(suffix in line.lower() for line in text.splitlines()[:3] for suffix in PICTURE_SUFFIXES):
        return None
    rows = read_rows(text, entry.where)
    bare = any(map(is_picture, rows.first))
    body = rows if bare else rows.below()
    where = [k for k in range(len(rows.first)) if body.cells and all(is_picture(row[k]) for row in body.cells)]
    if len(where) != 1:
        raise IngestError(
            "A table of pictures has no column of them",
            where=entry.where,
            expected="one column in which each cell is the name of a picture",
            found=f"{len(where)} such columns of {preview(rows.first)}",
            fix="Leave the file out with --lists, or mend it.",
        )
    name, unread = name_of_list(entry), tuple[str, ...]()
    if bare:
        places = [k for k in range(len(rows.first)) if k not in where]
        columns: tuple[Column | None, ...] = _columns(len(places), entry, name, options)
    else:
        named = au_columns(rows.first, entry.where, where)
        if not named:
            raise IngestError(
                "The header of a list names no action units",
                where=entry.where,
                expected="a column of pictures, then AU1, AU2 …",
                found=preview(rows.first),
            )
        unread = unread_columns(rows.first, [*where, *named.values()])
        if options.columns and set(action_units(options.columns)) != {au for au, _ in named}:
            raise IngestError(
                "The columns of a list have other names than was said",
                where=entry.where,
                expected=f"{options.columns}, as --columns says",
                found=preview(rows.first),
                fix="Leave --columns away; --aus says which action units are taken.",
            )
        columns, places = tuple(named), list(named.values())
    code_LK = body.numbers(places, [rows.first[k] for k in places])
    paths = [_path(row[where[0]]) for row in body.cells]
    return _listed(entry, paths, body.lines, columns, code_LK, body, options, unread)


def _read_json(entry: Entry, options: Options) -> Listed | None:
    """Read FMAE's list: an object a line, with a picture and the action units that occur in it; None for others.

    An action unit that does not occur is left out, or has 999 in its place.
    """
    samples = list(_samples(entry))
    if not samples or not isinstance(samples[0][1], dict) or _keys(samples[0][1]) is None:
        return None
    name = name_of_list(entry)
    occurring: list[list[int]] = []
    paths, lines = [], []
    for line, sample in samples:
        keys = _keys(sample) if isinstance(sample, dict) else None
        if keys is None:
            raise _strange(entry, line, "an object with a picture and AUs", sample)
        aus = sample[keys[1]]
        if not isinstance(aus, list) or not all(isinstance(au, int) and not isinstance(au, bool) for au in aus):
            raise _strange(entry, line, "AUs: a list of action units", aus)
        paths.append(_path(sample[keys[0]]))
        lines.append(line)
        occurring.append(aus)
    order = _coded(entry, name, max((len(aus) for aus in occurring if ABSENT in aus), default=0), options)
    code_LK = np.zeros((len(paths), len(order)))
    for row, aus in enumerate(occurring):
        placed = ABSENT in aus
        right = [
            au
            for k, au in enumerate(aus)
            if au != ABSENT and (k < len(order) and au == order[k] if placed else au in order)
        ]
        there = [au for au in aus if au != ABSENT]
        if right != there or len(set(there)) < len(there) or (placed and len(aus) != len(order)):
            raise _strange(
                entry, lines[row], f"of {', '.join(map(str, order))}, each once, and 999 in its place or nowhere", aus
            )
        code_LK[row, [order.index(au) for au in there]] = 1
    columns = tuple((au, "c") for au in order)
    return _listed(entry, paths, lines, columns, code_LK, Rows(entry.where, tuple(lines), ()), Options(), ())


def _coded(entry: Entry, name: ListName, count: int, options: Options) -> tuple[int, ...]:
    """Return the action units that a JSON list codes; `count` places are filled up with 999, if any are."""
    if options.columns:
        orders: tuple[tuple[int, ...], ...] = (action_units(options.columns),)
    else:
        orders = orders_of(corpus_of(name, options), "occurrence")
    fitting = [order for order in orders if count in (0, len(order))]
    if len(fitting) != 1:
        raise IngestError(
            "It cannot be told which action units are coded: those that are not listed do not occur, or are not coded",
            where=entry.where,
            expected=f"{len(orders[0])} places, as --columns says"
            if options.columns
            else "one order of a known corpus",
            found=f"{count} places" if count else f"{len(fitting)} orders",
            fix="Say all action units that are coded, in order: --columns 1,2,4 …",
        )
    return fitting[0]


def _samples(entry: Entry) -> Iterator[tuple[int, Any]]:
    """Yield line and content of each sample; nothing from what is no JSON of samples."""
    try:
        text = entry.text()
        if text.lstrip().startswith("["):
            yield from ((1, sample) for sample in json.loads(text))
            return
    except (IngestError, json.JSONDecodeError):
        return
    lines = [(k, line) for k, line in enumerate(text.splitlines(), 1) if line.strip()]
    for k, line in lines:
        try:
            sample = json.loads(line)
        except json.JSONDecodeError as error:
            if k == lines[0][0]:
                return
            raise _strange(entry, k, "an object a line", line[:60]) from error
        yield k, sample


def _keys(sample: dict[str, Any]) -> tuple[str, str] | None:
    """Return what a sample calls its picture and its action units."""
    pictures = [key for key, value in sample.items() if isinstance(value, str) and is_picture(value)]
    units = [key for key in sample if key.lower() in ("aus", "au", "au_labels")]
    return (pictures[0], units[0]) if len(pictures) == 1 and len(units) == 1 else None


def _strange(entry: Entry, line: int, expected: str, found: object) -> IngestError:
    return IngestError(
        "A sample of the list is something else", where=f"{entry.where}, line {line}", expected=expected, found=found
    )


def _listed(
    entry: Entry,
    paths: Sequence[str],
    lines: Sequence[int],
    columns: tuple[Column | None, ...],
    code_LK: np.ndarray,
    rows: Rows,
    options: Options,
    unread: tuple[str, ...],
) -> Listed:
    """Return a list whose codes were checked; columns of one side of the face are left out."""
    if not len(paths):
        raise IngestError("A list of pictures is empty", where=entry.where)
    places = [k for k, column in enumerate(columns) if column is not None]
    kept = [column for column in columns if column is not None]
    if options.codes != "occurrence":
        # Where a unit has a column of each kind, the one that is named for it holds the intensity.
        kept = [key if key[1] == "c" and (key[0], "r") in kept else (key[0], "r") for key in kept]
    sided = len(columns) - len(kept)
    unread += (f"{sided} columns of one side of the face (L1, R1 …) are not read",) if sided else ()
    code_LK = np.where(np.isin(code_LK, MISSING), np.nan, code_LK)[:, places]
    for k, (au, kind) in enumerate(kept):
        code_L = code_LK[:, k]
        right_L = np.isin(code_L, (0, 1)) if kind == "c" else (code_L >= 0) & (code_L <= 5)
        if len(strange := np.flatnonzero(~np.isnan(code_L) & ~right_L)):
            raise IngestError(
                "A label is no occurrence" if kind == "c" else "A label is no intensity",
                where=f"{rows.where}, line {rows.lines[strange[0]]}, AU{au:02d}",
                expected="0, 1, or 9, -1 or 999 for unknown" if kind == "c" else "0 to 5, or 9, -1 or 999 for unknown",
                found=f"{code_L[strange[0]]:g}",
                fix="Where columns hold intensities, say so: --codes intensity." if kind == "c" else None,
            )
    return Listed(
        entry, name_of_list(entry), tuple(paths), tuple(lines), tuple(kept), code_LK.astype(np.float32), unread
    )


def is_picture(cell: str) -> bool:
    """Return whether a cell is the name of a picture."""
    return PurePosixPath(_path(cell)).suffix.lower() in PICTURE_SUFFIXES


def _path(cell: str) -> str:
    return cell.strip().replace("\\", "/").removeprefix("./")
