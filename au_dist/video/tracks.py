"""Which face of a frame is which face of the frames before: tracks, over short gaps but never over a cut.

Everything here works on detections, not on pixels (but for the small samples that show a cut), and as a stream:
:func:`follow` is a few frames late, because only a later detection can fill a gap.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from au_dist.video.faces import Face

#: A face may be the one of the frame before when their boxes overlap this much (IoU) ...
MIN_OVERLAP = 0.3
#: ... or their middles are this close, as a share of the mean side of the two boxes.
MAX_STEP = 0.5
#: And one is at most this many times as large as the other.
MAX_GROWTH = 2.0

#: Two neighbouring frames are a cut when they correlate less than this however one is moved over the other. In real
#: videos neighbours stay above 0.63 (a camera on a bicycle), and cuts below 0.49 (from one face of a group to another);
#: the same at a twentieth of the light.
CUT_ALIKE = 0.55
#: And when more than this share of what is not plain background has changed: what hides a face changes less.
CUT_CHANGED = 0.5
#: Above this without moving, they are not compared any further.
SURELY_ALIKE = 0.8
#: What is below so many of 255 levels may be noise.
NOISE = 0.5

#: A sample has at most so many rows and columns of cells, each the mean of 2 x 2 pixels.
SAMPLE_ROWS, SAMPLE_COLUMNS = 36, 64


@dataclass(frozen=True, eq=False)
class Sighting:
    """A face of one track in one frame.

    Attributes:
        track: Number of the track, counted from 0 in order of appearance.
        face: Where the face is; smoothed if that was asked for.
        success: Whether the detector saw it. Where not, the place is interpolated and the confidence is 0.
    """

    track: int
    face: Face
    success: bool


def overlap(one_4: np.ndarray, other_4: np.ndarray) -> float:
    """Return the intersection over union of two boxes (left, top, right, bottom)."""
    common = np.clip(np.minimum(one_4[2:], other_4[2:]) - np.maximum(one_4[:2], other_4[:2]), 0, None).prod()
    union = (one_4[2:] - one_4[:2]).prod() + (other_4[2:] - other_4[:2]).prod() - common
    return float(common / union) if union > 0 else 0.0


def likeness(before: Face, after: Face) -> float:
    """Return how likely two faces, a frame or a short gap apart, are one; 0 is never."""
    growth = after.side / before.side if before.side else np.inf
    if not 1 / MAX_GROWTH <= growth <= MAX_GROWTH:
        return 0.0
    step = np.linalg.norm((after.box_4 - before.box_4).reshape(2, 2).mean(0)) / ((before.side + after.side) / 2)
    shared = overlap(before.box_4, after.box_4)
    if shared < MIN_OVERLAP and step > MAX_STEP:
        return 0.0
    return shared + max(0.0, 1.0 - float(step))


def match(before: Sequence[Face], after: Sequence[Face]) -> dict[int, int]:
    """Pair the faces of two frames, the likeliest pairs first.

    Returns:
        Index in ``after`` → index in ``before``.
    """
    pairs = [(likeness(old, new), i, j) for i, old in enumerate(before) for j, new in enumerate(after)]
    taken: set[int] = set()
    matched: dict[int, int] = {}
    for score, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if score > 0 and i not in taken and j not in matched:
            taken.add(i)
            matched[j] = i
    return matched


def between(before: Face, after: Face, share: float) -> Face:
    """Return the face at ``share`` (0 to 1) of the way between two, with confidence 0: nobody saw it."""
    box = before.box_4 + np.float32(share) * (after.box_4 - before.box_4)
    landmarks = before.landmarks_52 + np.float32(share) * (after.landmarks_52 - before.landmarks_52)
    return Face(box, landmarks, 0.0)


def smooth(window: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of an odd number of arrays with triangular weights: 1 2 1, 1 2 3 2 1, ..."""
    half = len(window) // 2
    weights = [half + 1 - abs(i - half) for i in range(len(window))]
    return np.average(np.stack(window), axis=0, weights=weights).astype(np.float32)


