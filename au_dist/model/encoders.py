"""Image encoders: pixels to a grid of tokens. Normalisation never mixes samples, so N workers equal one."""

from copy import deepcopy
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from au_dist.config.sections import OURS, PACKAGE, TIMM, TORCHVISION, Model
from au_dist.core.colours import MEAN_C, STD_C
from au_dist.core.errors import CheckpointError
from au_dist.model import lite0, mini_xception
from au_dist.model.encoder import STAGES, Encoder, Rows
from au_dist.model.lora import adapt
from au_dist.model.timm_encoder import PREFIX, Timm
from au_dist.model.torchvision_encoders import torchvision_encoder

#: What names of an encoder's weights begin with in a checkpoint.
OWN = "network.encoder."


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


class _Recoloured(Rows):
    """A row of modules that were trained on colours of their own."""

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return tokens [B, S, C]."""
        mean, std = (torch.tensor(values, device=x_BCHW.device)[:, None, None] for values in (MEAN_C, STD_C))
        seen_BCHW = self.seen(x_BCHW * std + mean).to(x_BCHW.dtype)
        return super().forward(seen_BCHW.contiguous(memory_format=torch.channels_last))

    def seen(self, colour_BCHW: torch.Tensor) -> torch.Tensor:
        """Return colours from 0 to 1 as the network was trained on them."""
        raise NotImplementedError


class _Lite0(_Recoloured):
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


class _MiniXception(_Recoloured):
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
    if config.lora:
        adapt(encoder, config.lora)
    return encoder.train()


def _whole(config: Model) -> Encoder:
    """Return an encoder with all of its stages; of weights by our names, those of fewer are enough."""
    if config.weights in (None, TIMM):
        return _fresh(config)
    if config.weights == PACKAGE:
        packaged = lite0.packaged() if config.encoder == "lite0" else _local(str(mini_xception.WEIGHTS))
        state = {f"rows.{name}": tensor for name, tensor in packaged.items()}
    else:
        state = _fetched(config.encoder) if config.weights == TORCHVISION else _local(config.weights)
    try:
        own = config.encoder in OURS or any(name.startswith(("body.", "rows.")) for name in state)
        if not own and not config.encoder.startswith(PREFIX):
            return torchvision_encoder(config.encoder, config.norm, config.drop_path, state)
        encoder = _fresh(config)
        if not own and isinstance(encoder, Timm):
            state = encoder.named(state)
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
    if config.encoder.startswith(PREFIX):
        return Timm(config.encoder.removeprefix(PREFIX), config.norm, config.drop_path, config.weights == TIMM)
    return torchvision_encoder(config.encoder, config.norm, config.drop_path)


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
