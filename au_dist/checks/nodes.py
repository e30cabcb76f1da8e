"""What will fail on a cluster: looked for on every node before a run begins, one line each with its remedy."""

import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from au_dist.checks.node_facts import TRIED_BYTES, NodeFacts, clock, node_facts, versions
from au_dist.core.errors import AuDistError
from au_dist.core.words import first_few
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import open_store

#: Seconds that a node has for its answer: a process is started, which may be the first one there.
ANSWER_S = 120.0

#: Seconds by which clocks may differ before it is said, and before stores refuse what is signed.
CLOCK_S, CLOCK_AT_MOST_S = 1.0, 300.0

#: Ray places nothing on a disk that is fuller.
DISK_AT_LEAST = 0.05

#: Room on a disk below which it is said: checkpoints and spilled clips go there.
DISK_FEW_BYTES = 10 << 30


@dataclass(frozen=True)
class Finding:
    """What was found about one matter.

    Attributes:
        matter: What was looked at.
        words: What was found, with the remedy where it is not good.
        good: Whether it is; None where it will do.
    """

    matter: str
    words: str
    good: bool | None = True


@dataclass(frozen=True)
class Survey:
    """What nodes said.

    Attributes:
        facts: Of each node that answered, by the name of its address.
        silent: Why the others did not, likewise.
        apart_s: By how many seconds each clock is ahead of the driver's.
        object_store_bytes: Size of each node's object store.
        cards: Nodes that have GPUs, as Ray counts them.
        here: Versions on the driver's machine.
    """

    facts: Mapping[str, NodeFacts]
    silent: Mapping[str, str]
    apart_s: Mapping[str, float]
    object_store_bytes: Mapping[str, float]
    cards: frozenset[str]
    here: Mapping[str, str]


def check_nodes(recipe: Recipe) -> list[Finding]:
    """Look at all nodes of the connected cluster for what would keep a run from going well.

    Args:
        recipe: The run.

    Returns:
        A finding for each matter, the driver's own view of the store first.
    """
    place, mark = open_store(recipe.runs), f".mark-{uuid.uuid4().hex}"
    made = [] if place.is_s3 else [path for path in (Path(place.uri), *Path(place.uri).parents) if not path.exists()]
    try:
        place.check().write(mark, b"au-dist cluster preflight")
    except AuDistError as error:
        return [Finding("store", f"this machine cannot write to {recipe.runs}. {error}", good=False)]
    try:
        return findings(recipe, survey(recipe, mark))
    finally:
        place.delete(mark)
        with suppress(OSError):  # somebody has begun to use it
            for path in made:
                path.rmdir()


def survey(recipe: Recipe, mark: str) -> Survey:
    """Ask every living node."""
    nodes = {node["NodeManagerAddress"] + f" ({node['NodeID'][:6]})": node for node in ray.nodes() if node["Alive"]}
    # Ray hides cards from what asks for none; `node_facts` looks for them in a process of its own.
    ask = ray.remote(num_cpus=0, max_retries=0)(node_facts)
    has_cards = frozenset(name for name, node in nodes.items() if node["Resources"].get("GPU"))

    def on(node: Mapping[str, Any]) -> NodeAffinitySchedulingStrategy:
        return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)

    asked = {}
    for name, node in nodes.items():
        cards = bool(recipe.workers.gpus) and name in has_cards
        task = ask.options(scheduling_strategy=on(node))
        # Ray's temporary folder of this node.
        asked[name] = task.remote(recipe.runs, mark, str(Path(node["RayletSocketName"]).parent), cards)
    facts, silent, apart = {}, {}, {}
    until = time.monotonic() + ANSWER_S
    for name, answer in asked.items():
        try:
            answered = ray.get(answer, timeout=max(1.0, until - time.monotonic()))
            facts[name], apart[name] = answered, _apart(on(nodes[name]))
        except ray.exceptions.GetTimeoutError:
            silent[name] = f"no answer within {ANSWER_S:.0f} s"
        except ray.exceptions.RayError as error:
            silent[name] = str(getattr(error, "cause", None) or error).strip().splitlines()[-1][:300]
    stores = {name: node["Resources"].get("object_store_memory", 0.0) for name, node in nodes.items()}
    return Survey(facts, silent, apart, stores, has_cards, versions())


def _apart(where: NodeAffinitySchedulingStrategy) -> float:
    """Return by how much a node's clock is ahead of ours, as the quickest of a few questions says it."""
    ask, best = ray.remote(num_cpus=0)(clock).options(scheduling_strategy=where), (float("inf"), 0.0)
    for _ in range(3):
        before = time.time()
        theirs = ray.get(ask.remote(), timeout=ANSWER_S)
        after = time.time()
        best = min(best, (after - before, theirs - (before + after) / 2))
    return best[1]


def findings(recipe: Recipe, seen: Survey) -> list[Finding]:
    """Return what follows from what nodes said; pure."""
    if not seen.facts:
        return [Finding("nodes", _silent(seen), good=False)]
    checks: list[Callable[[Recipe, Survey], Finding]] = [_nodes, _versions, _clocks, _disks, _shared_memory, _store]
    return [check(recipe, seen) for check in (*checks, *([_cards] if recipe.workers.gpus else []))]


