"""Tracks over made detections: gaps, crossings, cuts, smoothing; and that following is a stream."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from video_files import scene, synthetic_faces

from au_dist.video.faces import Face
from au_dist.video.tracks import follow, is_cut, likeness, match, overlap, sample_picture, smooth

POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def face(x: float, y: float = 0.0, side: float = 40.0, confidence: float = 0.9) -> Face:
    box = np.array([x, y, x + side, y + side], np.float32)
    return Face(box, (POINTS * side + [x, y]).astype(np.float32), confidence)


def run(frames, cuts=(), **options):
    return list(follow(((faces, i in cuts) for i, faces in enumerate(frames)), **options))


def numbers(result):
    return [[sighting.track for sighting in sightings] for sightings in result]


def test_overlap_and_likeness():
    assert overlap(face(0).box_4, face(20).box_4) == pytest.approx(1 / 3)
    assert overlap(face(0).box_4, face(100).box_4) == 0
    assert likeness(face(0), face(18)) > 0
    assert likeness(face(0), face(60)) == 0
    assert likeness(face(0), face(0, side=90)) == 0
    assert likeness(face(0), face(2)) > likeness(face(0), face(8))


def test_match_takes_the_likeliest_pairs_first():
    assert match([face(0), face(30)], [face(28), face(5), face(300)]) == {0: 1, 1: 0}


def test_a_short_gap_is_filled_and_says_so():
    result = run([[face(0)], [], [], [face(9)], [face(12)]], max_gap=2)
    assert numbers(result) == [[0]] * 5
    assert [sightings[0].success for sightings in result] == [True, False, False, True, True]
    assert [sightings[0].face.confidence for sightings in result] == [0.9, 0.0, 0.0, 0.9, 0.9]
    np.testing.assert_allclose([sightings[0].face.box_4[0] for sightings in result], [0, 3, 6, 9, 12], atol=1e-5)
    np.testing.assert_allclose(result[1][0].face.landmarks_52, face(3).landmarks_52, atol=1e-4)


def test_a_long_gap_ends_the_track():
    assert numbers(run([[face(0)], [], [], [face(0)]], max_gap=1)) == [[0], [], [], [1]]


def test_nothing_is_made_up_before_the_first_or_after_the_last_detection():
    assert numbers(run([[], [face(0)], [], []], max_gap=5)) == [[], [0], [], []]


def test_a_cut_ends_all_tracks():
    frames = [[face(0), face(100)], [face(0), face(100)], [face(0)]]
    assert numbers(run(frames)) == [[0, 1], [0, 1], [0]]
    assert numbers(run(frames, cuts={2})) == [[0, 1], [0, 1], [2]]
    # Nor is a gap filled over a cut.
    assert numbers(run([[face(0)], [], [face(0)]], cuts={1})) == [[0], [], [1]]


def test_faces_that_pass_keep_their_numbers():
    frames = [[face(10 * i, 0), face(200 - 10 * i, 60)] for i in range(20)]
    result = run([faces if i % 2 else faces[::-1] for i, faces in enumerate(frames)])
    rows = {sighting.track: [] for sighting in result[0]}
    for sightings in result:
        for sighting in sightings:
            rows[sighting.track].append(float(sighting.face.box_4[1]))
    assert sorted(map(tuple, rows.values())) == [(0.0,) * 20, (60.0,) * 20]


def test_at_most_so_many_faces_the_larger_first():
    frames = [[face(0, side=30), face(100, side=60), face(300, side=45)]] * 3
    for most, sides in ((1, [60.0]), (2, [60.0, 45.0]), (0, [60.0, 45.0, 30.0])):
        result = run(frames, max_faces=most)
        assert [sighting.face.side for sighting in result[2]] == sides


def test_smoothing_keeps_straight_lines_and_calms_noise():
    straight = run([[face(3.0 * i)] for i in range(9)], half_window=2)
    for i, sightings in enumerate(straight):
        np.testing.assert_allclose(sightings[0].face.landmarks_52, face(3.0 * i).landmarks_52, atol=1e-4)
    noise = np.random.default_rng(0).normal(0, 1, 200)
    rough, calm = (run([[face(x)] for x in noise], half_window=half) for half in (0, 2))
    spread = [np.std([sightings[0].face.landmarks_52[0, 0] for sightings in result]) for result in (rough, calm)]
    assert spread[1] < 0.6 * spread[0]


def test_smooth_weights():
    np.testing.assert_allclose(smooth([np.array([0.0]), np.array([4.0]), np.array([0.0])]), [2.0])


@given(
    st.lists(st.lists(st.sampled_from([0.0, 50.0, 100.0]), unique=True, max_size=3), max_size=30),
    st.integers(0, 4),
    st.integers(0, 3),
)
def test_every_detection_comes_out_once_and_late_by_the_same(places, max_gap, half_window):
    taken = 0

    def detections():
        nonlocal taken
        for xs in places:
            taken += 1
            yield [face(x) for x in xs], False

    out = []
    for sightings in follow(detections(), max_gap=max_gap, half_window=half_window):
        out.append(sightings)
        assert taken == min(len(out) + max_gap + half_window, len(places))
    assert len(out) == len(places)
    for xs, sightings in zip(places, out, strict=True):
        assert sorted(float(s.face.box_4[0]) for s in sightings if s.success) == sorted(xs)
        assert len({s.track for s in sightings}) == len(sightings)
    for track in {s.track for sightings in out for s in sightings}:
        at = [i for i, sightings in enumerate(out) if track in {s.track for s in sightings}]
        assert at == list(range(at[0], at[-1] + 1))


def test_cuts_are_told_from_movement_and_light():
    random = np.random.default_rng(0)
    x = np.linspace(0, 255, 256)
    one = np.broadcast_to(x[None, :, None], (144, 256, 3)).astype(np.uint8)
    moved = np.roll(one, 40, axis=1)
    lighter = np.clip(one.astype(int) + 12, 0, 255).astype(np.uint8)
    other = random.integers(0, 60, (144, 256, 3)).astype(np.uint8)
    samples = [sample_picture(picture) for picture in (one, moved, lighter, other)]
    assert [is_cut(samples[0], sample) for sample in samples] == [False, False, False, True]
    assert is_cut(samples[0], sample_picture(one[:20]))


def lit(picture, light, random=None):
    """A picture at a share of its light, with a camera's noise."""
    noise = 0 if random is None else random.normal(0, 1.5, picture.shape)
    return np.clip(np.rint(picture * light + noise), 0, 255).astype(np.uint8)


