"""Wrong labels on purpose: as many as asked for, of the kind asked for, and the same on every machine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.config.sections import Labels
from au_dist.data.labels import known

UNITS = 3


def row(y_TA, valid_TA=None, subject="S1", first=0):
    y_TA = np.asarray(y_TA)
    valid_TA = np.ones_like(y_TA, bool) if valid_TA is None else np.asarray(valid_TA)
    return {
        "clip_id": f"corpus/{subject}/video/{first:06d}",
        "number": list(range(first, first + len(y_TA))),
        "label": y_TA.astype(int).ravel().tolist(),
        "valid": valid_TA.ravel().tolist(),
    }


def events(frames=60, begin=20, end=35):
    y_TA = np.zeros((frames, UNITS), int)
    y_TA[begin:end] = 1
    return y_TA


def labels_of(a_row, labels, columns=tuple(range(UNITS))):
    return known(a_row, list(columns), UNITS, labels)[0]


def borders(y_T):
    edges = np.flatnonzero(np.diff(y_T.astype(int), prepend=0, append=0))
    return edges.tolist()


def test_missed_positives_are_the_share_that_was_asked_for_and_nothing_else_changes():
    y_TA = np.random.default_rng(0).integers(0, 2, (4000, UNITS))
    spoilt = labels_of(row(y_TA), Labels(missed=0.3))
    assert not spoilt[y_TA == 0].any()
    assert abs((spoilt[y_TA == 1] == 0).mean() - 0.3) < 4 * (0.21 / y_TA.sum()) ** 0.5


def test_onsets_and_offsets_move_each_by_its_own_draw():
    moves = {"onset": set(), "offset": set()}
    for first in range(0, 4000, 60):
        for y_T in labels_of(row(events(), first=first), Labels(shifted=2)).T:
            begin, end = borders(y_T)
            moves["onset"].add(begin - 20)
            moves["offset"].add(end - 35)
    assert moves == {"onset": {-2, -1, 0, 1, 2}, "offset": {-2, -1, 0, 1, 2}}


def test_a_coder_is_the_same_in_all_clips_of_a_subject_and_another_in_others():
    found = {}
    for subject in range(40):
        clips = [
            labels_of(row(events(begin=20 + k), subject=f"S{subject}", first=60 * k), Labels(coder=3)) for k in range(5)
        ]
        for au in range(UNITS):
            longer = {(20 + k - borders(y_TA[:, au])[0], borders(y_TA[:, au])[1] - 35) for k, y_TA in enumerate(clips)}
            ((before, after),) = longer
            assert before == after
            found[subject, au] = before
    assert set(found.values()) == {-3, -2, -1, 0, 1, 2, 3}


@given(st.integers(0, 2**32), st.integers(0, 4), st.integers(0, 4))
def test_only_frames_near_a_change_move_and_the_unknown_and_the_ends_stay(seed, shifted, coder):
    random = np.random.default_rng(seed)
    y_TA = np.repeat(random.integers(0, 2, (8, UNITS)), 5, axis=0)
    valid_TA = random.random(y_TA.shape) < 0.9
    y_TA[~valid_TA] = 0
    spoilt = labels_of(row(y_TA, valid_TA), Labels(shifted=shifted, coder=coder, seed=seed))
    np.testing.assert_array_equal(spoilt[~valid_TA], y_TA[~valid_TA])
    for au in range(UNITS):
        known_T = np.flatnonzero(valid_TA[:, au])
        change_T = known_T[1:][np.diff(y_TA[known_T, au]) != 0]
        for frame in np.flatnonzero(spoilt[:, au] != y_TA[:, au]):
            # An event that vanishes takes all its frames with it.
            most = (1 if spoilt[frame, au] else 2) * (shifted + coder)
            assert np.abs(frame - change_T).min() <= most
    if not shifted + coder:
        np.testing.assert_array_equal(spoilt, y_TA)
    always = np.ones((10, UNITS), int)
    np.testing.assert_array_equal(labels_of(row(always), Labels(shifted=shifted, coder=coder)), always)


@pytest.mark.parametrize(
    "labels", [Labels(missed=0.4), Labels(shifted=3), Labels(coder=3), Labels(noise=0.3, missed=0.2)]
)
def test_a_units_errors_do_not_depend_on_which_others_are_asked_for(labels):
    a_row = row(np.repeat(np.random.default_rng(1).integers(0, 2, (20, UNITS)), 6, axis=0))
    together = labels_of(a_row, labels)
    assert (together != labels_of(a_row, Labels())).any()
    for au in range(UNITS):
        np.testing.assert_array_equal(labels_of(a_row, labels, [au])[:, 0], together[:, au])


def test_labels_of_validation_may_stay_clean():
    spoilt = Labels(noise=0.2, missed=0.1, shifted=1, coder=2, share=0.5, seed=3)
    assert spoilt.spoils
    assert spoilt.of_validation == spoilt
    clean = spoilt.model_copy(update={"validation": "clean"})
    assert not clean.of_validation.spoils
    assert (clean.of_validation.share, clean.of_validation.seed) == (0.5, 3)
