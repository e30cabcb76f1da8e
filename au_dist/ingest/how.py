"""How a corpus is taken in, from what a person asks for."""

from dataclasses import dataclass
from typing import Literal

from au_dist.core.errors import RecipeError
from au_dist.core.facs import NAMES
from au_dist.core.schema import CropRecipe
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Found
from au_dist.video.video_spec import VideoSpec


@dataclass(frozen=True)
class Recipe:
    """How recordings are taken in.

    Attributes:
        corpus: Name of the corpus in the catalogue.
        name: Name of the data set in the shards.
        aus: The action units of the label columns, in order.
        options: How the corpus is read.
        spec: How faces are found and cut into clips.
        crop: How they are cropped.
    """

    corpus: str
    name: str
    aus: tuple[int, ...]
    options: Options
    spec: VideoSpec
    crop: CropRecipe


def recipe_for(
    corpus: str,
    found: Found,
    options: Options,
    spec: VideoSpec,
    *,
    aus: str | None = None,
    size: int = 112,
    quality: int = 92,
    eye_distance: float = 0.38,
) -> Recipe:
    """Return how a corpus is taken in.

    Args:
        corpus: Name in the catalogue.
        found: What its importer found.
        options: How it is read.
        spec: How faces are found.
        aus: Action units, parted by commas; the corpus's own when None.
        size: Side of the crops in pixels.
        quality: Their JPEG quality.
        eye_distance: Between the eyes, as a share of the side.

    Raises:
        RecipeError: A value is wrong, or crops were to be cropped again.
    """
    if found.cropped and spec.detector != "none":
        raise RecipeError(
            "These pictures are face crops already; they cannot be cropped again",
            where="detector",
            expected="none",
            found=spec.detector,
            fix="Leave --detector away, or give the videos instead of the crops.",
        )
    for where, value, least, most in (
        ("size", size, 16, 1024),
        ("quality", quality, 1, 100),
        ("eye_distance", eye_distance, 0.1, 0.9),
    ):
        if not least <= value <= most:
            raise RecipeError("A value is out of range", where=where, expected=f"{least} to {most}", found=value)
    alignment: Literal["eyes", "none"] = "none" if spec.detector == "none" else "eyes"
    crop = CropRecipe(size=size, alignment=alignment, eye_distance=eye_distance, jpeg_quality=quality)
    return Recipe(corpus, found.corpus, _chosen(corpus, aus), options, spec, crop)


def _chosen(corpus: str, aus: str | None) -> tuple[int, ...]:
    own = CORPORA[corpus].aus
    if aus is None:
        return own
    try:
        chosen = tuple(int(part) for part in aus.split(","))
    except ValueError:
        chosen = ()
    if not own or not chosen or not set(chosen) <= NAMES.keys() or len(set(chosen)) < len(chosen):
        expected = "different numbers of action units, such as 1,2,4" if own else "none: these videos have no labels"
        raise RecipeError("These action units cannot be asked for", where="aus", expected=expected, found=aus)
    return chosen
