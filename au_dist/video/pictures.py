"""Pictures, and files of several pictures, as upright RGB of 8 bits, whatever they are stored as."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.video.contents import describe
from au_dist.video.orientation import AS_STORED, EXIF, EXIF_TAG, Orientation

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".apng"),
        *(".avif", ".heic", ".heif", ".hif"),
    )
)

#: Formats whose further pictures are frames; elsewhere they are previews, depth maps and the like.
SEQUENCES = frozenset(("GIF", "PNG", "WEBP", "AVIF", "TIFF"))

#: Milliseconds between pictures without times; and, as browsers do, instead of times that are too short to be meant.
UNTIMED, SHORTEST, TOO_SHORT = 40.0, 10.0, 100.0

#: Greatest values of the depths that are used, for whole numbers and for floating point.
WHOLE_TOPS, FLOAT_TOPS = tuple(2.0**bits - 1 for bits in (8, 10, 12, 14, 16, 32)), (1.0, 255.0)

#: Share of the pixels, at either end, that may be darker or lighter than what counts.
STRAY = 1e-4

#: A picture that would use fewer of the 256 levels is scaled by its own range: infrared has little contrast.
LEAST_LEVELS = 64


class Greys:
    """The range of grey values of more than 8 bits in pictures that belong together: they are scaled alike.

    Otherwise light would change from one frame to the next, where it did not.

    Args:
        pictures: Each opens the file of a picture; called when the first of more than 8 bits was met.
        pages: Whether all pictures of a file count, not the first alone.
    """

    def __init__(self, pictures: Sequence[Callable[[], Path | IO[bytes]]], *, pages: bool = False) -> None:
        self.pictures, self.pages = pictures, pages

    @cached_property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value of all of them, without stray ones; unreadable pictures have none."""
        low, high = math.inf, -math.inf
        for opened in self.pictures:
            with suppress(IngestError), _opened(opened(), None) as picture:
                for place in _places(picture)[: None if self.pages else 1]:
                    picture.seek(place)
                    values_HW = np.asarray(picture) if _is_deep(picture) else np.zeros(0)
                    if values_HW.size and np.isfinite(values_HW).all():
                        darkest, lightest = _range(values_HW)
                        low, high = min(low, darkest), max(high, lightest)
        return low, high


def read_picture(
    source: Path | IO[bytes], where: object = None, notes: list[str] | None = None, greys: Greys | None = None
) -> np.ndarray:
    """Return a picture, the first where there are several, as upright RGB, uint8 (H, W, 3).

    Args:
        source: The file, or its content.
        where: What to call it; the path by default.
        notes: Filled in place: what was done to more than 8 bits.
        greys: Of the pictures that it belongs to; its own range counts when None.

    Raises:
        IngestError: The file is absent, is no picture, or all its pixels are equal.
    """
    with _opened(source, where or source) as picture:
        picture.seek(_places(picture)[0])
        upright_HWC = _upright(picture, notes, greys)[0]
        _check_contrast(upright_HWC)
        return upright_HWC


def read_pictures(path: Path, notes: list[str] | None = None) -> Iterator[tuple[float, np.ndarray, Orientation]]:
    """Yield the pictures of a file: seconds from the first, upright RGB, and how it was turned.

    Args:
        path: The file.
        notes: Filled in place: what was done to more than 8 bits, and to pages without times.

    Raises:
        IngestError: The file is absent, is no picture, or is a single one whose pixels are all equal.
    """
    with _opened(path, path) as picture:
        places, time = _places(picture), 0.0
        greys = Greys([lambda: path], pages=True) if len(places) > 1 else None
        for place in places:
            picture.seek(place)
            upright_HWC, orientation = _upright(picture, notes, greys)
            if len(places) == 1:
                _check_contrast(upright_HWC)
            yield time, upright_HWC, orientation
            duration = float(picture.info.get("duration", UNTIMED))
            time += (duration if duration > SHORTEST else TOO_SHORT) / 1000
        if len(places) > 1 and picture.format == "TIFF":
            note(notes, f"pages have no times: taken as {1000 / UNTIMED:.0f} a second")


