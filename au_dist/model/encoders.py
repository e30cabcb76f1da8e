"""Image encoders: pixels to a grid of tokens. Normalisation never mixes samples, so N workers equal one."""

from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from au_dist.config.sections import OURS, PACKAGE, TORCHVISION, Model
from au_dist.core.colours import MEAN_C, STD_C
from au_dist.core.errors import CheckpointError
from au_dist.model import lite0, mini_xception

#: Every encoder is a row of so many stages, the first one next to the pixels.
STAGES = 5

#: What names of an encoder's weights begin with in a checkpoint.
OWN = "network.encoder."


class Encoder(nn.Module):
    """A row of stages.

    Attributes:
        channels: Length C of a token.
        recompute: Whether only what enters a stage is kept for the backward pass (activation checkpointing).
    """

    channels: int
    recompute = False

    def parts(self) -> list[nn.Module]:
        """Return the stages."""
        raise NotImplementedError

    def keep(self, stages: int) -> None:
        """Throw away all stages but the first ones."""
        raise NotImplementedError

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return tokens [B, S, C]."""
        # What is evaluated is kept: by the time of its backward pass, layers may be in training mode again.
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        for part in self.parts():
            x_BCHW = checkpoint(part, x_BCHW, use_reentrant=False) if recompute else part(x_BCHW)
        return x_BCHW.flatten(2).transpose(1, 2)


def stages(module: nn.Module) -> dict[str, int]:
    """Return the parameters of the encoders in a module → their stage, 0 to `STAGES` - 1."""
    stage_of = {
        id(parameter): stage
        for encoder in module.modules()
        if isinstance(encoder, Encoder)
        for stage, part in enumerate(encoder.parts())
        for parameter in part.parameters()
    }
    return {name: stage_of[id(p)] for name, p in module.named_parameters() if id(p) in stage_of}


def recompute(module: nn.Module, whether: bool) -> None:
    """Say whether the encoders in a module compute a stage again in the backward pass."""
    for encoder in module.modules():
        if isinstance(encoder, Encoder):
            encoder.recompute = whether


class Tiny(Encoder):
    """A small residual network for CPUs: stride 8, 96 channels, group normalisation."""

    channels = 96

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 5, 2, 2, bias=False), nn.GroupNorm(4, 24), nn.ReLU())
        self.stages = nn.Sequential(_down(24, 48), _Residual(48), _down(48, 96), _Residual(96))

    def parts(self) -> list[nn.Module]:
        """Return the stem and the four that follow."""
        return [self.stem, *self.stages]

    def keep(self, stages: int) -> None:
        """Throw away all stages but the first ones."""
        self.stages = self.stages[: stages - 1]

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return tokens [B, S, C]."""
        return super().forward(x_BCHW.contiguous(memory_format=torch.channels_last))


