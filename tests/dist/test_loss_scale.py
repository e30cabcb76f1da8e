"""The loss scale of fp16 halves with every update that is left out, and seeks a larger one after many good ones."""

from au_dist.dist.loss_scale import FIRST, LARGEST, PATIENCE, LossScale


def test_an_update_that_is_left_out_halves_it_and_is_none():
    scale = LossScale(good=5, applied=7)
    scale.note(False)
    assert scale == LossScale(FIRST / 2, good=0, applied=7)


def test_it_doubles_after_many_good_updates_in_a_row():
    scale = LossScale()
    for _ in range(PATIENCE - 1):
        scale.note(True)
    assert scale.size == FIRST
    scale.note(False)
    for _ in range(PATIENCE):
        assert scale.size == FIRST / 2
        scale.note(True)
    assert scale == LossScale(FIRST, good=0, applied=2 * PATIENCE - 1)


def test_it_has_a_largest():
    scale = LossScale(LARGEST, good=PATIENCE - 1)
    scale.note(True)
    assert scale.size == LARGEST