def follow(
    detections: Iterable[tuple[Sequence[Face], bool]], *, max_gap: int = 5, half_window: int = 0, max_faces: int = 0
) -> Iterator[list[Sighting]]:
    """Join detections to tracks.

    A track that misses its face for up to ``max_gap`` frames and finds it again is interpolated there, linearly, with
    ``success`` false; after longer it has ended, and the face, should it return, starts another track. A track begins
    and ends with a detection.

    Args:
        detections: Per frame, its faces, and whether it is the first after a cut (all tracks end before it).
        max_gap: Longest gap in frames.
        half_window: Landmarks are averaged over this many frames on either side; fewer near the ends of a track,
            so that a moving face is never dragged.
        max_faces: At most this many tracks at a time, larger faces first to begin one; 0 for all.

    Yields:
        Per frame, its sightings by track number; ``max_gap + half_window`` frames after its detections were taken,
        which is also how many frames are held in memory.
    """
    known: dict[int, dict[int, Sighting]] = {}
    live: dict[int, int] = {}
    begun, index, delay = 0, -1, max_gap + half_window
    for index, (faces, cut) in enumerate(detections):
        live = {} if cut else {track: last for track, last in live.items() if index - last <= max_gap + 1}
        known[index] = {}
        tracks = list(live)
        joined = match([known[live[track]][track].face for track in tracks], faces)
        for j, i in joined.items():
            track, last = tracks[i], live[tracks[i]]
            for gap in range(last + 1, index):
                filled = between(known[last][track].face, faces[j], (gap - last) / (index - last))
                known[gap][track] = Sighting(track, filled, False)
            known[index][track] = Sighting(track, faces[j], True)
            live[track] = index
        for j in sorted(set(range(len(faces))) - set(joined), key=lambda j: -faces[j].side):
            if max_faces and len(live) >= max_faces:
                break
            known[index][begun] = Sighting(begun, faces[j], True)
            live[begun] = index
            begun += 1
        if index >= delay:
            yield _settled(known, index - delay, half_window)
            # The last frame a live track was seen in is still looked at: max_gap + 1 frames back.
            known.pop(index - delay - half_window - 1, None)
    for late in range(max(0, index - delay + 1), index + 1):
        yield _settled(known, late, half_window)


def _settled(known: dict[int, dict[int, Sighting]], index: int, half_window: int) -> list[Sighting]:
    return [_smoothed(known, index, track, half_window) for track in sorted(known[index])]


def _smoothed(known: dict[int, dict[int, Sighting]], index: int, track: int, half_window: int) -> Sighting:
    sighting = known[index][track]
    half = 0
    while half < half_window and all(track in known.get(index + side * (half + 1), {}) for side in (-1, 1)):
        half += 1
    if not half:
        return sighting
    window = [known[at][track].face.landmarks_52 for at in range(index - half, index + half + 1)]
    face = Face(sighting.face.box_4, smooth(window), sighting.face.confidence)
    return Sighting(track, face, sighting.success)


def sample_picture(rgb_HWC: np.ndarray) -> np.ndarray:
    """Return how bright up to 36 x 64 places of a frame are, for :func:`is_cut`; float32 (h, w), 0 to 255."""
    height, width = rgb_HWC.shape[:2]
    rows = np.linspace(0, height - 1, 2 * min(SAMPLE_ROWS, max(1, height // 2))).round().astype(np.intp)
    columns = np.linspace(0, width - 1, 2 * min(SAMPLE_COLUMNS, max(1, width // 2))).round().astype(np.intp)
    # In this order, since sums over the last axis, of three, are slow.
    pixels = rgb_HWC.take(rows, 0).take(columns, 1).astype(np.uint16)
    lines = pixels[0::2] + pixels[1::2]
    cells = lines[:, 0::2] + lines[:, 1::2]
    return (cells[..., 0] + cells[..., 1] + cells[..., 2]).astype(np.float32) / 12


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Say whether two samples of neighbouring frames are of different scenes.

    What counts is the pattern, not how bright it is: a correlation does not change with the light, nor with contrast.
    Movement, of the camera or of a face that fills the picture, is undone by moving one sample over the other. A plain
    picture, black for instance, says nothing: compare what comes after it with what was before it.
    """
    if before.shape != after.shape:
        return True
    if is_plain(before) or is_plain(after):
        return False
    one, other = before - before.mean(), after - after.mean()
    floor = NOISE**2 * one.size
    plain = (one * other).sum() / np.sqrt(((one**2).sum() + floor) * ((other**2).sum() + floor))
    if plain >= SURELY_ALIKE:
        return False
    something = _stands_out(before) | _stands_out(after)
    changed = np.abs(after - before)[something] > 2 * NOISE
    return bool(changed.mean() > CUT_CHANGED and _likest(one, other) < CUT_ALIKE)


def is_plain(sample: np.ndarray) -> bool:
    """Say whether a sample has nothing in it that is more than noise."""
    return bool(sample.std() < 2 * NOISE)


def _stands_out(sample: np.ndarray) -> np.ndarray:
    return np.abs(sample - np.median(sample)) > 2 * NOISE


def _likest(one: np.ndarray, other: np.ndarray) -> float:
    """Return the greatest correlation of two samples, one moved by up to a third of its height and width.

    All moves at once, by Fourier transforms of the samples with room for the moves.
    """
    height, width = one.shape
    room = (height + height // 3, width + width // 3)

    def correlate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product = np.fft.irfft2(np.fft.rfft2(a, room).conj() * np.fft.rfft2(b, room), room)
        y, x = height // 3, width // 3
        return product[np.ix_(range(-y, y + 1), range(-x, x + 1))]

    whole = np.ones_like(one)
    # Of each, only what lies over the other counts.
    energies = [correlate(one**2, whole), correlate(whole, other**2)]
    floor = NOISE**2 * correlate(whole, whole)
    shares = [np.maximum(energy, 0) + floor for energy in energies]
    return float((correlate(one, other) / np.sqrt(shares[0] * shares[1])).max())
