"""How well an epoch is mixed: subjects in a contrast set, and how far clips that lie together come apart.

    python benchmarks/mixing.py
    python benchmarks/mixing.py --picture docs/pictures/data_order.png
    python benchmarks/mixing.py --tiny            the first 10 sets, two sizes of a block

Only the order is computed; nothing is read. Beside it, a full shuffle of all clips.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np

from au_dist.data.order import Order, RowGroupRef

#: Name → subjects, clips of a subject, clips of a row group: as ingested with 16 frames of 112 pixels a clip.
CORPORA = {"DISFA": (27, 302, 20), "BP4D": (41, 220, 20), "1,000 short videos": (1000, 4, 4)}
CONTRAST, LANES, MIXES, SETS = 64, 8, (1, 2, 4, 8, 16, 32), 200


def order_of(subjects: int, clips: int, size: int, mix: int) -> tuple[Order, list[int]]:
    """Return an order over row groups, and the subject of each."""
    groups: list[RowGroupRef] = []
    who = []
    for subject in range(subjects):
        for start in range(0, clips, size):
            groups.append(RowGroupRef(0, len(groups), min(size, clips - start)))
            who.append(subject)
    return Order(tuple(groups), seed=0, lanes=LANES, shuffle_row_groups=mix), who


def dealt(order: Order, count: int) -> list[list[tuple[int, int]]]:
    """Return the first contrast sets: row group and row of each clip."""
    take = CONTRAST // LANES
    streams = []
    for lane in range(LANES):
        rows: list[tuple[int, int]] = []
        for block in order.stream((lane,), 0, count * take):
            line = [(row_slice.group.group, int(row)) for row_slice in order.slices(block) for row in row_slice.rows()]
            rows += [line[k] for k in order.permutation(block)]
        streams.append(rows)
    return [[row for rows in streams for row in rows[k * take : (k + 1) * take]] for k in range(count)]


def quality(sets: list[list[tuple[int, int]]], who: list[int]) -> tuple[float, float, float]:
    """Return subjects of a set, the largest share of one in it, and the share of pairs that are of one row group."""
    subjects = [len({who[group] for group, _ in rows}) for rows in sets]
    largest = [max(np.bincount([who[group] for group, _ in rows])) / len(rows) for rows in sets]
    together = []
    for rows in sets:
        groups = np.bincount([group for group, _ in rows])
        together.append(float((groups * (groups - 1)).sum()) / (len(rows) * (len(rows) - 1)))
    return statistics.mean(subjects), statistics.mean(largest), statistics.mean(together)


def draw(path: Path) -> None:
    """Draw how a small epoch is dealt: as stored, as laid into lanes, as mixed."""
    import matplotlib.pyplot as plt

    subjects, clips, size, lanes, mix, take = 12, 24, 8, 4, 3, 4
    groups = tuple(RowGroupRef(0, k, size) for k in range(subjects * clips // size))
    order = Order(groups, seed=0, lanes=lanes, shuffle_row_groups=mix)
    stored = [group.group * size // clips for group in groups for _ in range(group.clips)]
    laid, mixed, borders = [], [], []
    for lane in range(lanes):
        blocks = order.blocks(lane, 0)
        lines = [
            [row_slice.group.group * size // clips for row_slice in order.slices(block) for _ in row_slice.rows()]
            for block in blocks
        ]
        laid.append([who for line in lines for who in line])
        mixed.append([line[k] for block, line in zip(blocks, lines, strict=True) for k in order.permutation(block)])
        borders.append(np.cumsum([len(line) for line in lines])[:-1])
    figure, axes = plt.subplots(3, 1, figsize=(11, 5.2), height_ratios=(1, 4, 4), layout="constrained")
    colours = plt.get_cmap("tab20", subjects)
    for axis, rows in zip(axes, ([stored], laid, mixed), strict=True):
        axis.pcolormesh(np.array(rows), cmap=colours, edgecolors="white", linewidth=0.3)
        axis.set_yticks(np.arange(len(rows)) + 0.5, [f"lane {k}" for k in range(len(rows))] if len(rows) > 1 else [""])
        axis.invert_yaxis()
        axis.tick_params(length=0)
        for side in axis.spines.values():
            side.set_visible(False)
    for axis in axes[1:]:
        for lane, places in enumerate(borders):
            axis.vlines(places, lane, lane + 1, color="black", linewidth=2)
    axes[2].vlines(np.arange(take, len(mixed[0]), take), 0, lanes, color="black", linewidth=0.8, linestyle=":")
    axes[0].set_title("as stored: row groups of one subject (a colour)", loc="left", fontsize=10)
    axes[1].set_title(
        "an epoch: row groups permuted, cut into lanes; thick lines part the blocks", loc="left", fontsize=10
    )
    axes[2].set_title("blocks shuffled; a contrast set is a column between dotted lines", loc="left", fontsize=10)
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="draw a small epoch instead")
    parser.add_argument("--tiny", action="store_true", help="the first 10 sets, two sizes of a block")
    arguments = parser.parse_args(argv)
    if arguments.picture:
        return draw(arguments.picture)
    mixes, count = ((1, 8), 10) if arguments.tiny else (MIXES, SETS)
    print(
        "| corpus | data.shuffle_row_groups | subjects in a set of 64 | largest share of one | pairs of one row group |"
    )
    print("|---|---|---|---|---|")
    for name, (subjects, clips, size) in CORPORA.items():
        for mix in mixes:
            order, who = order_of(subjects, clips, size, mix)
            found = quality(dealt(order, count), who)
            print(f"| {name} | {mix} | {found[0]:.1f} | {found[1]:.0%} | {found[2]:.1%} |")
        order, who = order_of(subjects, clips, size, 1)
        every = [(group.group, row) for group in order.groups for row in range(group.clips)]
        shuffled = np.random.default_rng(0).permutation(len(every))
        sets = [
            [every[k] for k in shuffled[start : start + CONTRAST]]
            for start in range(0, len(every) - CONTRAST, CONTRAST)
        ]
        found = quality(sets, who)
        print(f"| {name} | full shuffle | {found[0]:.1f} | {found[1]:.0%} | {found[2]:.1%} |")


if __name__ == "__main__":
    main()
