"""Addressed randomness: a draw belongs to a place (seed, epoch, clip, view), not to a moment.

Seeds are combined as lists of words, never added: ``seed + epoch`` would make epoch 1 of run 0 equal epoch 0 of run 1.
"""

import hashlib
from collections.abc import Iterable

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


def uniforms(count: int, addresses: Iterable[tuple[int | str, ...]]) -> np.ndarray:
    """Return draws in [0, 1) that belong to addresses, float64 [N, count]; cheap where there are many addresses.

    The draws are the bits of a hash (SHAKE-128) of the address, so a draw needs no generator of its own.
    """
    names = ("\0".join(map(str, address)).encode() for address in addresses)
    bits = b"".join(hashlib.shake_128(name).digest(8 * count) for name in names)
    return (np.frombuffer(bits, "<u8") >> np.uint64(11)).reshape(-1, count) * 2.0**-53


def torch_seed(*address: int | str) -> int:
    """Return a 63-bit seed for ``torch.Generator.manual_seed`` that belongs to an address."""
    return int(rng(*address).integers(0, 2**63 - 1))
