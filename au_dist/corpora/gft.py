"""GFT, and any corpus whose labels are tables: a file says where things are and what columns mean.

The layout of GFT's own archive could not be verified, so the shipped preset is a guess that says so.
"""

import csv
import math
import re
from collections import defaultdict

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.corpora.folder import VIDEO_SUFFIXES
from au_dist.corpora.label_files import UNKNOWN, LabelTable
from au_dist.corpora.layout import read_layout
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Film, Folders, Found, Pictures, Sequence, no_labels, nothing_found
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.video import PICTURE_SUFFIXES

AUS = (1, 2, 4, 6, 10, 12, 14, 15, 23, 24)


def find(tree: Tree, options: Options) -> Found:
    """Find recordings and tables as a layout says.

    Raises:
        RecipeError: The layout cannot be read.
        IngestError: Nothing matches it.
    """
    layout = options.layout or read_layout(None)
    tables = {match["name"].lower(): entry for match, entry in tree.matching(layout.tables, ".csv", ".txt", ".tsv")}
    films: dict[str, Entry] = {}
    folders = Folders()
    names: dict[str, tuple[str, str]] = {}
    for pattern in layout.recordings:
        for match, entry in tree.matching(pattern, *VIDEO_SUFFIXES, *PICTURE_SUFFIXES):
            name = match["name"]
            if entry.suffix in VIDEO_SUFFIXES:
                films[name.lower()] = entry
            elif entry.stem.lower() == name.lower():
                continue  # a picture of a recording, not one of its frames
            else:
                folders.add((name.lower(),), entry)
            names[name.lower()] = (match.groupdict().get("subject") or name, name)
    pictures = {name: entries for (name,), entries in folders.chosen().items()}
    if not names:
        raise nothing_found(layout.corpus, tree, [f"recordings that end as {p}" for p in layout.recordings])
    if not tables:
        raise no_labels(layout.corpus, tree, len(names), [f"tables that end as {layout.tables}"])
    sequences, partitions = [], defaultdict(set)
    for key in sorted(names.keys() & tables.keys() & (films.keys() | pictures.keys()), key=lambda key: names[key]):
        who, name = names[key]
        subject = f"{layout.corpus}/{who}"
        source = Film(films[key], layout.first_frame) if key in films else Pictures(pictures[key], layout.fps)
        sequences.append(Sequence(layout.corpus, subject, name, source, {"table": tables[key]}, whole=True))
        for part, pattern in layout.partitions.items():
            if re.fullmatch(pattern, name, re.IGNORECASE):
                partitions[part].add(subject)
    notes = folders.notes()
    if not layout.verified:
        notes.append(
            f"The preset for {layout.corpus} was written without the data (unverified): compare the label rates, or "
            "give your own with --layout."
        )
    if unlabelled := names.keys() - tables.keys():
        notes.append(f"{len(unlabelled)} recordings have no table ({', '.join(sorted(unlabelled)[:4])}).")
    parts = {name: sorted(who) for name, who in partitions.items()}
    return Found(layout.corpus, tuple(sequences), dict(tree.unreadable), tuple(notes), parts)


def read_labels(sequence: Sequence, options: Options) -> LabelTable:
    """Read the table of a recording.

    Raises:
        IngestError: It lacks columns, or a cell is no number.
    """
    layout = options.layout or read_layout(None)
    (entry,) = sequence.labels.values()
    lines = entry.text().splitlines()
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    header, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter) if any(row)] or [
        []
    ]
    aus = {k: int(match[1]) for k, cell in enumerate(header) if (match := re.fullmatch(layout.au_column, cell, re.I))}
    if not aus or not rows or (layout.frame_column is not None and layout.frame_column not in header):
        raise IngestError(
            "The table is not laid out as the layout says",
            where=entry.where,
            expected=f"rows below a header with columns like {layout.au_column}"
            + (f" and a column {layout.frame_column}" if layout.frame_column else ""),
            found=", ".join(header[:8]) or "an empty file",
        )
    at = None if layout.frame_column is None else header.index(layout.frame_column)
    number_L = np.arange(len(rows), dtype=np.int64) + layout.first_frame
    code_LA, level_LA = (np.full((len(rows), len(aus)), UNKNOWN, np.int8) for _ in range(2))
    for index, row in enumerate(rows):
        try:
            if at is not None:
                number_L[index] = int(float(row[at]))
            for column, k in enumerate(aus):
                value = float(row[k]) if row[k] else math.nan
                if not math.isnan(value) and value not in layout.missing:
                    code_LA[index, column] = value >= layout.threshold
                    level_LA[index, column] = int(value) if 0 <= value <= 5 else UNKNOWN
        except (ValueError, IndexError, OverflowError) as error:
            raise IngestError(
                "A row of the table is not what it should be", where=f"{entry.where}, row {index + 1}", found=error
            ) from error
    if np.any(np.diff(number_L) <= 0):
        raise IngestError("The frames of the table do not follow each other", where=entry.where)
    occurrence, levels = ({au: x_LA[:, k] for k, au in enumerate(aus.values())} for x_LA in (code_LA, level_LA))
    return LabelTable(number_L, occurrence, levels if layout.threshold > 1 else {})
