"""Lists of pictures as research groups keep them; every picture is of a grey of its own, so that it is known again."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
from corpus_trees import jpeg, put
from PIL import Image

from au_dist.core.schema import Clip

BP4D = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA = (1, 2, 4, 6, 9, 12, 25, 26)


def grey(level: int) -> bytes:
    """A picture that is of one grey on average: one of a single grey would be refused."""
    halves = np.repeat([level - 4, level + 4], 12).astype(np.uint8)
    return jpeg(np.broadcast_to(halves[:, None, None], (24, 24, 3)))


def levels(clip: Clip) -> list[int]:
    """The greys of a clip's crops."""
    return [round(float(np.asarray(Image.open(BytesIO(crop))).mean())) for crop in clip.jpeg_T]


def lines(rows) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


def put_pair(folder: Path, name: str, labels: dict[str, list]) -> None:
    """Write a list of ME-GraphAU's naming, `*` standing for what it is of."""
    put(folder / name.replace("*", "img_path"), "".join(f"{path}\n" for path in labels))
    put(folder / name.replace("*", "label"), lines(labels.values()))


def put_json(path: Path, labels: dict[str, list[int]]) -> None:
    """Write a list of FMAE's form."""
    put(path, "".join(json.dumps({"img_path": picture, "AUs": aus}) + "\n" for picture, aus in labels.items()))


def bp4d_folds(root: Path, codes: dict[str, list[list]]) -> dict[str, list]:
    """Write three subjects' pictures 2440.jpg …, each subject tested in a fold of its own; return path → labels."""
    labels, paths = {}, {}
    for index, (subject, rows) in enumerate(codes.items()):
        for k, row in enumerate(rows):
            path = f"{subject}/T1/{2440 + k}.jpg"
            put(root / "img" / path, grey(40 * index + 5 * k + 10))
            labels[path] = row
            paths.setdefault(subject, []).append(path)
    for fold, subject in enumerate(codes, 1):
        tested = {path: labels[path] for path in paths[subject]}
        put_pair(root / "list", f"BP4D_test_*_fold{fold}.txt", tested)
        trained = {path: row for path, row in labels.items() if path not in tested}
        put_pair(root / "list", f"BP4D_train_*_fold{fold}.txt", trained)
    return labels
