"""How a corpus is taken in, from what a person asks for."""

from dataclasses import dataclass
from typing import Literal

from au_dist.core.errors import RecipeError
from au_dist.core.schema import CropRecipe, finding
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.options import Options, action_units
from au_dist.corpora.recordings import Found
from au_dist.video.video_spec import VideoSpec


@dataclass(frozen=True)
class Crops:
    """What crops are made.

    Attributes:
        size: Side of the crops in pixels.
        quality: JPEG quality of the crops, 1 to 100.
        eye_distance: Distance between the eyes, as a share of the side: the margin around the face.
    """

    size: int = CropRecipe.size
    quality: int = CropRecipe.jpeg_quality
    eye_distance: float = CropRecipe.eye_distance

    def __post_init__(self) -> None:
        for name, least, most in (("size", 16, 1024), ("quality", 1, 100), ("eye_distance", 0.1, 0.9)):
            if not least <= getattr(self, name) <= most:
                raise RecipeError(
                    "A value is out of range", where=name, expected=f"{least} to {most}", found=getattr(self, name)
                )


@dataclass(frozen=True)
class IngestRecipe:
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
    corpus: str, found: Found, options: Options, spec: VideoSpec, crops: Crops | None = None, aus: str | None = None
) -> IngestRecipe:
    """Return how a corpus is taken in.

    Args:
        corpus: Name in the catalogue.
        found: What its importer found.
        options: How it is read.
        spec: How faces are found.
        crops: What crops are made; the usual ones when None.
        aus: Action units, parted by commas; the corpus's own when None.

    Raises:
        RecipeError: A value is wrong, or crops were to be cropped again.
    """
    if found.cropped and spec.detector != "none" and spec.cropped is None:
        raise RecipeError(
            "These pictures are face crops already; they cannot be cropped again",
            where="detector",
            expected="none",
            found=spec.detector,
            fix="Leave --detector away, give the videos instead of the crops, or insist with --crop-again.",
        )
    crops = crops or Crops()
    alignment: Literal["eyes", "none"] = "none" if spec.detector == "none" else "eyes"
    crop = CropRecipe(
        size=crops.size,
        alignment=alignment,
        eye_distance=crops.eye_distance,
        jpeg_quality=crops.quality,
        **finding(spec.detector, spec.detect_side, spec.half_window, spec.max_gap),
    )
    return IngestRecipe(corpus, found.corpus, _chosen(found.aus or CORPORA[corpus].aus, aus), options, spec, crop)


def _chosen(own: tuple[int, ...], aus: str | None) -> tuple[int, ...]:
    if aus is None:
        return own
    if not own:
        raise RecipeError(
            "These action units cannot be asked for",
            where="aus",
            expected="none: these videos have no labels",
            found=aus,
        )
    return action_units(aus)
