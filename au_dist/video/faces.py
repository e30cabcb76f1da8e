"""Where the faces are in a frame: by a network, from a file, or the whole frame because it is a crop already.

A detector is a function from a :class:`~au_dist.video.video.Frame` to the faces in it, best first.
"""

import csv
import importlib
import importlib.util
import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from au_dist.core.errors import IngestError, RecipeError
from au_dist.core.words import first_few
from au_dist.video.orientation import AS_STORED, Orientation
from au_dist.video.pictures import note
from au_dist.video.video import Frame

DETECTORS = ("centerface", "landmarks", "none")

#: Points of the 68-point convention that become our five: the eyes' outlines, the tip of the nose, the mouth's corners.
EYE_A, EYE_B, NOSE, MOUTH_A, MOUTH_B = range(36, 42), range(42, 48), 30, 48, 54


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame, in pixels of the frame; pixel (0, 0) covers [0, 1) x [0, 1).

    Attributes:
        box_4: Left, top, right, bottom; float32.
        landmarks_52: x and y of the eye centres, the tip of the nose and the corners of the mouth, the ones on the
            left of an upright picture first; float32, NaN where there are none (detector ``none``).
        confidence: 0 to 1.
    """

    box_4: np.ndarray
    landmarks_52: np.ndarray
    confidence: float

    @property
    def side(self) -> float:
        """The longer side of the box in pixels."""
        return float(np.max(self.box_4[2:] - self.box_4[:2]))


Detector = Callable[[Frame], list[Face]]


def open_detector(
    name: str,
    *,
    landmarks: Path | None = None,
    min_confidence: float = 0.5,
    detect_side: int = 640,
    threads: int = 1,
    notes: list[str] | None = None,
) -> Detector:
    """Open a detector.

    Args:
        name: ``centerface``, ``landmarks``, ``none``, or for one of your own ``FILE.py:function`` or
            ``module:function`` (of an installed module); the function takes
            the options below as keywords and returns a detector.
        landmarks: The CSV file of the video, for ``landmarks``.
        min_confidence: Faces below this are left out.
        detect_side: Longest side, in pixels, at which a network looks at the frame.
        threads: Processor threads of a network.
        notes: Filled in place while it looks: what a person should know of landmarks of another program.

    Raises:
        RecipeError: The name is unknown, or ``landmarks`` is missing.
        IngestError: Weights are not installed, or the CSV file cannot be read.
    """
    if name == "none":
        return whole_frame
    if name == "landmarks":
        if landmarks is None:
            raise RecipeError(
                "The detector 'landmarks' needs to know where the landmarks are",
                where="detector",
                fix="Give --landmarks a CSV file, or a folder with one CSV file per video of the same name.",
            )
        return _from_table(read_landmarks(landmarks), min_confidence, notes)
    if name == "centerface":
        return _centerface(min_confidence, detect_side, threads)
    if ":" in name:
        options = {"landmarks": landmarks, "min_confidence": min_confidence}
        return _own(name)(**options, detect_side=detect_side, threads=threads)
    raise RecipeError(
        "There is no such face detector",
        where="detector",
        expected=f"one of {', '.join(DETECTORS)}, or FILE.py:function",
        found=repr(name),
    )


def whole_frame(frame: Frame) -> list[Face]:
    """The detector ``none``: the frame is a crop already."""
    height, width = frame.rgb_HWC.shape[:2]
    nowhere: np.ndarray = np.full((5, 2), np.nan, np.float32)
    return [Face(np.array([0, 0, width, height], np.float32), nowhere, 1.0)]


def _centerface(min_confidence: float, detect_side: int, threads: int) -> Detector:
    from au_dist.video.centerface import decode, network_input, open_network

    run = open_network(threads)

    def detect(frame: Frame) -> list[Face]:
        picture, ratio = network_input(frame.rgb_HWC, detect_side)
        heatmap, scale, offset, points = run(picture)
        decoded = decode(heatmap[0], scale[0], offset[0], points[0], min_confidence)
        return [
            Face((box * ratio).astype(np.float32), (points_52 * ratio).astype(np.float32), float(confidence))
            for box, points_52, confidence in zip(*decoded, strict=True)
        ]

    return detect


def _own(name: str) -> Callable[..., Detector]:
    module, _, function = name.rpartition(":")
    try:
        detector: Callable[..., Detector] = getattr(_loaded(module), function)
    except (OSError, ImportError, AttributeError, SyntaxError) as error:
        raise RecipeError(
            "The face detector of your own cannot be imported",
            where="detector",
            expected="FILE.py:function, or FILE.py:function of an installed module",
            found=f"{name!r}: {error}",
        ) from error
    return detector


def _loaded(name: str) -> types.ModuleType:
    """Import a module by its name, or from a file."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _from_table(table: dict[int, list[Face]], min_confidence: float, notes: list[str] | None) -> Detector:
    as_stored: bool | None = None

    def detect(frame: Frame) -> list[Face]:
        nonlocal as_stored
        if as_stored is None and frame.orientation != AS_STORED:
            as_stored, words = _of_stored_picture(table, frame.orientation)
            note(notes, words)
        height, width = frame.rgb_HWC.shape[:2]
        faces = table.get(frame.number, [])
        if as_stored:
            faces = [upright(face, frame.orientation, width, height) for face in faces]
        # Landmarks of another resolution or another video would otherwise become black crops.
        return [
            face
            for face in faces
            if face.confidence >= min_confidence
            and np.all(face.landmarks_52[:2].mean(0) >= 0)
            and np.all(face.landmarks_52[:2].mean(0) < (width, height))
        ]

    return detect


