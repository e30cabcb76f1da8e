"""Addressed randomness: a draw belongs to a place (seed, epoch, clip, view), not to a moment.

Seeds are combined as lists of words, never added: ``seed + epoch`` would make epoch 1 of run 0 equal epoch 0 of run 1.
"""

import hashlib

import numpy as np


def word(name: str) -> int:
    """Return a 64-bit seed word for a name, the same on every machine and in every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def rng(*address: int | str) -> np.random.Generator:
    """Return the generator that belongs to an address.

    Args:
        *address: Non-negative integers and names, most general first, e.g. ``rng(seed, "mix", epoch, block)``.
    """
    return np.random.default_rng([word(part) if isinstance(part, str) else int(part) for part in address])


def torch_seed(*address: int | str) -> int:
    """Return a 63-bit seed for ``torch.Generator.manual_seed`` that belongs to an address."""
    return int(rng(*address).integers(0, 2**63 - 1))
