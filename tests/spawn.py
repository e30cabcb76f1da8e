"""Run a function in several gloo processes and return what each returned."""

import os
import socket
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

from au_dist.dist.world import World


def _enter(rank: int, size: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...], out: str) -> None:
    import torch.distributed as dist

    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    os.environ["DS_ACCELERATOR"] = "cpu"
    torch.set_num_threads(1)
    # Ranks that do not agree wait for each other.
    dist.init_process_group("gloo", rank=rank, world_size=size, timeout=timedelta(seconds=60))
    torch.save(function(World(rank, size, torch.device("cpu")), *arguments), Path(out) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def spawn(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return the results of `function(world, *arguments)` on `size` processes; it must be importable."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as out:
        mp.start_processes(_enter, (size, port, function, arguments, out), size, start_method="spawn")
        return [torch.load(Path(out) / f"{rank}.pt", weights_only=False) for rank in range(size)]