def room(seed, height=180, width=320):
    """A drawn room: patches of grey, large and small, in front of a dark wall."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 40.0)
    for size in [60] * 6 + [25] * 20:
        y, x = random.integers(0, height - size), random.integers(0, width - size)
        picture[y : y + size, x : x + size] = random.integers(20, 255)
    return picture


def cuts(pictures):
    samples = [sample_picture(picture) for picture in pictures]
    return [at for at in range(1, len(samples)) if is_cut(samples[at - 1], samples[at])]


LIGHT = [1.0, 0.3, 0.1, 0.05]


@pytest.mark.parametrize("light", LIGHT)
def test_plain_cuts_are_seen_in_any_light(light):
    random = np.random.default_rng(1)
    film = [lit(room(seed), light, random) for seed in range(12) for _ in range(3)]
    assert cuts(film) == list(range(3, 36, 3))


@pytest.mark.parametrize("light", LIGHT[:3])
def test_from_one_face_to_another_before_the_same_wall_is_a_cut(light):
    random = np.random.default_rng(1)
    one, two = (synthetic_faces(subject, 6) for subject in (0, 3))
    film = [lit(scene([(crop, 60, 20, 1.6)]), light, random) for crop in one]
    film += [lit(scene([(crop, 200, 90, 1.0)]), light, random) for crop in two]
    assert cuts(film) == [6]


@pytest.mark.parametrize("light", LIGHT)
@pytest.mark.parametrize("step", [12, *(pytest.param(step, marks=pytest.mark.slow) for step in (3, 30))])
def test_a_face_that_moves_is_no_cut(light, step):
    random = np.random.default_rng(2)
    places = [20 + abs((step * i) % 320 - 160) for i in range(24)]
    film = [
        lit(scene([(crop, left, 20, 1.5)]), light, random)
        for crop, left in zip(synthetic_faces(1, 6) * 4, places, strict=True)
    ]
    assert cuts(film) == []


@pytest.mark.parametrize("light", LIGHT)
def test_light_that_flickers_and_dims_is_no_cut(light):
    random = np.random.default_rng(3)
    film = [lit(room(5), light * share, random) for share in random.uniform(0.4, 1.0, 20)]
    film += [lit(room(5), light * (1 - i / 12), random) for i in range(12)]
    assert cuts(film) == []


@pytest.mark.parametrize("light", LIGHT)
def test_a_camera_that_swings_is_no_cut(light):
    random = np.random.default_rng(4)
    wide = room(6, width=1200)
    film = [lit(wide[:, 70 * i : 70 * i + 320], light, random) for i in range(12)]
    assert cuts(film) == []


def test_noise_in_the_dark_is_no_cut():
    random = np.random.default_rng(5)
    assert cuts([lit(np.full((180, 320, 3), level), 1, random) for level in (0, 2, 9, 9, 4, 0)]) == []


def test_what_hides_a_face_is_no_cut():
    wall = scene([]).astype(float) + np.linspace(0, 12, 384)[None, :, None]
    hidden = [wall + (scene([(crop, 100, 40, 1.0)]) - scene([]).astype(float)) for crop in synthetic_faces(0, 3)]
    assert cuts([lit(picture, 1.0) for picture in (*hidden, wall, wall, *hidden)]) == []
