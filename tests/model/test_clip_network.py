"""The network that reads clips looks back only, and learns at labelled frames only."""

import pytest
import torch

from au_dist.config.sections import Model
from au_dist.dist.world import World
from au_dist.methods.learners.intensity import IntensityTask
from au_dist.methods.learners.predictive import PredictiveTask
from au_dist.methods.predictive import Predictive
from au_dist.model.clip_network import ClipNetwork, IntensityHeads

ALONE = World(0, 1, torch.device("cpu"))
CONFIG = Model(embed_dim=8, bottleneck_channels=4, grid=2)


def frames(count=6, clips=2, seed=0):
    return torch.randn(clips * count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def regressor(**changes):
    torch.manual_seed(0)
    config = CONFIG.model_copy(update=changes)
    return IntensityTask(ClipNetwork(config, 32), config, 3, 6, ALONE)


@pytest.mark.parametrize("encoder", ["tiny", "resnet18", pytest.param("swin_t", marks=pytest.mark.slow)])
def test_shapes(encoder):
    network = ClipNetwork(CONFIG.model_copy(update={"encoder": encoder}), 64).eval()
    x_BCHW = torch.randn(6, 3, 64, 64)
    assert network.maps(x_BCHW).shape == (6, 8, 2, 2)
    assert network(x_BCHW, 3).shape == (2, 3, 8, 2, 2)


def test_the_map_is_the_encoders_where_nothing_is_said():
    network = ClipNetwork(CONFIG.model_copy(update={"grid": None}), 32)
    assert network.maps(frames()).shape == (12, 8, 4, 4)


@pytest.mark.parametrize("squeeze", [0, 4])
def test_a_frame_is_judged_by_itself_and_those_before_it(squeeze):
    module = regressor(squeeze=squeeze).eval()
    whole = module.intensities(frames(), 6).unflatten(0, (2, 6))
    changed = frames().unflatten(0, (2, 6)).clone()
    changed[:, 3:] = torch.randn_like(changed[:, 3:])
    other = module.intensities(changed.flatten(0, 1), 6).unflatten(0, (2, 6))
    torch.testing.assert_close(other[:, :3], whole[:, :3], rtol=1e-5, atol=1e-6)
    assert ((other - whole)[:, 3:].abs().amax(2) > 0).all()
    # What is remembered matters: the last frame alone is judged otherwise.
    alone = module.intensities(frames()[5:6], 1)
    assert (alone - whole[0, 5]).abs().max() > 1e-6
    # Other clips do not.
    torch.testing.assert_close(module.intensities(frames()[:6], 6), whole[0], rtol=1e-5, atol=1e-6)


def test_gradient_flows_back_in_time_from_labelled_frames_only():
    module = regressor().eval()  # normalisation by running statistics: frames do not meet there
    x = frames().requires_grad_()
    y_BA, valid_BA = torch.ones(12, 3), torch.zeros(12, 3, dtype=torch.bool)
    valid_BA[3, 1] = True
    module((x,), y_BA, valid_BA, 0).backward()
    reached = x.grad.abs().amax((1, 2, 3)) > 0
    assert reached.tolist() == [True] * 4 + [False] * 8


def test_unknown_intensities_do_not_matter():
    module = regressor()
    valid_BA = torch.rand(12, 3, generator=torch.Generator().manual_seed(1)) < 0.5
    y_BA = torch.rand(12, 3)
    other = torch.where(valid_BA, y_BA, torch.full_like(y_BA, float("nan")))
    torch.testing.assert_close(module((frames(),), other, valid_BA, 0), module((frames(),), y_BA, valid_BA, 0))
    nothing = module((frames(),), y_BA, torch.zeros_like(valid_BA), 0)
    nothing.backward()
    assert nothing == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in module.parameters())


def test_the_head_sees_places():
    head = IntensityHeads(CONFIG, 2, 3).eval()
    state = torch.randn(1, 8, 2, 2)
    assert not torch.allclose(head(state), head(state.flip(3)))


def test_blocks_are_means_of_their_frames_and_the_last_are_predicted():
    torch.manual_seed(0)
    module = PredictiveTask(ClipNetwork(CONFIG, 32), Predictive(blocks=3, frames=2, steps=1), ALONE).eval()
    found, true = module.pairs(frames())
    maps = module.network.maps(frames()).unflatten(0, (2, 3, 2)).mean(2)
    torch.testing.assert_close(true, maps[:, 2:].permute(0, 1, 3, 4, 2).reshape(-1, 8))
    changed = frames().unflatten(0, (2, 6)).clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(module.pairs(changed.flatten(0, 1))[0], found)