def picture_info(path: Path) -> tuple[int, int, int]:
    """Return the width and height of an upright picture, and how many of them a file has.

    Raises:
        IngestError: The file is absent or is no picture.
    """
    with _opened(path, path) as picture:
        picture.seek(_places(picture)[0])
        picture.load()
        width, height = picture.size[::-1] if _orientation(picture).transposed else picture.size
        return width, height, len(_places(picture))


def note(notes: list[str] | None, text: str) -> None:
    """Add a note where it is not there yet."""
    if notes is not None and text not in notes:
        notes.append(text)


@contextmanager
def _opened(source: Path | IO[bytes], where: object) -> Iterator["Image"]:
    from PIL import Image

    try:
        with Image.open(source) as picture:
            yield picture
    except Exception as error:  # what a damaged picture raises is its decoder's choice
        reason = (describe(source) if isinstance(source, Path) else None) or error
        raise IngestError(
            "The picture cannot be read", where=where, found=reason, fix="Remove it, or save it again."
        ) from error


def _places(picture: "Image") -> list[int]:
    """Return which pictures of a file are frames."""
    count = getattr(picture, "n_frames", 1) if picture.format in SEQUENCES else 1
    if count == 1:
        return [0]
    if picture.format == "TIFF":
        return [place for place in range(count) if _is_page(picture, place)] or [0]
    # An APNG may begin with a picture for programs that know no APNG.
    return list(range(int(bool(picture.info.get("default_image"))), count))


def _is_page(picture: "Image", place: int) -> bool:
    """Say whether a picture of a TIFF is neither a smaller copy of another one nor a mask."""
    picture.seek(place)
    return not int(getattr(picture, "tag_v2", {}).get(254, 0)) & 0b101


def _orientation(picture: "Image") -> Orientation:
    return EXIF.get(picture.getexif().get(EXIF_TAG, 1), AS_STORED)


def _upright(picture: "Image", notes: list[str] | None, greys: Greys | None) -> tuple[np.ndarray, Orientation]:
    before = _orientation(picture)
    picture.load()
    # Some formats are turned by being loaded, and some tell their orientation only then.
    left = _orientation(picture)
    return left.upright(_rgb(picture, notes, greys)), left if before == AS_STORED else before


def _is_deep(picture: "Image") -> bool:
    return picture.mode == "F" or picture.mode.startswith("I")


def _rgb(picture: "Image", notes: list[str] | None, greys: Greys | None) -> np.ndarray:
    from PIL import Image

    if _is_deep(picture):
        grey_HW = _in_eight_bits(np.asarray(picture), notes, greys)
        return np.repeat(grey_HW[..., None], 3, axis=2)
    if picture.has_transparency_data:
        # What lies under transparent pixels is often rubbish; viewers show white.
        solid = picture.convert("RGBA")
        white = Image.new("RGBA", solid.size, "white")
        return np.asarray(Image.alpha_composite(white, solid).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def _in_eight_bits(values_HW: np.ndarray, notes: list[str] | None, greys: Greys | None) -> np.ndarray:
    """Scale grey values of more than 8 bits, uint8: by the depth that holds them, or by their own range."""
    if not np.isfinite(values_HW).all():
        raise ValueError("some pixels are not finite numbers")
    low, high = greys.range if greys else _range(values_HW)
    tops = FLOAT_TOPS if values_HW.dtype.kind == "f" else WHOLE_TOPS
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if top and (high - low) / top * 255 >= LEAST_LEVELS:
        zero, span, what = 0.0, top, f"0 to {top:.0f}"
    else:
        zero, span, what = low, high - low or 1.0, f"their own range, {low:g} to {high:g},"
    note(notes, f"grey values of more than 8 bits: {what} became 0 to 255")
    return np.rint((values_HW.astype(np.float64) - zero) * (255 / span)).clip(0, 255).astype(np.uint8)


def _range(values_HW: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest grey value but for stray ones: a few pixels of a camera may be broken."""
    low = np.quantile(values_HW, STRAY, method="lower")
    return float(low), float(np.quantile(values_HW, 1 - STRAY, method="higher"))


def _check_contrast(rgb_HWC: np.ndarray) -> None:
    # Nearly every picture shows it in a few of its pixels.
    if all((some == rgb_HWC[0, 0]).all() for some in (rgb_HWC[::32, ::32], rgb_HWC)):
        raise ValueError("all pixels are equal")
