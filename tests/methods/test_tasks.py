"""Losses and gradients are the same on one and on several workers, through the DeepSpeed engine."""

import pytest
import torch
from spawn import spawn
from task_jobs import AUS, CLIPS, FRAMES, PREDICTIONS, SIZE, gradients, module_of

from au_dist.config.sections import Model
from au_dist.dist.world import World
from au_dist.methods.learners.aunce import AunceLoss
from au_dist.methods.learners.detection import DetectionTask
from au_dist.model.network import AUNetwork

PER_AU, PER_ANCHOR = "corrected/mixed/action_unit", "corrected/mixed/anchor"
REMEMBERED = "corrected/mixed/anchor/memory"
KINDS = [
    PER_AU,
    PER_ANCHOR,
    REMEMBERED,
    "corrected/highest/action_unit",
    "released/mean/action_unit",
    "released/view/action_unit",
    "detect",
    "joint",
    "predict",
    "predict the motion",
    "regress",
]
TWO = [(kind, 0) for kind in KINDS] + [
    (kind, stage) for kind in (PER_ANCHOR, "joint", "predict") for stage in (1, 2, 3)
]


@pytest.fixture(scope="module")
def alone():
    return dict(zip(KINDS, spawn(1, gradients, [(kind, 0) for kind in KINDS])[0], strict=True))


@pytest.fixture(scope="module")
def together():
    """On two workers: case -> what each rank found."""
    return dict(zip(TWO, zip(*spawn(2, gradients, TWO), strict=True), strict=True))


@pytest.fixture(scope="module")
def low():
    """In bf16, (kind, stage) -> what was found."""
    cases = [(kind, stage) for kind in (PER_AU, "detect", "predict", "regress") for stage in (0, 3)]
    return dict(zip(cases, spawn(1, gradients, [(*case, "bf16") for case in cases])[0], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("case", TWO)
def test_two_workers_equal_one(alone, together, case):
    check(alone[case[0]], together[case])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [PER_AU, "detect", "predict", "regress"])
def test_bf16_is_near_fp32_and_weights_stay_whole(alone, low, kind):
    for stage in (0, 3):
        found = low[kind, stage]
        assert found["loss"] == pytest.approx(alone[kind]["loss"], rel=0.03)
        assert found["loss"] != alone[kind]["loss"]
        assert all(grad.dtype == torch.float32 for grad in found["grads"].values())
        exact, rough = (
            torch.cat([grads[name].flatten() for name in alone[kind]["grads"]])
            for grads in (alone[kind]["grads"], found["grads"])
        )
        assert torch.cosine_similarity(exact, rough, dim=0) > 0.8


@pytest.mark.slow
def test_four_workers_equal_one(alone):
    found = spawn(4, gradients, [(PER_AU, 0), (PER_ANCHOR, 0)])
    check(alone[PER_AU], [rank[0] for rank in found])
    check(alone[PER_ANCHOR], [rank[1] for rank in found])
    assert alone[PER_AU]["loss"] != alone[PER_ANCHOR]["loss"]
    assert alone[REMEMBERED]["loss"] > alone[PER_ANCHOR]["loss"]  # more negatives


def check(alone, together):
    assert len(alone["grads"]) > 10
    for found in together:
        assert found["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        for name, expected in alone["grads"].items():
            torch.testing.assert_close(found["grads"][name], expected, rtol=1e-3, atol=1e-6, msg=name)


def test_a_frozen_network_that_settles_keeps_its_statistics_while_it_is_not_training():
    network = AUNetwork(Model(embed_dim=8, bottleneck_channels=4, num_neighbors=2), 3, 16)
    module = DetectionTask(network, True, torch.ones(3), World(0, 1, torch.device("cpu")), bn_warmup=30)
    inputs = ((torch.randn(8, 3, 16, 16),), torch.zeros(8, 3), torch.ones(8, 3, dtype=torch.bool), 0)
    module.eval()
    before = network.norm.variance.clone()
    module(*inputs)
    torch.testing.assert_close(network.norm.variance, before, rtol=0, atol=0)
    module.train()
    module(*inputs)
    assert (network.norm.variance != before).any()


def test_two_views_weigh_as_one_and_the_contrast_is_added():
    world = World(0, 1, torch.device("cpu"))
    plain, joint = module_of("detect", world), module_of("joint", world)
    generator = torch.Generator().manual_seed(2)
    one, two = (torch.randn(CLIPS, 3, SIZE, SIZE, generator=generator) for _ in range(2))
    y_BA, valid_BA = (torch.rand(2, CLIPS, AUS, generator=generator) < 0.6).unbind()
    with torch.no_grad():
        twice = plain((one, one), y_BA.float(), valid_BA, 3)
        torch.testing.assert_close(twice, plain((one,), y_BA.float(), valid_BA, 3))
        both = plain((one, two), y_BA.float(), valid_BA, 3)
        z_MAD = joint.network(torch.cat([one, two])).float()
        contrast = joint.contrast(z_MAD, y_BA.float(), valid_BA, 3)
        assert contrast > 0.1
        torch.testing.assert_close(joint((one, two), y_BA.float(), valid_BA, 3), both + 0.7 * contrast)
    assert {*plain.state_dict()} == {*joint.state_dict()}


@pytest.mark.parametrize("kind", [*PREDICTIONS, "regress", "detect", "joint", PER_AU])
def test_a_clip_without_a_known_label_is_as_if_it_were_not_there(kind):
    """What stands for a clip that does not decode: a grey picture, nothing of which is known."""
    world = World(0, 1, torch.device("cpu"))
    module = module_of(kind, world).eval()
    each = FRAMES if kind in (*PREDICTIONS, "regress") else 1
    generator = torch.Generator().manual_seed(2)
    views = [torch.randn(CLIPS * each, 3, SIZE, SIZE, generator=generator) for _ in range(2)]
    y_BA = (torch.rand(CLIPS * each, AUS, generator=generator) < 0.5).float()
    valid_BA = torch.ones_like(y_BA, dtype=torch.bool)
    gone = slice(3 * each, 4 * each)
    left = [index for index in range(CLIPS * each) if not gone.start <= index < gone.stop]
    for loss in (part for part in module.modules() if isinstance(part, AunceLoss)):
        # Kinds are drawn by place: one kind for all keeps them.
        loss.config = loss.config.model_copy(update={"positive_weights": (0, 1, 0, 0), "draw": "action_unit"})
    without = module(tuple(view[left] for view in views), y_BA[left], valid_BA[left], 7)
    valid_BA[gone] = False
    masked = module(tuple(view * valid_BA[:, :1, None, None] for view in views), y_BA, valid_BA, 7)
    torch.testing.assert_close(masked, without, rtol=1e-5, atol=1e-6)
    nothing = module(tuple(views), y_BA, torch.zeros_like(valid_BA), 7)
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
