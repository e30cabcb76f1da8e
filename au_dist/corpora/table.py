"""A person's own coded data: one table, or a folder of tables, that name pictures or videos, people and action units.

What the columns mean is told by their names (`au_dist.corpora.columns`); what was understood is said before the work.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Literal, cast

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.counting import beyond, counted
from au_dist.corpora.files_below import FilesBelow
from au_dist.corpora.folder import VIDEO_SUFFIXES, video_names
from au_dist.corpora.label_files import LabelTable, in_order
from au_dist.corpora.options import Options
from au_dist.corpora.own_codes import known_of
from au_dist.corpora.own_recordings import OwnRecording, Who
from au_dist.corpora.own_tables import OwnTable, read_own
from au_dist.corpora.recordings import Film, Found, Pictures, Sequence
from au_dist.corpora.table_files import TABLES
from au_dist.corpora.timed import Intervals, Moments
from au_dist.corpora.timelines import is_table
from au_dist.corpora.tree import Entry, Tree, look
from au_dist.corpora.understood import understood

#: How files begin that lie beside tables, and are none.
NO_TABLES = ("readme", "licen", "changelog", "citation")

#: Frames per second of pictures.
FPS = 30.0


def find(tree: Tree, options: Options) -> Found:
    """Find the recordings that tables name, with their labels.

    Args:
        tree: A table, or a folder of tables.
        options: `root` says where the recordings are; beside the tables when None.

    Raises:
        IngestError: A table cannot be understood, or does not fit the files.
    """
    there = [entry for entry in tree.entries if entry.suffix in TABLES and not entry.stem.startswith("~$")]
    entries = [entry for entry in there if not entry.stem.lower().startswith(NO_TABLES)]
    if not entries:
        raise IngestError(
            "There is no table here",
            where=tree.root,
            expected=f"a file such as labels.csv ({', '.join(sorted(TABLES))}), or a folder of them",
            found=tree.summary(),
        )
    beside = tree if tree.root.is_dir() else look(tree.root.parent)
    files = FilesBelow(look(options.root) if options.root else beside)
    tables = [read_own(entry, files, options.occurs_from) for entry in entries]
    if not any(table.coded for table in tables):
        raise IngestError(
            "No cell of the action units holds a code",
            where=tree.root,
            expected="0 or 1, or an intensity, in some rows",
            found="empty cells alone",
            fix="Where they hold formulas, save the table with their values.",
        )
    recordings = _recordings(tables, options)
    counting = counted(recordings.values(), options)
    names = _names(recordings)
    coded = tuple(sorted({span.au for table in tables for span in table.all_spans}))
    sequences = []
    for who in sorted(recordings):
        source, labels = _labelled(recordings[who], names[who], counting.first, coded, options)
        subject = f"{who.corpus}/{who.subject}"
        sequences.append(Sequence(who.corpus, subject, names[who], source, table=labels, side=who.side))
    notes = [note for table in tables for note in table.notes]
    if scored := [entry.name for entry in entries if entry.member is None and is_table(entry.path)]:
        notes.append(f"Tables that predict wrote: their codes are a model's, and no person's: {first_few(scored)}.")
    if late := list(beyond(recordings, counting.first)):
        notes.append(f"Labels go on after the end that videos promise; are they of these videos? {first_few(late)}.")
    if left := [entry.name for entry in there if entry not in entries]:
        notes.append(f"Not read as tables, for their names are those of texts for people: {first_few(left)}.")
    if by_row := [f"{who.subject}/{names[who]}" for who in sorted(recordings) if recordings[who].in_row_order]:
        notes.append(f"Pictures without numbers of their own are frames in the order of the rows: {first_few(by_row)}.")
    corpora = {who.corpus for who in recordings}
    return Found(
        corpora.pop() if len(corpora) == 1 else options.name or "table",
        tuple(sequences),
        dict(tree.unreadable),
        tuple(notes),
        _partitions(recordings),
        aus=tuple(sorted({au for table in tables for au, _ in table.columns.aus} | set(coded))),
        understood=understood(tables, sequences, counting, options),
    )


def _recordings(tables: list[OwnTable], options: Options) -> dict[Who, OwnRecording]:
    """Return whose recording → its table and rows.

    Raises:
        IngestError: A row does not say who is seen, two tables are of one recording, or two people are in one video and
            nothing tells them apart.
    """
    found: dict[Who, OwnRecording] = {}
    shown: dict[Entry, tuple[Who, str]] = {}
    for table in tables:
        for row, file in table.files.items():
            who = _who(table, row, file, options)
            first, place = shown.setdefault(file, (who, table.place(row)))
            other = (first.corpus, first.subject) != (who.corpus, who.subject)
            if other and {first.side, who.side} != {"left", "right"} and file.suffix not in VIDEO_SUFFIXES:
                raise IngestError(
                    "A picture shows two people, and the table does not say who is where",
                    where=f"{place} and {table.place(row)}",
                    expected="one person, or a column `side` with left and right",
                    found=f"{file.name}: {first.corpus}/{first.subject} and {who.corpus}/{who.subject}",
                    fix="Nobody may be in training and in test at once: name the one who is seen.",
                )
            known = found.setdefault(who, OwnRecording(table, []))
            if known.table is not table:
                raise IngestError(
                    "Two tables are of one recording",
                    where=f"{known.table.entry.where} and {table.entry.where}",
                    found=f"{who.subject}, {who.place}",
                    fix="Put them into one table, or remove one.",
                )
            known.numbers.append(row)
    named = {who for who, recording in found.items() if "subject" in recording.table.columns.roles}
    for corpus in {who.corpus for who in named}:
        _check_spelling({who.subject for who in named if who.corpus == corpus})
    seen: dict[str, list[Who]] = defaultdict(list)
    for who, recording in found.items():
        others = seen[who.place] if recording.filmed else []
        sides = {other.side for other in others} | {who.side}
        if others and ("any" in sides or len(sides) <= len(others)):
            raise IngestError(
                "A video shows two people, and the table does not say who is where",
                where=recording.table.place(recording.numbers[0]),
                expected="a column `side` with left or right in every row of this video",
                found=f"{who.place}: {others[0].subject} and {who.subject}",
            )
        others.append(who)
    return found


def _check_spelling(subjects: Iterable[str]) -> None:
    """Refuse two spellings of what may be one person, who would be in training and in test at once.

    They may differ in capitals, blanks and their like, and in zeros before a number or after its point.
    """
    spelt: dict[str, str] = {}
    for subject in sorted(subjects):
        plain = re.sub(r"\.0$", "", unicodedata.normalize("NFKC", subject).casefold())
        # Between digits a mark parts two numbers: 1-11 is not 11-1; before all, it is a sign.
        plain = re.sub(r"(?<=\d)[\s_.-]+(?=\d)", "-", plain)
        plain = re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_.]|(?<=[^\d])-|(?<=\d)-(?!\d)", "", plain))
        other = spelt.setdefault(plain, subject)
        if other != subject:
            raise IngestError(
                "Two subjects differ in their spelling alone",
                where="column subject",
                expected="one spelling for each person",
                found=f"{other} and {subject}",
                fix="Write them alike where they are one person, and more unlike where they are two.",
            )


def _who(table: OwnTable, row: int, file: Entry, options: Options) -> Who:
    folder = file.name.rpartition("/")[0]
    filmed = file.suffix in VIDEO_SUFFIXES
    place = file.name if filmed else "/".join(filter(None, (folder, table.cell(row, "video"))))
    if "subject" in table.columns.roles:
        subject = table.cell(row, "subject")
    elif options.subjects == "file":
        subject = str(PurePosixPath(place).with_suffix("")) if filmed else place
    else:
        subject = file.parts[0] if options.subjects == "folder" and len(file.parts) > 1 else ""
    if not subject:
        raise IngestError(
            "The table does not say who is seen",
            where=table.place(row),
            expected="a column `subject`; nobody may be in training and in test at once",
            found="an empty cell" if "subject" in table.columns.roles else f"columns {first_few(table.columns.header)}",
            fix="Add it; or --subjects file (a person a video or folder of pictures), or folder (a first folder).",
        )
    side = table.cell(row, "side").lower() or "any"
    if side not in ("any", "left", "right"):
        expected = "left, right, or an empty cell"
        raise table.below.error("There is no such side", row, table.columns.name("side"), expected, side)
    corpus = re.sub(r"[^a-z0-9+_-]+", "-", table.cell(row, "corpus").lower()) or options.name or "table"
    return Who(corpus, subject.replace("/", "-"), place, cast(Literal["any", "left", "right"], side))


def _names(recordings: Mapping[Who, OwnRecording]) -> dict[Who, str]:
    """Return a name for each recording, unique among all: as little of its path as tells them apart, and the side."""
    short = video_names(sorted({recording.entry for recording in recordings.values() if recording.filmed}))
    names = {who: short.get(recording.entry) or who.place or "pictures" for who, recording in recordings.items()}
    taken = set(short.values())
    names |= {who: f"{name} (pictures)" for who, name in names.items() if name in taken and not recordings[who].filmed}
    return {who: name if who.side == "any" else f"{name}_{who.side}" for who, name in names.items()}


def _partitions(recordings: Mapping[Who, OwnRecording]) -> dict[str, list[str]]:
    """Return part of a split → its subjects.

    Raises:
        IngestError: Somebody is in two parts.
    """
    part_of: dict[str, str] = {}
    for who, recording in recordings.items():
        for row in recording.numbers:
            part, subject = recording.table.cell(row, "split"), f"{who.corpus}/{who.subject}"
            if part_of.setdefault(subject, part) != part:
                raise IngestError(
                    "A person is in two parts of the split",
                    where=recording.table.place(row),
                    expected="every subject in one part: who trains must not test",
                    found=f"{who.subject} in {part_of[subject] or 'none'} and in {part or 'none'}",
                    fix="Split by person, or remove the column: the protocol of a recipe deals people into parts.",
                )
    parts = sorted(set(part_of.values()) - {""})
    return {part: sorted(subject for subject, of in part_of.items() if of == part) for part in parts}


def _labelled(
    recording: OwnRecording, name: str, first: int, coded: tuple[int, ...], options: Options
) -> tuple[Film | Pictures, LabelTable | Moments | Intervals]:
    """Return where the frames of a recording are, and what is known of them."""
    table, rows, entry = recording.table, recording.rows, recording.entry
    columns = table.columns
    if table.codes is None:
        if not recording.filmed:
            raise IngestError("Intervals are of videos, not of pictures", where=rows.where, found=entry.name)
        spans = tuple(span for row in recording.numbers for span in table.spans.get(row, ()))
        return Film(entry, first), Intervals(spans, coded)
    code_LK = table.codes.code_RK[recording.numbers]
    if not recording.filmed:
        numbered, code_LK = _numbered(recording, code_LK)
        number_L = np.array([number for number, _ in numbered], np.int64)
        return Pictures(numbered, FPS), LabelTable(number_L, *known_of(table.codes, code_LK, options.occurs_from))
    if "frame" in columns.roles:
        number_L, code_LK = in_order(rows, columns.roles["frame"], columns.name("frame"), code_LK)
        return Film(entry, first), LabelTable(number_L, *known_of(table.codes, code_LK, options.occurs_from))
    if "time" not in columns.roles:
        raise rows.error("A row does not say of which frame it is", 0, name, "a column `frame` or `time`", entry.name)
    return Film(entry, first), Moments(recording.times(), *known_of(table.codes, code_LK, options.occurs_from))


def _numbered(recording: OwnRecording, code_LK: np.ndarray) -> tuple[tuple[tuple[int, Entry], ...], np.ndarray]:
    """Return pictures by their number, and the codes in that order."""
    columns, rows, pictures = recording.table.columns, recording.rows, recording.pictures
    if twice := [entry for entry, times in Counter(pictures).items() if times > 1]:
        lines = [str(line) for line, picture in zip(rows.lines, pictures, strict=True) if picture == twice[0]]
        raise IngestError(
            "A picture is labelled twice",
            where=f"{rows.where}, lines {' and '.join(lines[:2])}",
            found=twice[0].name,
            fix="Remove all of its rows but one.",
        )
    if "frame" in columns.roles:
        with_place_LK = np.column_stack([np.arange(len(pictures)), code_LK])
        number_L, with_place_LK = in_order(rows, columns.roles["frame"], columns.name("frame"), with_place_LK)
        order_L = with_place_LK[:, 0].astype(int)
    else:
        number_L = np.array(recording.ends or range(1, len(pictures) + 1), np.int64)
        order_L = np.argsort(number_L)
        number_L = number_L[order_L]
    return tuple((int(number), pictures[at]) for number, at in zip(number_L, order_L, strict=True)), code_LK[order_L]
