"""GFT, and any corpus whose labels are tables: a file says where things are and what columns mean.

The layout of GFT's own archive could not be verified, so the shipped preset is a guess that says so.
"""

import re
from collections import defaultdict

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.copies import one_each, two_of
from au_dist.corpora.folder import VIDEO_SUFFIXES
from au_dist.corpora.label_files import (
    LabelTable,
    as_intensity,
    as_occurrence,
    au_columns,
    beyond_scale,
    in_order,
    occurrence_from,
    unread_columns,
)
from au_dist.corpora.layout import read_layout
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Film, Folders, Found, Pictures, Sequence, no_labels, nothing_found
from au_dist.corpora.rows import is_numeric, preview, read_rows
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES

AUS = (1, 2, 4, 6, 10, 12, 14, 15, 23, 24)

#: What to do about two recordings of one name.
NAME_THEM = "Have `name` hold the subject too, in both patterns: (?P<name>(?P<subject>s\\d+)_\\w+)."


def find(tree: Tree, options: Options) -> Found:
    """Find recordings and tables as a layout says.

    Raises:
        RecipeError: The layout cannot be read.
        IngestError: Nothing matches it.
    """
    layout = options.layout or read_layout(None)
    notes: list[str] = []
    tabled = tree.matching(layout.tables, ".csv", ".txt", ".tsv")
    tables = one_each(((match["name"].lower(), entry) for match, entry in tabled), "tables", notes, NAME_THEM)
    filmed: list[tuple[str, Entry]] = []
    folders = Folders()
    names: dict[str, tuple[str, str, Entry]] = {}
    for pattern in layout.recordings:
        for match, entry in tree.matching(pattern, *VIDEO_SUFFIXES, *PICTURE_SUFFIXES):
            name, key = match["name"], match["name"].lower()
            who = match.groupdict().get("subject") or name
            if entry.suffix in VIDEO_SUFFIXES:
                filmed.append((key, entry))
            elif entry.stem.lower() == key:
                continue  # a picture of a recording, not one of its frames
            else:
                folders.add((key,), entry)
            known, _, first = names.setdefault(key, (who, name, entry))
            if known.lower() != who.lower():
                raise two_of("recordings", name, first, entry, NAME_THEM)
    films = one_each(filmed, "recordings", notes, NAME_THEM)
    pictures = {name: entries for (name,), entries in folders.chosen(notes).items()}
    if not names:
        raise nothing_found(layout.corpus, tree, [f"recordings that end as {p}" for p in layout.recordings])
    if not tables:
        raise no_labels(layout.corpus, tree, len(names), [f"tables that end as {layout.tables}"])
    sequences, partitions = [], defaultdict(set)
    for key in sorted(names.keys() & tables.keys() & (films.keys() | pictures.keys()), key=lambda key: names[key][:2]):
        who, name, _ = names[key]
        subject = f"{layout.corpus}/{who}"
        source = Film(films[key], layout.first_frame) if key in films else Pictures(pictures[key], layout.fps)
        sequences.append(Sequence(layout.corpus, subject, name, source, {"table": tables[key]}, whole=True))
        for part, pattern in layout.partitions.items():
            if re.fullmatch(pattern, name, re.IGNORECASE):
                partitions[part].add(subject)
    if not layout.verified:
        notes.append(
            f"The preset for {layout.corpus} was written without the data (unverified): compare the label rates, or "
            "give your own with --layout."
        )
    if unlabelled := names.keys() - tables.keys():
        notes.append(f"{len(unlabelled)} recordings have no table ({first_few(sorted(unlabelled))}).")
    if lonely := tables.keys() - names.keys():
        notes.append(f"{len(lonely)} tables have no recording ({first_few(sorted(lonely))}).")
    parts = {name: sorted(who) for name, who in partitions.items()}
    return Found(layout.corpus, tuple(sequences), dict(tree.unreadable), tuple(notes), parts)


def read_labels(sequence: Sequence, options: Options) -> LabelTable:
    """Read the table of a recording.

    Raises:
        IngestError: It lacks columns, or a cell is no number.
    """
    layout = options.layout or read_layout(None)
    (entry,) = sequence.labels.values()
    rows = read_rows(entry.text(), entry.where)
    header, below, frame = rows.first, rows.below(), layout.frame_column
    columns = au_columns(header, entry.where, pattern=layout.au_column)
    if not columns or not below.cells or (frame is not None and header.count(frame) != 1) or is_numeric(header):
        raise IngestError(
            "The table is not laid out as the layout says",
            where=entry.where,
            expected=f"rows below a header with columns like {layout.au_column}"
            + (f" and one column {frame}" if frame else ""),
            found=preview(header) or "an empty file",
        )
    places = list(columns.values())
    whole = [k for (_, kind), k in columns.items() if kind == "c" and layout.threshold is None]
    fix = "Say in the layout from which `threshold` on a unit occurs."
    code_LK = below.numbers(places, [header[k] for k in places], whole, fix)
    code_LK = np.where(np.isin(code_LK, layout.missing), np.nan, code_LK)
    if frame is None:
        number_L = below.order(rows.lines[0]) + layout.first_frame
    else:
        number_L, code_LK = in_order(below, header.index(frame), frame, code_LK)
    known = dict(zip(columns, code_LK.T, strict=True))
    levels = {au: code_L for (au, kind), code_L in known.items() if kind == "r" or (layout.threshold or 0) > 1}
    codes = {au: code_L for (au, kind), code_L in known.items() if kind == "c"}
    occurrence = (
        {au: as_occurrence(code_L) for au, code_L in codes.items()}
        if layout.threshold is None
        else occurrence_from(codes, layout.threshold)
    )
    return LabelTable(
        number_L,
        occurrence,
        {au: as_intensity(level_L) for au, level_L in levels.items()},
        unread_columns(header, [*places, *([] if frame is None else [header.index(frame)])]) + beyond_scale(levels),
    )
