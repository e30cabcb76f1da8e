"""One task where a worker would be: its answer, its error as it was raised, and an end of the wait."""

import operator
import time

import pytest

from au_dist.compat.ray_tasks import apart
from au_dist.core.errors import TrainError

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def refuse(words: str) -> None:
    raise TrainError(words, where="here", fix="Wait.")


def test_what_is_done_elsewhere_is_as_if_it_were_done_here(ray_here):
    assert apart(operator.add, (0.5, 0.0), 2, 3) == 5
    with pytest.raises(TrainError, match=r"^No clips") as caught:
        apart(refuse, (0.5, 0.0), "No clips")
    assert type(caught.value) is TrainError
    assert "Wait." in str(caught.value)


def test_a_wait_for_room_ends_when_it_is_asked_to(ray_here):
    waited = []

    def meanwhile(waited_s):
        waited.append(waited_s)
        if len(waited) == 2:
            raise TrainError("No longer")

    with pytest.raises(TrainError, match="No longer"):
        apart(time.sleep, (1000.0, 0.0), 0, meanwhile=meanwhile)
    assert 1 <= waited[0] < waited[1]