def _nodes(recipe: Recipe, seen: Survey) -> Finding:
    count = len(seen.facts)
    answered = "1 node answers" if count == 1 else f"{count} nodes answer"
    return Finding("nodes", f"{answered}; {_silent(seen)}" if seen.silent else answered, good=not seen.silent)


def _silent(seen: Survey) -> str:
    words = first_few([f"{name}: {why}" for name, why in seen.silent.items()])
    return f"{len(seen.silent)} cannot run a task of au-dist: {words}. Install au-dist there, or look whether it hangs."


def _versions(recipe: Recipe, seen: Survey) -> Finding:
    differ = []
    for package, ours in seen.here.items():
        have: defaultdict[str, list[str]] = defaultdict(list)
        have[ours].append("this machine")
        for name, facts in seen.facts.items():
            have[facts.versions[package]].append(name)
        if len(have) > 1:
            differ.append(f"{package} {', '.join(f'{one} on {first_few(who)}' for one, who in have.items())}")
    if differ:
        return Finding("versions", f"{'; '.join(differ)}. Install the same everywhere.", good=False)
    return Finding("versions", ", ".join(f"{name} {one}" for name, one in seen.here.items()))


def _clocks(recipe: Recipe, seen: Survey) -> Finding:
    name = max(seen.apart_s, key=lambda one: abs(seen.apart_s[one]))
    most = seen.apart_s[name]
    words = f"at most {abs(most):.2g} s apart"
    if abs(most) > CLOCK_S:
        side = "ahead of" if most > 0 else "behind"
        words = f"that of {name} is {abs(most):.0f} s {side} this machine's. Let all nodes follow a time server."
    return Finding("clocks", words, good=None if CLOCK_S < abs(most) <= CLOCK_AT_MOST_S else abs(most) <= CLOCK_S)


def _disks(recipe: Recipe, seen: Survey) -> Finding:
    name, least = min(seen.facts.items(), key=lambda one: one[1].disk_free)
    scarce, few = min(seen.facts.items(), key=lambda one: one[1].disk_free_bytes)
    words = f"{_gib(few.disk_free_bytes)} are free for Ray's temporary files on {scarce}"
    if least.disk_free < DISK_AT_LEAST:
        remedy = "Ray places nothing there. Make room, or start Ray with --temp-dir elsewhere."
        full = f"{least.disk_free:.0%} are free on {name}: {remedy}"
        return Finding("disks", full, good=False)
    if few.disk_free_bytes < DISK_FEW_BYTES:
        return Finding("disks", f"{words}: make room, or start Ray with --temp-dir on another disk.", good=None)
    return Finding("disks", f"at least {_gib(few.disk_free_bytes)} free")


def _shared_memory(recipe: Recipe, seen: Survey) -> Finding:
    small = [name for name, facts in seen.facts.items() if facts.shm_bytes < seen.object_store_bytes.get(name, 0.0)]
    if small:
        words = (
            f"smaller than Ray's object store on {first_few(small)}: clips would go through a disk. Make /dev/shm "
            "larger (docker: --shm-size), or the object store smaller."
        )
        return Finding("/dev/shm", words, good=None)
    return Finding("/dev/shm", f"at least {_gib(min(facts.shm_bytes for facts in seen.facts.values()))}")


def _store(recipe: Recipe, seen: Survey) -> Finding:
    faults = [f"{name}: {facts.store.error}" for name, facts in seen.facts.items() if facts.store.error]
    if faults:
        words = f"{recipe.runs} cannot be used from {len(faults)} of {len(seen.facts)} nodes: {first_few(faults)}."
        remedy = " Keys and addresses have to be where Ray is started on them; folders have to be shared."
        return Finding("store", words + remedy, good=False)
    write, read = (
        statistics.median(TRIED_BYTES / 2**20 / max(seconds, 1e-6) for seconds in all_of_them)
        for all_of_them in zip(*((one.store.write_s, one.store.read_s) for one in seen.facts.values()), strict=True)
    )
    each = "a node" if len(seen.facts) == 1 else "a node, all at once"
    return Finding("store", f"{recipe.runs}: {write:.0f} MiB/s written and {read:.0f} MiB/s read by {each}")


def _cards(recipe: Recipe, seen: Survey) -> Finding:
    with_cards = {name: facts for name, facts in seen.facts.items() if name in seen.cards}
    if not with_cards:
        return Finding("GPUs", "no node that answers has one.", good=False)
    faults = [f"{name}: {facts.card_error}" for name, facts in with_cards.items() if facts.card_error]
    if faults:
        remedy = "The driver has to be as new as torch's CUDA; torch has to be one with CUDA."
        return Finding("GPUs", f"torch cannot use those of {first_few(faults)}. {remedy}", good=False)
    kinds = sorted({card for facts in with_cards.values() for card in facts.cards})
    return Finding("GPUs", f"{first_few(kinds)}; torch computes on them")


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
