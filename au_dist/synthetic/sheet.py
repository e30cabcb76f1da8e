"""The contact sheet of the documentation: what the synthetic faces look like, to be judged by eye."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from au_dist.core.facs import NAMES
from au_dist.core.schema import CropRecipe
from au_dist.core.seeds import rng
from au_dist.storage.pictures import save_picture
from au_dist.synthetic.face import Camera, expose, meter, render
from au_dist.synthetic.fields import View
from au_dist.synthetic.identity import Identity, draw_identity
from au_dist.synthetic.labels import draw_habit, draw_intensity, read_statistics
from au_dist.synthetic.relief import Light
from au_dist.synthetic.scene import draw_scene
from au_dist.synthetic.shape import DRAWN_AUS, shape_face

if TYPE_CHECKING:
    from PIL import Image

_MIXES = {
    "6+12 smile": {6: 4, 12: 4},
    "6+12+25 laugh": {6: 4, 12: 5, 25: 4},
    "1+2+5+25+26 surprise": {1: 4, 2: 4, 5: 4, 25: 4, 26: 4},
    "4+7+23 anger": {4: 4, 7: 4, 23: 4},
    "1+4+15 sadness": {1: 4, 4: 3, 15: 4},
    "9+10 disgust": {9: 4, 10: 4},
    "1+2+4+5+20+25 fear": {1: 4, 2: 3, 4: 3, 5: 4, 20: 4, 25: 3},
    "12+14 smirk": {12: 2, 14: 4},
    "17+24 doubt": {17: 4, 24: 4},
}
_COLUMNS = 9
_STEP = 6  # frames of the sequence from cell to cell
_CAPTION = 17


def _still(who: Identity, intensity: dict[int, float], cell: int) -> np.ndarray:
    backdrop: np.ndarray = np.full((3, cell, cell), 0.30, np.float32)
    light = Light(direction=(-0.35, -0.42, 0.84), ambient=0.48, diffuse=0.66)
    rgb = render(who, shape_face(who, intensity), View(), light, backdrop, CropRecipe(size=cell))
    return expose(rgb, meter(Camera(exposure=1.1), who))


def _taken(who: Identity, seed: int, video: int, intensity: dict[int, float], cell: int) -> np.ndarray:
    """One frame as the generator makes them: pose, light, background, blur and noise included."""
    scene = draw_scene(rng(seed, "sheet", video, "scene"), 4, 30.0, cell)
    rgb = render(who, shape_face(who, intensity), scene.view_T[2], scene.light, scene.backdrop, CropRecipe(size=cell))
    noise = rng(seed, "sheet", video, "noise").standard_normal(rgb.shape, np.float32)
    return expose(rgb, meter(scene.camera, who), noise)


def _sequence(who: Identity, seed: int, cell: int) -> list[tuple[str, np.ndarray]]:
    """Frames up to the strongest smile of a drawn sequence."""
    dynamics = read_statistics(None, "BP4D")
    habit = draw_habit(dynamics, rng(seed, "sheet", "habit")) * 0.0
    intensity_TA = draw_intensity(dynamics, habit, rng(seed, "sheet", "sequence"), 6000, 25.0)
    smile = dynamics.aus.index(12)
    span = _STEP * (_COLUMNS - 1)
    # From as little as possible to as strong a smile as possible.
    score = intensity_TA[span:, smile] - 0.6 * intensity_TA[:-span].sum(axis=1)
    first = int(np.argmax(score))
    cells = []
    for t in range(first, first + span + 1, _STEP):
        shown = {au: float(value) for au, value in zip(dynamics.aus, intensity_TA[t], strict=True)}
        strong = "+".join(str(au) for au, value in shown.items() if value >= 1.0) or "none"
        cells.append((f"{(t - first) / 25:.1f} s: {strong}", _still(who, shown, cell)))
    return cells


def contact_sheet(path: Path, seed: int = 0, cell: int = 136) -> None:
    """Draw the picture of the documentation: neutral, each action unit alone, combinations, subjects, a sequence.

    Args:
        path: PNG file to write.
        seed: Seed of the subjects and of the sequence.
        cell: Side of a face in pixels.
    """
    crowd = [draw_identity(rng(seed, "synth", subject, "identity")) for subject in range(2 * _COLUMNS)]
    who = replace(crowd[0], glasses=False)
    cells: list[tuple[str, np.ndarray] | str] = ["One subject: neutral, each action unit alone at intensity 4"]
    cells += [("neutral", _still(who, {}, cell))]
    cells += [(f"{au} {NAMES[au]}", _still(who, {au: 4}, cell)) for au in DRAWN_AUS]
    cells += ["Combinations"]
    cells += [(name, _still(who, {au: float(v) for au, v in mix.items()}, cell)) for name, mix in _MIXES.items()]
    cells += ["Other subjects: neutral, then 6+12 at intensity 4"]
    cells += [("neutral", _still(other, {}, cell)) for other in crowd[1 : 1 + _COLUMNS]]
    cells += [("6+12", _still(other, {6: 4, 12: 4}, cell)) for other in crowd[1 : 1 + _COLUMNS]]
    cells += ["As generated: pose, light, background, blur, camera noise; action units as captioned, intensity 3"]
    shown: tuple[dict[int, int], ...] = (
        {},
        {12: 3, 6: 3},
        {4: 3, 7: 3},
        {1: 3, 2: 3},
        {15: 3, 17: 3},
        {10: 3},
        {12: 3},
        {14: 3, 24: 3},
        {4: 3},
    )
    for number, mix in enumerate(shown):
        caption = "+".join(str(au) for au in mix) or "neutral"
        cells.append((caption, _taken(crowd[9 + number], seed, number, {a: float(v) for a, v in mix.items()}, cell)))
    cells += [
        "In time: every sixth frame of a sequence drawn from the statistics (action units at intensity 1 or more)"
    ]
    cells += _sequence(replace(crowd[5], glasses=False), seed, cell)

    sheet = _arrange(cells, cell)
    save_picture(sheet, path)


def _arrange(cells: list[tuple[str, np.ndarray] | str], cell: int) -> "Image.Image":
    from PIL import Image, ImageDraw

    places: list[tuple[int, int]] = []
    x, y = 0, 0
    for item in cells:
        if isinstance(item, str):
            y += (cell + _CAPTION) * (x > 0)
            places.append((0, y))
            x, y = 0, y + _CAPTION + 6
        else:
            if x == _COLUMNS:
                x, y = 0, y + cell + _CAPTION
            places.append((x * (cell + 2), y))
            x += 1
    sheet = Image.new("RGB", (_COLUMNS * (cell + 2), y + cell + _CAPTION), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for item, (left, top) in zip(cells, places, strict=True):
        if isinstance(item, str):
            pen.text((2, top + 4), item, fill=(0, 0, 0), font_size=14)
        else:
            sheet.paste(Image.fromarray(item[1]), (left, top))
            pen.text((left + 2, top + cell + 1), item[0], fill=(40, 40, 40), font_size=11)
    return sheet
