"""A contact sheet of a set: some frames of some subjects, with the labels that they carry."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw, ImageFont

from au_dist.core.schema import Clip
from au_dist.core.seeds import rng
from au_dist.shards.format import Manifest, read_clips
from au_dist.storage.pictures import save_picture
from au_dist.storage.store import Store

SUBJECTS, FRAMES, TILE, GAP, LINE = 8, 8, 112, 6, 14
PAPER, INK, SOFT = (255, 255, 255), (20, 20, 20), (120, 120, 120)


def draw_sheets(store: Store, manifest: Manifest, path: Path) -> list[Path]:
    """Draw a sheet for each corpus of a set: a row a subject, frames evenly over its clips.

    Args:
        store: The set.
        manifest: Its manifest.
        path: The picture (PNG); the corpus is added to its name where there are several.

    Returns:
        The pictures.
    """
    corpora = sorted({count.corpus for count in manifest.subjects.values()})
    made = []
    for corpus in corpora:
        target = path if len(corpora) == 1 else path.with_name(f"{path.stem}-{corpus}{path.suffix}")
        subjects = sorted(name for name, count in manifest.subjects.items() if count.corpus == corpus)
        chosen = sorted(rng(0, "sheet", corpus).permutation(subjects)[:SUBJECTS].tolist())
        _draw(corpus, [(name, list(_frames(store, manifest, name))) for name in chosen], manifest.aus, target)
        made.append(target)
    return made


def _frames(store: Store, manifest: Manifest, subject: str) -> Iterator[tuple[Clip, int]]:
    """Yield clips and places in them, evenly over those of a subject."""
    groups = [
        (shard, index, group.clips)
        for shard in manifest.shards
        for index, group in enumerate(shard.row_groups)
        if group.subject == subject
    ]
    total = sum(clips for *_, clips in groups) * manifest.clip_frames
    wanted = [int((k + 0.5) * total / FRAMES) for k in range(min(FRAMES, total))]
    before = 0
    for shard, index, clips in groups:
        here = [frame - before for frame in wanted if before <= frame < before + clips * manifest.clip_frames]
        if here:
            content = list(read_clips(store, shard, index, len(manifest.aus)))
            for frame in here:
                clip, place = divmod(frame, manifest.clip_frames)
                yield content[clip], place
        before += clips * manifest.clip_frames


def _draw(corpus: str, rows: list[tuple[str, list[tuple[Clip, int]]]], aus: tuple[int, ...], path: Path) -> None:
    lines = 3 if aus else 1
    height, width = TILE + lines * LINE + GAP, TILE + GAP
    sheet = Image.new("RGB", (FRAMES * width + GAP, len(rows) * (height + LINE) + LINE + 2 * GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    about = "; action units that occur, with :intensity where known; ? is unknown" if aus else ""
    pen.text((GAP, GAP // 2), f"{corpus}: frame number{about}", INK, font)
    for row, (subject, frames) in enumerate(rows):
        top = LINE + 2 * GAP + row * (height + LINE)
        pen.text((GAP, top - 2), subject, INK, font)
        for column, (clip, place) in enumerate(frames):
            left = GAP + column * width
            pixels = simplejpeg.decode_jpeg(clip.jpeg_T[place], colorspace="RGB")
            sheet.paste(Image.fromarray(pixels).resize((TILE, TILE)), (left, top + LINE))
            texts = [f"{int(clip.number_T[place])}", *_labels(clip, place, aus)]
            for line, text in enumerate(texts[:lines]):
                colour = SOFT if line == 0 else INK
                pen.text((left, top + LINE + TILE + line * LINE), text, colour, font)
    save_picture(sheet, path)


def _labels(clip: Clip, place: int, aus: tuple[int, ...]) -> list[str]:
    """Return two lines of what is known of a frame; units that are known nowhere in the clip are left out."""
    if not aus:
        return []
    if not clip.valid_TA[place].any():
        return ["?", ""]
    present = []
    for column, au in enumerate(aus):
        if clip.y_TA[place, column]:
            level = clip.intensity_TA[place, column]
            present.append(f"{au}" if np.isnan(level) else f"{au}:{level:g}")
        elif not clip.valid_TA[place, column] and clip.valid_TA[:, column].any():
            present.append(f"{au}?")
    if not present:
        return ["none", ""]
    half = (len(present) + 1) // 2 if len(", ".join(present)) > 18 else len(present)
    return [", ".join(present[:half]), ", ".join(present[half:])]