def _down(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.GroupNorm(8, after), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.GroupNorm(8, channels),
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return torch.relu(x_BCHW + self.body(x_BCHW))


class _Torchvision(Encoder):
    """A torchvision network without its classifier.

    Args:
        name: Its name in torchvision.
        norm: Normalisation of a ResNet, ``group`` or ``frozen``; Swin has layer normalisation.
        state: Weights by torchvision's names; random initialisation when None.
    """

    def __init__(self, name: str, norm: str, state: dict[str, torch.Tensor] | None = None) -> None:
        super().__init__()
        from torchvision import models
        from torchvision.ops import FrozenBatchNorm2d

        build = getattr(models, name)
        if name.startswith("resnet"):
            # Never statistics of a rank's own batch: they would differ between worker counts.
            layers = {"group": lambda channels: nn.GroupNorm(32, channels), "frozen": FrozenBatchNorm2d}
            body = build(norm_layer=layers[norm])
            self.channels = body.fc.in_features
            _load(body, state, "fc.")
            self.body = nn.Sequential(*list(body.children())[:-2])
            self._ends: tuple[int, ...] = (4, 5, 6, 7, 8)  # convolution to pooling, then one layer each
        else:
            body = build()
            self.channels = body.head.in_features
            _load(body, state, "head.")
            self.body = nn.Sequential(body.features, body.norm, body.permute)
            self._ends = (1, 2, 4, 6, 10)  # patches, then blocks, each after the merging before it

    def parts(self) -> list[nn.Module]:
        """Return the layers that lie between two reductions of the grid."""
        rows = [*self.body[0], *self.body[1:]] if isinstance(self.body[0], nn.Sequential) else [*self.body]
        return [nn.Sequential(*rows[begin:end]) for begin, end in pairwise((0, *self._ends))]

    def keep(self, stages: int) -> None:
        """Throw away all stages of a ResNet but the first ones."""
        self._ends = self._ends[:stages]
        self.body = self.body[: self._ends[-1]]


class _Rows(Encoder):
    """A row of modules, cut into stages where they reduce the grid.

    Args:
        rows: The modules.
        ends: Where the stages end.
    """

    def __init__(self, rows: list[nn.Module], ends: tuple[int, ...]) -> None:
        super().__init__()
        self.rows, self._ends = nn.ModuleList(rows), ends

    def parts(self) -> list[nn.Module]:
        """Return the modules that lie between two reductions of the grid."""
        return [nn.Sequential(*self.rows[begin:end]) for begin, end in pairwise((0, *self._ends))]

    def keep(self, stages: int) -> None:
        """Throw away all stages but the first ones."""
        self._ends = self._ends[:stages]
        self.rows = self.rows[: self._ends[-1]]

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return tokens [B, S, C]."""
        mean, std = (torch.tensor(values, device=x_BCHW.device)[:, None, None] for values in (MEAN_C, STD_C))
        seen_BCHW = self.seen(x_BCHW * std + mean).to(x_BCHW.dtype)
        return super().forward(seen_BCHW.contiguous(memory_format=torch.channels_last))

    def seen(self, colour_BCHW: torch.Tensor) -> torch.Tensor:
        """Return colours from 0 to 1 as the network was trained on them."""
        raise NotImplementedError


class _Lite0(_Rows):
    """EfficientNet-Lite0 without its classifier: stride 32, 320 channels.

    Args:
        norm: ``group`` or ``frozen``.
    """

    channels = 320

    def __init__(self, norm: str) -> None:
        super().__init__(lite0.rows(norm), (2, 3, 4, 6, 8))

    def seen(self, colour_BCHW: torch.Tensor) -> torch.Tensor:
        """Return colours from 0 to 1 as the network was trained on them."""
        return (colour_BCHW - lite0.MIDDLE) / lite0.SPAN


class _MiniXception(_Rows):
    """The small Xception without its classifier: stride 16, 128 channels; it sees grey.

    Args:
        norm: ``group`` or ``frozen``.
    """

    channels = mini_xception.CHANNELS[-1]

    def __init__(self, norm: str) -> None:
        super().__init__(mini_xception.rows(norm), (1, 2, 3, 4, 5))

    def seen(self, colour_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the grey of colours from 0 to 1."""
        return mini_xception.grey(colour_BCHW)


def _load(body: nn.Module, state: dict[str, torch.Tensor] | None, classifier: str) -> None:
    """Load weights; those of the classifier, which is thrown away, may be absent or of another size."""
    if state is not None:
        kept = {name: tensor for name, tensor in body.state_dict().items() if name.startswith(classifier)}
        given = {name: tensor for name, tensor in state.items() if not name.startswith(classifier)}
        body.load_state_dict({**kept, **given})


def make_encoder(config: Model) -> Encoder:
    """Return an encoder with an attribute ``channels``.

    Args:
        config: The model section of the recipe.

    Raises:
        CheckpointError: The weights are absent, cannot be fetched or do not fit the encoder.
    """
    encoder = _whole(config)
    if config.stages < STAGES:
        encoder.keep(config.stages)
        with torch.no_grad():
            encoder.channels = encoder.eval()(torch.zeros(1, 3, 64, 64)).shape[2]
    return encoder.train()


def _whole(config: Model) -> Encoder:
    """Return an encoder with all of its stages; of weights by our names, those of fewer are enough."""
    if config.weights is None:
        return _fresh(config)
    if config.weights == PACKAGE:
        packaged = lite0.packaged() if config.encoder == "lite0" else _local(str(mini_xception.WEIGHTS))
        state = {f"rows.{name}": tensor for name, tensor in packaged.items()}
    else:
        state = _fetched(config.encoder) if config.weights == TORCHVISION else _local(config.weights)
    try:
        if config.encoder not in OURS and not any(name.startswith("body.") for name in state):
            return _Torchvision(config.encoder, config.norm, state)
        encoder = _fresh(config)
        used = deepcopy(encoder)
        if config.stages < STAGES:
            used.keep(config.stages)
        beyond = {name: tensor for name, tensor in encoder.state_dict().items() if name not in used.state_dict()}
        encoder.load_state_dict({**beyond, **state})
    except RuntimeError as error:
        mismatch = str(error).splitlines()[-1].strip()[:200]
        what = f"The weights do not fit the encoder `{config.encoder}`"
        raise CheckpointError(what, where=config.weights, found=mismatch) from error
    return encoder


def _fresh(config: Model) -> Encoder:
    match config.encoder:
        case "tiny":
            return Tiny()
        case "lite0":
            return _Lite0(config.norm)
        case "mini_xception":
            return _MiniXception(config.norm)
    return _Torchvision(config.encoder, config.norm)


def _local(path: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise CheckpointError("The encoder's weights are not there", where=path)
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise CheckpointError("The encoder's weights cannot be read", where=path, found=str(error)[:200]) from error
    # Of a whole model, its encoder.
    return {name.removeprefix(OWN): tensor for name, tensor in found.items() if name.startswith(OWN)} or found


def _fetched(name: str) -> dict[str, torch.Tensor]:
    """Return torchvision's weights, out of its cache or from its site; only when a recipe asks for it."""
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    try:
        # Never unpickled as a program; the hash is part of the file's name.
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as error:  # no network, another hash, a damaged file
        raise CheckpointError(
            "The weights cannot be fetched from torchvision",
            where=weights.url,
            found=error,
            fix="Fetch them where there is a network, and name the file in model.weights (safetensors).",
        ) from error
