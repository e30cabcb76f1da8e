"""Where each rank of a run is, and which one the others wait for. Pure functions of times that are handed in."""

from dataclasses import dataclass

#: What a rank does with a contrast set, in this order.
PHASES = ("waits for data", "computes", "meets the others", "validates", "waits for the store")

#: Those of them that take as long as they take when all ranks are in them.
BUSY = ("computes", "validates")


@dataclass(frozen=True)
class Place:
    """Where a rank is.

    Attributes:
        node: The machine.
        number: The contrast set.
        phase: What it does with it; one of `PHASES`.
        since: When it began to, in seconds.
        heard: When that was said last.
    """

    node: str
    number: int
    phase: str
    since: float
    heard: float


def late(places: dict[int, Place], now: float, patience_s: float) -> list[str]:
    """Return which ranks keep the others waiting, in words; nothing while the run moves.

    Args:
        places: Where each rank is.
        now: The time.
        patience_s: Seconds without a change before anything is said.
    """
    silent = {rank: now - place.heard for rank, place in places.items() if now - place.heard > patience_s}
    if silent:
        return [
            f"rank {rank} on {places[rank].node}: not heard of for {age:.0f} s; before, {_doing(places[rank])}"
            for rank, age in sorted(silent.items())
        ]
    if not places or now - max(place.since for place in places.values()) <= patience_s:
        return []
    # Those who are ahead wait for those who are behind, whatever they believe to be doing.
    where = {rank: (place.number, PHASES.index(place.phase)) for rank, place in sorted(places.items())}
    behind = [rank for rank, order in where.items() if order == min(where.values())]
    if len(behind) == len(places) and places[behind[0]].phase in BUSY:
        return []
    return [
        f"rank {rank} on {places[rank].node}: {_doing(places[rank])}, for {now - places[rank].since:.0f} s"
        for rank in behind
    ]


def _doing(place: Place) -> str:
    return f"{place.phase}, contrast set {place.number}"
