"""How a stored picture is to be shown: one of eight orientations, said by a display matrix or by EXIF."""

import struct
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Orientation:
    """How to bring a stored picture upright: transposed first (rows become columns), then mirrored.

    Attributes:
        transposed: Rows become columns.
        mirrored_x: Left and right are exchanged, after that.
        mirrored_y: Top and bottom are exchanged, after that.
    """

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @property
    def mirror(self) -> bool:
        """Whether it shows what is stored in a mirror: no turn does the same."""
        return (self.transposed + self.mirrored_x + self.mirrored_y) % 2 == 1

    def upright(self, stored_HWC: np.ndarray) -> np.ndarray:
        """Return the picture as it is to be shown."""
        if self == AS_STORED:
            return stored_HWC
        turned = stored_HWC.swapaxes(0, 1) if self.transposed else stored_HWC
        turned = turned[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1]
        return np.ascontiguousarray(turned)

    def points(self, stored_N2: np.ndarray, width: int, height: int) -> np.ndarray:
        """Return where points (x, y) of the stored picture are in the upright one of that width and height."""
        x, y = stored_N2.T[::-1] if self.transposed else stored_N2.T
        return np.stack([width - x if self.mirrored_x else x, height - y if self.mirrored_y else y], axis=-1)


AS_STORED = Orientation()

#: What the values 1 to 8 of EXIF's tag Orientation ask for.
EXIF_TAG = 0x0112
EXIF = {
    1: AS_STORED,
    2: Orientation(mirrored_x=True),
    3: Orientation(mirrored_x=True, mirrored_y=True),
    4: Orientation(mirrored_y=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, mirrored_x=True),
    7: Orientation(transposed=True, mirrored_x=True, mirrored_y=True),
    8: Orientation(transposed=True, mirrored_y=True),
}

#: A matrix whose smaller entries are above this share of the larger ones turns by no quarter.
SKEW = 0.02


def from_matrix(matrix: bytes) -> tuple[Orientation, bool]:
    """Return the orientation that a display matrix asks for, and whether it is exactly that.

    A matrix (nine whole numbers of 32 bits: a b u, c d v, x y w) shows the stored pixel (p, q) at (ap + cq, bp + dq).
    """
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
    exact = min(straight, crossed) <= SKEW * max(straight, crossed)
    if straight >= crossed:
        return Orientation(False, a < 0, d < 0), exact
    return Orientation(True, c < 0, b < 0), exact
