"""Stochastic depth: as often as is said, for samples of a contrast set that no number of workers changes."""

import pytest
import torch
from pydantic import ValidationError

from au_dist.config.sections import Model
from au_dist.core.errors import RecipeError
from au_dist.data.order import lanes_of
from au_dist.dist.world import World
from au_dist.model.drop_path import DropPath, draw_alike
from au_dist.model.encoders import make_encoder


def test_samples_are_left_out_as_often_as_is_said_and_the_others_scaled():
    torch.manual_seed(0)
    layer = DropPath(0.3)
    x_BSC = torch.rand(10_000, 2, 3) + 1
    found_BSC = layer(x_BSC)
    left_B = (found_BSC == 0).all(2).all(1)
    assert left_B.float().mean() == pytest.approx(0.3, abs=0.02)
    torch.testing.assert_close(found_BSC[~left_B], x_BSC[~left_B] / 0.7)
    assert layer.eval()(x_BSC) is x_BSC
    assert DropPath(0.0)(x_BSC) is x_BSC


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_workers_draw_for_their_lanes_what_one_draws_for_all(views, size):
    lanes, each = 8, 3

    def draw(shape):
        return torch.arange(views * lanes * each).view(shape)

    whole = World(0, 1, torch.device("cpu")).own_rows(draw, views * lanes * each, views, lanes)
    assert whole.tolist() == list(range(views * lanes * each))
    by_lane = whole.view(views, lanes, each)
    for rank in range(size):
        world = World(rank, size, torch.device("cpu"))
        found = world.own_rows(draw, views * lanes * each // size, views, lanes)
        torch.testing.assert_close(found, by_lane[:, list(lanes_of(rank, size, lanes))].flatten())


@pytest.mark.parametrize(
    "name", ["swin_t", "convnext_tiny", "vit_b_16", "timm/vit_tiny_patch16_224", "timm/convnext_atto"]
)
def test_chances_rise_from_the_pixels_on_and_nothing_else_is_drawn(name):
    with torch.device("meta"):
        encoder = make_encoder(Model(encoder=name, drop_path=0.4).model_copy(update={"stages": 5}))
    chances = [part.chance for part in encoder.modules() if isinstance(part, DropPath)]
    assert chances == sorted(chances)
    assert (chances[0], chances[-1]) == (pytest.approx(0, abs=0.1), pytest.approx(0.4))
    others = [
        part for part in encoder.modules() if "Drop" in type(part).__name__ or "Stochastic" in type(part).__name__
    ]
    assert not [part for part in others if not isinstance(part, DropPath) and getattr(part, "p", 0)]


def test_without_it_training_and_evaluation_see_the_same():
    torch.manual_seed(0)
    encoder = make_encoder(Model(encoder="timm/vit_tiny_patch16_224"))
    x_BCHW = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder.train()(x_BCHW), encoder.eval()(x_BCHW), rtol=0, atol=0)


def test_what_timm_has_by_default_is_off_where_nothing_is_said():
    with torch.device("meta"):
        encoder = make_encoder(Model(encoder="timm/swin_tiny_patch4_window7_224"))
    assert {part.chance for part in encoder.modules() if isinstance(part, DropPath)} == {0.0}


def test_samples_go_round_layers_as_drawn():
    torch.manual_seed(0)
    encoder = make_encoder(Model(encoder="timm/vit_tiny_patch16_224", drop_path=0.5))
    x_BCHW = torch.randn(1, 3, 32, 32).expand(4, -1, -1, -1)
    draw_alike(encoder, lambda rows: torch.tensor([0.0, 1.0, 0.0, 1.0]))
    left, kept, *again = encoder.train()(x_BCHW)
    torch.testing.assert_close(left, again[0])
    torch.testing.assert_close(kept, again[1])
    assert (left - kept).abs().max() > 0.1


def test_what_has_no_blocks_to_go_round_is_refused():
    with pytest.raises(ValidationError, match="no sample can go round a block of the encoder `resnet18`"):
        Model(encoder="resnet18", drop_path=0.1)
    for name in ("timm/vgg11_bn", "timm/hrnet_w18_small"):
        with pytest.raises(RecipeError, match="no layers that samples may go round"), torch.device("meta"):
            make_encoder(Model(encoder=name, norm="frozen", drop_path=0.1))