def _of_stored_picture(table: dict[int, list[Face]], orientation: Orientation) -> tuple[bool, str]:
    """Tell whether landmarks are those of the stored picture or of the upright one, by the mouths below the eyes.

    Programs differ: some read a video as it is stored, others turn it first.
    """
    faces = [face for faces in table.values() for face in faces]
    written = sum(_mouth_below(face.landmarks_52) for face in faces)
    turned = sum(_mouth_below(orientation.points(face.landmarks_52, 0, 0)) for face in faces)
    stored = turned >= written
    how = "the stored picture and turned with it" if stored else "the upright picture"
    if orientation.points(np.array([[0.0, 1.0]]), 0, 0)[0, 1] == 1.0:
        # Only left and right are exchanged, and a face has both alike.
        return True, f"the video is stored in a mirror: landmarks were taken as those of {how}"
    told = f"the mouth is below the eyes in {max(written, turned)} of {len(faces)} faces, otherwise in "
    return stored, f"the video is stored turned: landmarks were taken as those of {how} ({told}{min(written, turned)})"


def _mouth_below(points_52: np.ndarray) -> bool:
    x, y = points_52[3:].mean(0) - points_52[:2].mean(0)
    return bool(y > abs(x))


def brightest(rgb_HWC: np.ndarray, face: Face) -> float:
    """Return the level, 0 to 255, that the brightest twentieth of a face reaches; 255 for one outside the picture."""
    left, top, right, bottom = np.maximum(face.box_4.round(), 0).astype(int)
    step = max(1, int(face.side) // 32)
    pixels = rgb_HWC[top:bottom:step, left:right:step].mean(axis=2)
    return float(np.quantile(pixels, 0.95)) if pixels.size else 255.0


def upright(stored: Face, orientation: Orientation, width: int, height: int) -> Face:
    """Return a face of the stored picture as it is in the upright one, of that width and height."""
    if orientation == AS_STORED:
        return stored
    corners = orientation.points(stored.box_4.reshape(2, 2), width, height)
    # In a mirror, a right eye is a left one.
    points = stored.landmarks_52[[1, 0, 2, 4, 3]] if orientation.mirror else stored.landmarks_52
    box = np.concatenate([corners.min(0), corners.max(0)]).astype(np.float32)
    return Face(box, orientation.points(points, width, height).astype(np.float32), stored.confidence)


def read_landmarks(path: Path) -> dict[int, list[Face]]:
    """Read a CSV file of 68 landmarks per frame, columns named as OpenFace names them.

    Columns: ``frame`` (from 1; from 0 if some row says 0), ``x_0`` to ``x_67`` and ``y_0`` to ``y_67`` in pixels, and
    where present ``success`` (rows with 0 are no face) and ``confidence`` (1 when absent). Others are ignored; several
    rows of one frame are several faces. Spaces around names and values do not matter.

    Args:
        path: The file.

    Returns:
        Frame number from 0 → faces, most confident first.

    Raises:
        IngestError: The file is absent, lacks columns, or holds what is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, skipinitialspace=True)
            header = [name.strip() for name in next(rows, [])]
            column = {name: index for index, name in enumerate(header)}
            _check_columns(path, column)
            faces = [_face_of_row(path, line, row, column) for line, row in enumerate(rows, 2) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise IngestError("The landmarks cannot be read", where=path, expected="a CSV file", found=error) from error
    first = min((number for number, _ in faces), default=1)
    table: dict[int, list[Face]] = {}
    for number, face in faces:
        if face is not None:
            table.setdefault(number - min(first, 1), []).append(face)
    return {number: sorted(of_frame, key=lambda face: -face.confidence) for number, of_frame in table.items()}


def _check_columns(path: Path, column: dict[str, int]) -> None:
    needed = ["frame", *(f"{axis}_{point}" for axis in "xy" for point in (NOSE, *EYE_A, *EYE_B, MOUTH_A, MOUTH_B))]
    missing = [name for name in needed if name not in column]
    if missing:
        raise IngestError(
            "The landmarks lack columns",
            where=path,
            expected="frame, x_0 to x_67 and y_0 to y_67, as OpenFace names them",
            found=f"no {first_few(missing)}",
            fix="Write the file with OpenFace's option -2Dfp, or rename the columns.",
        )


def _face_of_row(path: Path, line: int, row: list[str], column: dict[str, int]) -> tuple[int, Face | None]:
    def value(name: str, default: float | None = None) -> float:
        if default is not None and name not in column:
            return default
        text = row[column[name]] if column[name] < len(row) else ""
        try:
            return float(text)
        except ValueError as error:
            raise IngestError(
                "A landmark is not a number", where=f"{path}, line {line}, column {name}", found=repr(text)
            ) from error

    number = value("frame")
    if not number.is_integer() or number < 0:
        raise IngestError("A frame number is not one", where=f"{path}, line {line}, column frame", found=number)
    if value("success", 1.0) == 0.0:
        return int(number), None
    known = [point for point in range(68) if f"x_{point}" in column and f"y_{point}" in column]
    at = {point: (value(f"x_{point}"), value(f"y_{point}")) for point in known}
    points = [np.mean([at[point] for point in eye], axis=0) for eye in (EYE_A, EYE_B)]
    landmarks = np.array([*points, at[NOSE], at[MOUTH_A], at[MOUTH_B]], np.float32)
    confidence = value("confidence", 1.0)
    if not np.isfinite(landmarks).all() or math.isnan(confidence):
        return int(number), None
    every = np.array(list(at.values()), np.float32)
    box = np.concatenate([every.min(0), every.max(0)])
    return int(number), Face(box, landmarks, min(max(confidence, 0.0), 1.0))
