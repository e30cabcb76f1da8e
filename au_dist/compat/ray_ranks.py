"""The process group of a run's workers, joined as Ray's own `TorchConfig` joins it, but by modules without torch.

Ray Train's controller and the driver hold the configuration of the group. With `TorchConfig` each of them would load
torch, which takes seconds and half a gigabyte, and does nothing there.
"""

import importlib
import os
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.train.backend import Backend, BackendConfig

#: The module of Ray that has workers join; it loads torch.
TORCH = "ray.train.torch.config"

#: What turns on all that torch has against a collective of NCCL that hangs, and what it writes down then. Whatever the
#: environment says already goes first. Releases of torch differ in what is on, and Ray would set the first to 1.
HANG_DETECTOR = {
    # The watchdog ends the process, without waiting for NCCL to clean up, which may hang too.
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "3",
    # Another thread ends it where the watchdog itself hangs.
    "TORCH_NCCL_ENABLE_MONITORING": "1",
    # The last collectives of each rank are kept, and written to a file before the process ends.
    "TORCH_NCCL_TRACE_BUFFER_SIZE": "2000",
    "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
}

#: Seconds that a collective may take on GPUs, as torch itself has it for NCCL; Ray would wait three times as long.
NCCL_TIMEOUT_S = 600

#: Seconds that workers may take to part; those who wait for one that is gone will never part politely.
PART_S = 5.0


def load() -> None:
    """Load what joining needs; called in each worker, for from the choice of a port on nobody may be slow."""
    importlib.import_module(TORCH)


def join(backend: str, address: str, port: int, rank: int, size: int) -> None:
    """Join the process group; called in each worker."""
    from ray.train.torch.config import _set_torch_distributed_env_vars, _setup_torch_process_group

    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
    _set_torch_distributed_env_vars()
    _setup_torch_process_group(backend, rank, size, "env://", **detect_hangs(backend, os.environ))


def detect_hangs(backend: str, environment: MutableMapping[str, str]) -> dict[str, int]:
    """Have NCCL's watchdog end a process whose collective hangs, where the environment does not say otherwise.

    Returns:
        What Ray is to be told besides, by name; nothing where the backend is another one.
    """
    if backend != "nccl":
        return {}
    for name, value in HANG_DETECTOR.items():
        environment.setdefault(name, value)
    return {"timeout_s": NCCL_TIMEOUT_S}


def part(several: bool) -> None:
    """Leave the process group; called in each worker."""
    from ray.train.torch.config import _shutdown_torch

    _shutdown_torch(destroy_process_group=several)


def on_own_device() -> Any:
    """Return the context of a worker's function, in which its GPU is the current one."""
    from ray.train.torch.config import TorchConfigContextManager

    return TorchConfigContextManager()


class RankBackend(Backend):
    """Has workers join a process group of torch, and part."""

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Called in Ray Train's controller when the workers have started."""
        from ray.train._internal.utils import get_address_and_port

        size = len(worker_group)
        worker_group.execute(load)
        address, port = worker_group.execute_single(0, get_address_and_port)
        meeting = (backend_config.backend, address, port)
        ray.get([worker_group.execute_single_async(rank, join, *meeting, rank, size) for rank in range(size)])

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Called in Ray Train's controller before the workers end."""
        try:
            ray.get(worker_group.execute_async(part, len(worker_group) > 1), timeout=PART_S)
        except GetTimeoutError:
            return  # they are ended


@dataclass
class RankConfig(BackendConfig):
    """How workers talk to each other.

    Attributes:
        backend: Of torch's process group: ``gloo`` or ``nccl``.
    """

    backend: str

    @property
    def backend_cls(self) -> type[Backend]:
        """What joins the group."""
        return RankBackend

    @property
    def train_func_context(self) -> Callable[[], Any]:
        """The context of a worker's function."""
        return on_own_device
