"""DeepSpeed, imported so that it needs no compiler; every private name is in `au_dist.compat.names`."""

import logging
import os
from typing import Any

import torch


def load_deepspeed() -> Any:
    """Import DeepSpeed so that it needs no compiler: its CPU collectives would be compiled at the first use."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("DS_IGNORE_CUDA_DETECTION", "1")
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.WARNING)
    if not torch.cuda.is_available():
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
