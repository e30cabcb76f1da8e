"""One task where a worker would be: its answer, its error as it was raised, and an end of the wait."""

import pytest

from au_dist.compat.ray_tasks import apart
from au_dist.core.errors import RecipeError, TrainError
from au_dist.core.words import short
from au_dist.methods import method_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_what_is_done_elsewhere_is_as_if_it_were_done_here(ray_here):
    assert apart(short, (0.5, 0.0), 0.25) == "0.25"
    with pytest.raises(RecipeError, match=r"^There is no such method") as caught:
        apart(method_of, (0.5, 0.0), "nonsense")
    assert type(caught.value) is RecipeError
    assert "nonsense" in str(caught.value)


def test_a_wait_for_room_ends_when_it_is_asked_to(ray_here):
    waited = []

    def meanwhile(waited_s):
        waited.append(waited_s)
        if len(waited) == 2:
            raise TrainError("No longer")

    with pytest.raises(TrainError, match="No longer"):
        apart(short, (1000.0, 0.0), 0.25, meanwhile=meanwhile)
    assert 1 <= waited[0] < waited[1]
