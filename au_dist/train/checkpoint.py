"""Checkpoints in storage: whole tensors as safetensors, what they mean as JSON, ``COMPLETE`` written last.

    RUN/checkpoints/step-00000120/weights.safetensors     every parameter, fp32
                                  optimizer.safetensors   the moments of every trained parameter
                                  state.json              step, order position, seed, plan, recipe, metrics, ...
                                  COMPLETE                sha256 and bytes of the three

A folder without ``COMPLETE`` does not exist as far as anyone is concerned.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from au_dist.config.running import Checkpoints
from au_dist.core.errors import AbsentError, CheckpointError
from au_dist.storage.store import Store, open_store
from au_dist.train.state import CheckpointState

if TYPE_CHECKING:
    # Most of what asks about checkpoints never touches a tensor.
    import torch

COMPLETE = "COMPLETE"
WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"


def folder(step: int) -> str:
    """Return the path of a checkpoint below its run."""
    return f"checkpoints/step-{step:08d}"


def write(
    run: Store,
    weights: dict[str, torch.Tensor],
    optimizer: dict[str, torch.Tensor],
    state: CheckpointState,
    check: Callable[[], None] = lambda: None,
) -> int:
    """Write a checkpoint, ``COMPLETE`` last; another one of the same step is replaced.

    Args:
        run: The run's place.
        weights: Parameters and buffers by name.
        optimizer: Moments by name.
        state: What they mean; its step names the checkpoint.
        check: Called before anything is deleted and before ``COMPLETE``; raises where this process must not write.

    Returns:
        Bytes written.
    """
    from safetensors.torch import save

    check()
    place = folder(state.step)
    run.delete(f"{place}/{COMPLETE}")  # first, as in `prune`
    run.delete(place)
    files = {
        WEIGHTS: save({name: tensor.contiguous() for name, tensor in weights.items()}),
        OPTIMIZER: save({name: tensor.contiguous() for name, tensor in optimizer.items()}),
        STATE: json.dumps(state.model_dump(), indent=1).encode(),
    }
    _write_sealed(run, f"{place}/", files, check)
    return sum(len(data) for data in files.values())


def write_folder(place: Store, weights: dict[str, torch.Tensor], state: CheckpointState) -> None:
    """Write a model folder, as `pull` leaves one, ``COMPLETE`` last."""
    from safetensors.torch import save

    files = {
        WEIGHTS: save({name: tensor.contiguous() for name, tensor in weights.items()}),
        STATE: json.dumps(state.model_dump(), indent=1).encode(),
    }
    _write_sealed(place, "", files)


def _write_sealed(run: Store, below: str, files: dict[str, bytes], check: Callable[[], None] = lambda: None) -> None:
    seal = {}
    for name, data in files.items():
        run.write(f"{below}{name}", data)
        seal[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    check()
    run.write(f"{below}{COMPLETE}", json.dumps(seal, indent=1).encode())


def steps(run: Store) -> list[int]:
    """Return the steps of the complete checkpoints of a run, rising."""
    paths = run.list("checkpoints", recursive=True)
    return sorted(int(path.split("/")[1].removeprefix("step-")) for path in paths if path.endswith(f"/{COMPLETE}"))


def seal(place: Store) -> dict[str, dict[str, Any]]:
    """Return the files of a checkpoint with their bytes and hashes.

    Args:
        place: The checkpoint's own folder.

    Raises:
        CheckpointError: It has no ``COMPLETE``.
    """
    try:
        return json.loads(place.read(COMPLETE))
    except AbsentError as error:
        names = place.list()
        raise CheckpointError(
            "This checkpoint is not complete" if names else "There is no checkpoint here",
            where=place.uri,
            expected=f"a file {COMPLETE}, which is written last",
            found=", ".join(names) or "nothing",
            fix="Its writer was stopped half-way; use another checkpoint or let the run resume." if names else None,
        ) from error
    except ValueError as error:
        raise CheckpointError("The seal of this checkpoint cannot be read", where=f"{place.uri}/{COMPLETE}") from error


def verified(place: Store, name: str) -> bytes:
    """Return a file of a checkpoint after checking its hash.

    Raises:
        CheckpointError: It is incomplete, or the file is missing or damaged.
    """
    expected = seal(place).get(name)
    data = place.read(name)
    if expected is None or hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise CheckpointError(
            "A file of this checkpoint is damaged",
            where=f"{place.uri}/{name}",
            expected=f"sha256 {expected['sha256'][:12]}, {expected['bytes']} bytes" if expected else "a sealed file",
            found=f"sha256 {hashlib.sha256(data).hexdigest()[:12]}, {len(data)} bytes",
            fix="Use an older checkpoint of the run.",
        )
    return data


def tensors(place: Store, name: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a verified file, on the CPU."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(verified(place, name))
    except SafetensorError as error:
        raise CheckpointError("These are not safetensors", where=f"{place.uri}/{name}", found=str(error)) from error


@functools.lru_cache(maxsize=256)
def state(place: Store) -> CheckpointState:
    """Return the verified `state.json` of a checkpoint.

    Raises:
        CheckpointError: It is incomplete, damaged, or of another version.
    """
    raw, where = json.loads(verified(place, STATE)), f"{place.uri}/{STATE}"
    mine, theirs = CheckpointState.model_fields["version"].default, raw.get("version")
    if theirs != mine:
        raise CheckpointError("This checkpoint is of another version", where=where, expected=mine, found=theirs)
    try:
        return CheckpointState.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckpointError(
            "This is not the state of a checkpoint",
            where=where,
            expected="what au-dist writes",
            found=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
        ) from error


def newest(run: Store) -> Store | None:
    """Return the newest complete checkpoint of a run, None when it has none."""
    complete = steps(run)
    return run.at(folder(complete[-1])) if complete else None


def latest_valid(run: Store) -> tuple[Store | None, list[str]]:
    """Return the newest checkpoint of a run whose every file is what was written, and what is wrong with newer ones."""
    faults = []
    for step in reversed(steps(run)):
        place = run.at(folder(step))
        try:
            for name in seal(place):
                verified(place, name)
            state(place)
        except (CheckpointError, AbsentError) as error:
            faults.append(str(error))
        else:
            return place, faults
    return None, faults


def invalidate(run: Store, beyond: int) -> None:
    """Make the checkpoints after a step incomplete: a run goes on from that step."""
    for step in steps(run):
        if step > beyond:
            run.delete(f"{folder(step)}/{COMPLETE}")


def value(place: Store, metric: str) -> float:
    """Return a metric of a checkpoint, minus infinity when it does not have it or is damaged."""
    try:
        number = state(place).metrics.get(metric)
    except (CheckpointError, AbsentError):
        return -math.inf
    return -math.inf if number is None or math.isnan(number) else float(number)


def best(run: Store, metric: str) -> Store | None:
    """Return the best complete checkpoint of a run, None without any."""
    return next((run.at(folder(step)) for step in _ranked(run, metric)), None)


def _ranked(run: Store, metric: str) -> list[int]:
    """Return the steps of the complete checkpoints, best first: the larger metric, and the earlier of equals.

    Those without it come last, the newest of them first: what nobody judged is best at its end.
    """
    values = {step: value(run.at(folder(step)), metric) for step in steps(run)}
    return sorted(values, key=lambda step: (-values[step], step if math.isfinite(values[step]) else -step))


def find(address: str, which: str, base: Store | None = None) -> Store:
    """Return a checkpoint's own folder.

    Args:
        address: A checkpoint, a pulled model folder, a run, or a run's name below `base`.
        which: ``best`` by the run's own metric, or ``last``; only for runs.
        base: The place of runs that a bare name belongs to.

    Raises:
        CheckpointError: There is none.
    """
    place = base.at(address) if base and "/" not in address else open_store(address)
    if place.exists(COMPLETE):
        return place
    if not steps(place):
        if place.list("checkpoints"):
            seal(place.at(place.list("checkpoints")[-1]))
        seal(place)
    last = newest(place)
    assert last is not None
    return best(place, state(last).run_recipe.metric) or last if which == "best" else last


def prune(run: Store, keep: Checkpoints, metric: str) -> None:
    """Delete the checkpoints that are neither among the newest nor among the best by a metric nor kept for good."""
    ranked = _ranked(run, metric)
    complete = sorted(ranked)
    good = {step for step in complete if keep.keep_multiples_of and step % keep.keep_multiples_of == 0}
    for step in set(complete) - {*complete[-keep.last_k :], *ranked[: keep.top_k], *good}:
        _drop(run, step)


def _drop(run: Store, step: int) -> None:
    # Unsealed first: a deletion cut short must not look complete.
    run.delete(f"{folder(step)}/{COMPLETE}")
    run.delete(folder(step))


def lighten(run: Store) -> int:
    """Keep of a run's checkpoints the weights and the state alone: no run goes on from them; return the bytes freed."""
    freed = 0
    for step in steps(run):
        place = run.at(folder(step))
        kept = {name: entry for name, entry in seal(place).items() if name in (WEIGHTS, STATE)}
        # The new seal first: at no moment does a complete checkpoint lack a file that it names.
        place.write(COMPLETE, json.dumps(kept, indent=1).encode())
        for name in sorted(set(place.list()) - {*kept, COMPLETE}):
            freed += place.size(name) or 0
            place.delete(name)
    return freed


