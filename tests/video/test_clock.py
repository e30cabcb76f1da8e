"""Every frame keeps its place and gets a time, whatever its time stamp."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.video.clock import MOST_MOVED, MOST_WAITING, TimeCounts, in_order, rising


def told(stamps, fps=25.0):
    counts = TimeCounts()
    out = list(rising(((stamp, i) for i, stamp in enumerate(stamps)), 1 / fps, counts))
    assert [i for _, i in out] == list(range(len(stamps)))
    return [time for time, _ in out], counts.made_up


@pytest.mark.parametrize(
    ("stamps", "times", "made_up"),
    [
        ([5.0, 5.1, 5.1, 5.2], [0.0, 0.1, 0.15, 0.2], 1),
        ([0.0, 0.1, 0.05, 0.2], [0.0, 0.1, 0.15, 0.2], 1),
        ([None, None, None], [0.0, 0.04, 0.08], 3),
        ([1.0, None, 1.2], [0.0, 0.1, 0.2], 1),
        # Screen recorders: every stamp twice.
        ([0.0, 0.0, 0.08, 0.08, 0.16, 0.16], [0.0, 0.04, 0.08, 0.12, 0.16, 0.20], 3),
        # Two recordings put end to end: the clock starts again and goes on from there.
        ([0.0, 5.0, 0.0, 0.1], [0.0, 5.0, 5.04, 5.14], 1),
        # One stamp that is far off is no new clock.
        ([0.0, 0.1, -9.0, 0.3, 0.4], [0.0, 0.1, 0.2, 0.3, 0.4], 1),
        # Stamps that stop: on at the pace of before.
        ([0.0, 0.1, 0.2, 0.3, None, None], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5], 2),
    ],
)
def test_times_of_odd_stamps(stamps, times, made_up):
    got, counted = told(stamps)
    np.testing.assert_allclose(got, times, atol=1e-9)
    assert counted == made_up


def test_a_long_recording_after_a_longer_one_keeps_its_own_pace():
    first, second = [0.04 * i for i in range(100)], [0.1 * i for i in range(30)]
    got, made_up = told(first + second)
    np.testing.assert_allclose(np.diff(got), [0.04] * 100 + [0.1] * 29, atol=1e-9)
    assert made_up == 1


@given(st.lists(st.one_of(st.none(), st.floats(-1e3, 1e3, width=32)), max_size=60))
def test_every_frame_comes_out_in_place_and_later_than_the_one_before(stamps):
    got, made_up = told(stamps)
    assert all(before < after for before, after in pairwise(got))
    assert made_up <= len(stamps)
    assert not stamps or got[0] == 0.0


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=60))
def test_stamps_that_rise_are_kept(gaps):
    stamps = np.cumsum(gaps).tolist()
    got, made_up = told(stamps)
    np.testing.assert_allclose(got, np.array(stamps) - stamps[0], atol=1e-9)
    assert made_up == 0


def test_waiting_frames_are_few():
    taken = 0

    def stamps():
        nonlocal taken
        while taken < 100:
            taken += 1
            yield 0.0, taken

    for out, _ in enumerate(rising(stamps(), 0.04, TimeCounts()), 1):
        assert taken <= out + MOST_WAITING


@given(st.permutations(range(8)), st.integers(0, 40))
def test_stamps_in_the_order_of_decoding_are_put_in_that_of_showing(order, before):
    """Neighbours exchange their stamps: frames are right, stamps a permutation over a few frames."""
    stamps = [*range(before), *(before + i for i in order), *range(before + 8, before + 12)]
    counts = TimeCounts()
    out = list(in_order(((float(stamp), True, i) for i, stamp in enumerate(stamps)), counts))
    assert out == [(float(i), i) for i in range(len(stamps))]
    assert counts.sorted == sum(i != stamp for i, stamp in enumerate(stamps))
    # Where the container knows the order of showing, nothing is held and nothing changes.
    alone = [next(iter(in_order([(float(stamp), False, i)], counts))) for i, stamp in enumerate(stamps)]
    assert alone == [(float(stamp), i) for i, stamp in enumerate(stamps)]
    assert MOST_MOVED == 16
