"""Pictures that the program draws: they say so of themselves, and replace only each other."""

from pathlib import Path
from typing import TYPE_CHECKING

from au_dist.core.errors import RecipeError, StorageError
from au_dist.storage.store import atomic_file

if TYPE_CHECKING:
    from PIL.Image import Image

#: What a picture of ours says of itself.
SOFTWARE = {"Software": "au-dist"}


def check_picture(path: Path) -> None:
    """Refuse to replace what is no picture of ours.

    Raises:
        RecipeError: Another file is there.
    """
    from PIL import Image

    if not path.exists():
        return
    try:
        with Image.open(path) as picture:
            ours = all(picture.info.get(name) == value for name, value in SOFTWARE.items())
    except (OSError, ValueError, Image.DecompressionBombError):
        ours = False
    if not ours:
        raise RecipeError(
            "A file is in the way that au-dist did not draw", where=path, fix="Give another name, or move it away."
        )


def save_picture(picture: "Image", path: Path) -> None:
    """Write a picture whole, as PNG.

    Raises:
        RecipeError: A file is there that is no picture of ours.
        StorageError: It cannot be written.
    """
    from PIL.PngImagePlugin import PngInfo

    check_picture(path)
    said = PngInfo()
    for name, value in SOFTWARE.items():
        said.add_text(name, value)
    try:
        with atomic_file(path) as file:
            picture.save(file, "PNG", optimize=True, pnginfo=said)
    except OSError as error:
        raise StorageError("A picture cannot be written", where=path, found=error) from error
