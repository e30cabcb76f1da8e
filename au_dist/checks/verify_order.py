"""Prove from a run's ledger that every epoch saw each clip as often as it should, and that two runs saw the same."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from au_dist.core.errors import TrainError
from au_dist.recipes.files import stored_recipe
from au_dist.runs.claims import RECIPE
from au_dist.runs.context import Context, make_context
from au_dist.shards.format import read_row_group
from au_dist.storage.store import Store
from au_dist.train.ledger import FOLDER, read_ledger


@dataclass(frozen=True)
class Proof:
    """What a ledger shows.

    Attributes:
        sets: Contrast sets, from the first.
        clips: Clips of each.
        epochs: Epochs that were seen completely.
        epoch_clips: Draws of an epoch.
        faults: What should not be, a sentence each.
    """

    sets: int
    clips: int
    epochs: int
    epoch_clips: int
    faults: list[str]


def verify(run: Store, other: Store | None = None) -> Proof:
    """Check a run's ledger, and compare it with another's.

    How often an epoch should draw a clip comes from the run's recipe and manifest; which clips there are, from the
    shards. The order itself is not computed again.

    Args:
        run: A run whose recipe has ``checkpoint.ledger``.
        other: Another, which should have seen the same.

    Raises:
        TrainError: There is no run or no ledger.
        AuDistError: The recipe's shards are not there.
    """
    if not run.exists(RECIPE):
        raise TrainError("This is no run", where=run.uri, expected=f"a file {RECIPE}")
    context = make_context(stored_recipe(run.read(RECIPE)))
    seen = _sets(run)
    plan = context.plan(1)
    faults = _gaps(seen, plan.contrast)
    wanted = _wanted(context)
    per_epoch: dict[int, Counter[str]] = {}
    for rows in seen.values():
        for epoch, clip in rows:
            per_epoch.setdefault(epoch, Counter())[clip] += 1
    complete = 0
    for epoch in sorted(per_epoch):
        drawn, should = per_epoch[epoch], wanted(epoch)
        if drawn == should:
            complete += 1
        elif epoch < max(per_epoch) or drawn - should:
            faults.append(_difference(epoch, drawn, should))
    if other is not None:
        faults += _compared(seen, _sets(other))
    return Proof(len(seen), plan.contrast, complete, plan.epoch_clips, faults)


def _sets(run: Store) -> dict[int, list[tuple[int, str]]]:
    """Return contrast set → epoch and clip of each of its places."""
    table = read_ledger(run)
    if not table.num_rows:
        raise TrainError(
            "The run has no ledger",
            where=run.uri,
            expected=f"files below {FOLDER}/",
            fix="Train with checkpoint.ledger=true; the ledger is written with each checkpoint.",
        )
    columns = (table[name].to_pylist() for name in ("set", "epoch", "clip"))
    sets: dict[int, list[tuple[int, str]]] = {}
    for number, epoch, clip in zip(*columns, strict=True):
        sets.setdefault(number, []).append((epoch, clip))
    return sets


def _gaps(seen: dict[int, list[tuple[int, str]]], clips: int) -> list[str]:
    faults = []
    missing = sorted(set(range(max(seen) + 1)) - set(seen))
    if missing:
        faults.append(f"{len(missing)} contrast sets are not in the ledger, the first is {missing[0]}.")
    wrong = [number for number, rows in seen.items() if len(rows) != clips]
    if wrong:
        faults.append(
            f"Contrast set {min(wrong)} has {len(seen[min(wrong)])} clips, not {clips} ({len(wrong)} such sets)."
        )
    return faults


def _wanted(context: Context) -> Callable[[int], Counter[str]]:
    """Return a function from an epoch to how often it should draw each clip."""
    order = context.order()
    names: list[str] = []
    for group in order.groups:
        shard = context.manifest.shards[group.shard]
        names += read_row_group(context.store, shard, group.group, ["clip_id"])["clip_id"].to_pylist()

    def wanted(epoch: int) -> Counter[str]:
        copies = np.ones(len(names), int) if order.weights is None else order.copies(epoch)
        return Counter({name: int(count) for name, count in zip(names, copies, strict=True) if count})

    return wanted


def _difference(epoch: int, drawn: Counter[str], should: Counter[str]) -> str:
    often, seldom = drawn - should, should - drawn
    clip, times = next(iter((often or seldom).items()))
    how = f"{times} times too often" if often else f"{times} times too seldom"
    return f"Epoch {epoch}: {len(often)} clips were drawn too often and {len(seldom)} too seldom, e.g. {clip} {how}."


def _compared(one: dict[int, list[tuple[int, str]]], other: dict[int, list[tuple[int, str]]]) -> list[str]:
    shared = one.keys() & other.keys()
    different = sorted(number for number in shared if sorted(one[number]) != sorted(other[number]))
    faults = []
    if len(one) != len(other):
        faults.append(f"The other run has {len(other)} contrast sets, this one {len(one)}.")
    if different:
        faults.append(f"{len(different)} contrast sets differ between the runs, the first is {different[0]}.")
    return faults
