"""Corpora as they are delivered, made of synthetic faces: layouts, names and oddities of the real ones.

python tests/corpora/corpus_trees.py disfa FOLDER [SUBJECTS] [FRAMES]
"""

import io
import sys
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from video_files import write_video

from au_dist.synthetic.clips import SynthSpec, synth_clips

WIDTH, HEIGHT, FACE = 240, 200, 150

DISFA_AUS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
BP4D_AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


@dataclass(frozen=True, eq=False)
class Person:
    """Pictures, uint8 [T, H, W, 3], and labels of one synthetic face."""

    scene_T: tuple[np.ndarray, ...]
    face_T: tuple[np.ndarray, ...]
    y_TA: np.ndarray
    level_TA: np.ndarray


@lru_cache(maxsize=16)
def person(index: int, frames: int, corpus: str = "BP4D") -> Person:
    """Return one person of those that a corpus's statistics make."""
    spec = SynthSpec(
        subjects=index + 1,
        videos_per_subject=1,
        frames_per_video=frames,
        clip_frames=frames,
        size=FACE,
        seed=5,
        statistics_corpus=corpus,
        stride=4,
        aus=BP4D_AUS if corpus == "BP4D" else (),
    )
    (clip,) = synth_clips(spec, subjects=[index])
    faces = tuple(simplejpeg.decode_jpeg(jpeg, colorspace="RGB") for jpeg in clip.jpeg_T)
    scenes = []
    for face in faces:
        scene = np.full((HEIGHT, WIDTH, 3), 150, np.uint8)
        top, left = (HEIGHT - FACE) // 2, (WIDTH - FACE) // 2
        scene[top : top + FACE, left : left + FACE] = face
        scenes.append(scene)
    return Person(tuple(scenes), faces, clip.y_TA, np.nan_to_num(clip.intensity_TA).round().astype(int))


def jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def film(path: Path, pictures: tuple[np.ndarray, ...], fps: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, pictures, [1000 * k // fps for k in range(len(pictures))])


def pairs(levels: np.ndarray, first: int = 1) -> str:
    return "".join(f"{first + k},{level}\n" for k, level in enumerate(levels))


def disfa(root: Path, subjects: tuple[str, ...] = ("SN001", "SN002", "SN010"), frames: int = 24) -> Path:
    """Videos of both cameras, one folder in the singular, one suffix in capitals, SN010 a row short."""
    for index, name in enumerate(subjects):
        who = person(index, frames, "DISFA_ge2_12au")
        suffix = "Comp" if index == 1 else "comp"
        film(root / "Videos_LeftCamera" / f"LeftVideo{name}_{suffix}.avi", who.scene_T, 20)
        film(root / "Video_RightCamera" / f"RightVideo{name}_comp.avi", who.scene_T[:4], 20)
        rows = frames - (name == "SN010")
        for column, au in enumerate(DISFA_AUS):
            label = pairs(who.level_TA[:rows, column])
            put(root / "ActionUnit_Labels" / name / f"{name}_au{au}.txt", label)
        put(root / "Landmark_Points" / name / "tmp_frame_lm" / f"{name}_0000_lm.mat", b"MATLAB")
    return root


def disfa_plus(root: Path, subjects: tuple[str, ...] = ("SN001", "SN003"), frames: int = 12) -> Path:
    """Pictures from 000.jpg, labels with two lines of header."""
    for index, name in enumerate(subjects):
        who = person(index, frames, "DISFA_ge2_12au")
        for trial in ("A1_AU1_TrailNo_1", "Y_HappyDescribed_TrailNo_1"):
            for k, scene in enumerate(who.scene_T):
                put(root / "DISFAPlusDataset" / "Images" / name / trial / f"{k:03d}.jpg", jpeg(scene))
            for column, au in enumerate(DISFA_AUS):
                rows = "".join(f"{k:03d}.jpg     {who.level_TA[k, column]}\n" for k in range(frames))
                folder = root / "DISFAPlusDataset" / "Labels" / name / trial
                put(folder / f"AU{au}.txt", f"#{name} {trial}\n#frame intensity\n{rows}")
    return root


def occurrence(who: Person, first: int, *, named: bool = False, unknown: tuple[int, int] | None = None) -> str:
    """The CSV of BP4D: 100 columns numbered from 0, or named columns in the order of BP4D+."""
    if named:
        others = (5, 9, 11, 13, 16, 18, 19, 20, 22, 27, 28, 29, 30, 31, 32, 33, 34, 36, 37, 38, 39)
        header = sorted({*BP4D_AUS, *others, 35})
    else:
        header = list(range(1, 100))
    lines = [",".join(["BP4D+" if named else "0", *(f"{'AU' if named else ''}{au}" for au in header)])]
    for k, row in enumerate(who.y_TA):
        codes = {au: int(y) for au, y in zip(BP4D_AUS, row, strict=True)}
        codes = {au: codes.get(au, 0 if au == 99 else 9) for au in header}
        if unknown == (k, 0):
            codes[BP4D_AUS[0]] = 9
        lines.append(",".join([str(first + k), *(str(codes[au]) for au in header)]))
    return "\n".join(lines) + "\n"


def bp4d(root: Path, frames: int = 20) -> Path:
    """Release A: mixed padding, labels of a part of the pictures, a code 9, intensities without header."""
    for index, (name, digits) in enumerate((("F001", 4), ("M009", 3))):
        who = person(index, frames)
        first = 51
        for k in range(-5, frames + 5):
            scene = who.scene_T[min(max(k, 0), frames - 1)]
            put(root / "Sequences(2D+3D)" / name / "T1" / f"{first + k:0{digits}d}.jpg", jpeg(scene))
        put(root / "Sequences(2D+3D)" / name / "T1" / "0051.mtl", "newmtl")
        put(root / "AUCoding" / "AU_OCC" / f"{name}_T1.csv", occurrence(who, first, unknown=(3, 0)))
        for au in (6, 10):
            levels = who.level_TA[:, BP4D_AUS.index(au)].copy()
            levels[0] = 9
            put(root / "AUCoding" / "AU_INT" / f"AU{au:02d}" / f"{name}_T1_AU{au:02d}.csv", pairs(levels, first))
    return root


def bp4d_videos(root: Path, frames: int = 20) -> Path:
    """Release B: videos named by a code; labels count decoded frames from 1, and cover a part."""
    who = person(0, frames)
    film(root / "2D" / "2F01_07.avi", who.scene_T, 25)
    put(root / "AU_OCC" / "F001_T3.csv", occurrence(Person((), (), who.y_TA[4:16], who.level_TA), 5))
    return root


def bp4d_plus(root: Path, frames: int = 12) -> Path:
    """A zip a subject, pictures from 000.jpg; named columns; tasks without codes."""
    for index, name in enumerate(("F001", "M002")):
        who = person(index, frames)
        path = root / "2D+3D" / f"{name}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for task in ("T1", "T2"):
                for k, scene in enumerate(who.scene_T):
                    archive.writestr(f"{name}/{task}/{k:03d}.jpg", jpeg(scene))
        put(root / "AUCoding" / "AU_OCC" / f"{name}_T1.csv", occurrence(who, 1, named=True))
    return root


def affwild2(root: Path, frames: int = 16) -> Path:
    """Crops with gaps, two people in one video, an invalid row."""
    aus = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)
    where = (("1-30", "Train_Set"), ("7_left", "Train_Set"), ("7_right", "Train_Set"), ("9", "Validation_Set"))
    for index, (name, part) in enumerate(where):
        who = person(index, frames)
        for k, face in enumerate(who.face_T):
            if k != 9:
                crop = np.asarray(Image.fromarray(face).resize((112, 112)))
                put(root / "cropped_aligned" / name / f"{k + 1:05d}.jpg", jpeg(crop))
        column = {au: who.y_TA[:, BP4D_AUS.index(au)] if au in BP4D_AUS else np.zeros(frames, int) for au in aus}
        rows = [",".join(str(-1 if k == 2 and au == 4 else int(column[au][k])) for au in aus) for k in range(frames + 1)
                if k < frames]  # fmt: skip
        text = ",".join(f"AU{au}" for au in aus) + "\n" + "\n".join(rows) + "\n"
        put(root / "Third ABAW Annotations" / "AU_Detection_Challenge" / part / f"{name}.txt", text)
        put(
            root / "Third ABAW Annotations" / "VA_Estimation_Challenge" / part / f"{name}.txt", "valence,arousal\n0,0\n"
        )
    film(root / "batch1" / "1-30.mp4", person(0, frames).scene_T, 20)
    return root


def gft(root: Path, frames: int = 16) -> Path:
    """Videos and tables as the shipped preset expects them."""
    aus = (1, 2, 4, 6, 10, 12, 14, 15, 23, 24)
    for index, name in enumerate(("001A", "001B")):
        who = person(index, frames)
        film(root / "videos" / f"{name}.mp4", who.scene_T, 30)
        rows = [
            ",".join("999" if k == 1 else str(who.y_TA[k, BP4D_AUS.index(au)]) for au in aus) for k in range(frames)
        ]
        put(root / "tables" / f"{name}_labels.csv", ",".join(f"AU{au}" for au in aus) + "\n" + "\n".join(rows) + "\n")
    return root


if __name__ == "__main__":
    kind, folder, *rest = sys.argv[1:]
    count, length = (int(rest[0]) if rest else 3), (int(rest[1]) if len(rest) > 1 else 40)
    if kind == "disfa":
        disfa(Path(folder), tuple(f"SN{k:03d}" for k in (1, 2, 10, 3, 4, 5, 6, 7, 8, 9)[:count]), length)
    else:
        {"bp4d": bp4d, "bp4d+": bp4d_plus, "disfa+": disfa_plus, "affwild2": affwild2, "gft": gft}[kind](Path(folder))