def remove(run: Store) -> int:
    """Delete a run's checkpoints; return the bytes freed."""
    freed = 0
    for step in steps(run):
        place = run.at(folder(step))
        freed += sum(place.size(name) or 0 for name in place.list())
        _drop(run, step)
    return freed


def pull(place: Store, target: Path) -> list[str]:
    """Copy a checkpoint's weights and state to a folder, verifying every hash; what is there is not copied again.

    Args:
        place: The checkpoint.
        target: The folder; made, must hold nothing but this model, or what a copy that broke off has left of it.

    Returns:
        The names of the files.

    Raises:
        CheckpointError: It is incomplete or damaged, or the folder holds something else. Nothing is left half-written.
    """
    kept = {name: entry for name, entry in seal(place).items() if name in (WEIGHTS, STATE)}
    there = {path.name: path for path in target.iterdir()} if target.exists() else {}
    has = {name for name, path in there.items() if name in kept and _hash(path) == kept[name]["sha256"]}
    if other := sorted(set(there) - {*has, COMPLETE}):
        raise CheckpointError(
            "The folder to pull into holds something else",
            where=target,
            found=other[0],
            fix="Choose another with --to.",
        )
    files = {name: verified(place, name) for name in (WEIGHTS, STATE) if name not in has}
    local = open_store(target)
    for name, data in files.items():
        local.write(name, data)
    local.write(COMPLETE, json.dumps(kept, indent=1).encode())
    state.cache_clear()  # a folder, unlike a run's checkpoint, may have held another model before
    return [WEIGHTS, STATE, COMPLETE]


def _hash(path: Path) -> str | None:
    """Return the SHA-256 of a file; None where it is no file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
