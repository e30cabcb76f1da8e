"""What was understood of own tables, said before the work begins."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from au_dist.core.schema import au_name, au_names
from au_dist.corpora.counting import Counting
from au_dist.corpora.label_files import UNKNOWN, LabelTable
from au_dist.corpora.options import Options
from au_dist.corpora.own_tables import OwnTable
from au_dist.corpora.recordings import Film, Pictures
from au_dist.corpora.recordings import Sequence as Recording
from au_dist.corpora.timed import Moments


def understood(
    tables: list[OwnTable], sequences: Sequence[Recording], counting: Counting, options: Options
) -> tuple[tuple[str, str], ...]:
    """Return what was understood, a row each of what and how."""
    roles = dict.fromkeys((table.columns.name(role), role) for table in tables for role in table.columns.roles)
    unsaid = any("subject" not in table.columns.roles for table in tables)
    people = {sequence.subject for sequence in sequences}
    films = [sequence for sequence in sequences if isinstance(sequence.source, Film)]
    pictures = [sequence.source for sequence in sequences if isinstance(sequence.source, Pictures)]
    rows = [
        ("tables", f"{len(tables)}, of {sum(len(table.below.cells) for table in tables)} rows"),
        ("columns", ", ".join(f"{name} ({role})" for name, role in roles)),
        ("not used", ", ".join(dict.fromkeys(name for table in tables for name in table.columns.unused)) or "nothing"),
        ("people", f"{len(people)}" + (f", as --subjects {options.subjects} says" if unsaid else "")),
    ]
    if films:
        rows.append(("videos", f"{len(films)}"))
        how = f"counted from {counting.first}: {counting.why}" if counting.why else "by their times in seconds"
        rows.append(("frames", how))
    if pictures:
        fps = pictures[0].fps
        shown = sum(len(source.numbered) for source in pictures)
        rows.append(("pictures", f"{shown} in {len(pictures)} sequences, taken as {fps:g} a second"))
    return (*rows, *rates(sequences), *_units(tables, options))


def rates(sequences: Sequence[Recording]) -> list[tuple[str, str]]:
    """Return how often each action unit occurs, a row each: what shows columns that were taken for each other."""
    rows = []
    codes: dict[int, list[np.ndarray]] = defaultdict(list)
    for sequence in sequences:
        if isinstance(sequence.table, LabelTable | Moments):
            for au, code_L in sequence.table.occurrence.items():
                codes[au].append(code_L)
    for au, columns in sorted(codes.items()):
        code_N = np.concatenate(columns)
        known_N = code_N != UNKNOWN
        share = f"{(code_N[known_N] == 1).mean():.1%} of {known_N.sum()} labels" if known_N.any() else "unknown"
        rows.append((au_name(au), f"occurs in {share}"))
    return rows


def _units(tables: list[OwnTable], options: Options) -> list[tuple[str, str]]:
    rows = []
    seconds: dict[int, float] = defaultdict(float)
    for table in tables:
        for span in table.all_spans:
            seconds[span.au] += span.offset - span.onset
    for au, length in sorted(seconds.items()):
        rows.append((au_name(au), f"{length:.1f} s in intervals, and not elsewhere in these videos"))
    if levels := sorted({au for table in tables for au, kind in table.columns.aus if kind == "r"}):
        alone = "" if options.occurs_from is not None else "; --occurs-from says from which one a unit occurs"
        rows.append(("intensities", ", ".join(au_names(levels)) + alone))
    return rows
