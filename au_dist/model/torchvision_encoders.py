"""torchvision's networks without their classifiers, as encoders."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from au_dist.core.errors import RecipeError
from au_dist.model.drop_path import rising
from au_dist.model.encoder import Encoder, Rows, cut

State = dict[str, torch.Tensor]

#: What a vision transformer knows of the class and of places [1, S, C].
PLACES = "encoder.pos_embedding"


def torchvision_encoder(name: str, norm: str, drop_path: float = 0.0, state: State | None = None) -> Encoder:
    """Return a network of torchvision's as an encoder.

    Args:
        name: Its name in torchvision.
        norm: Normalisation of a ResNet, ``group`` or ``frozen``; the others have layer normalisation.
        drop_path: How often a sample goes round the last block while training; no ResNet has it.
        state: Weights by torchvision's names, those of the classifier of any size; random initialisation when None.

    Raises:
        RuntimeError: The weights do not fit.
    """
    from torchvision import models
    from torchvision.ops import FrozenBatchNorm2d

    build = getattr(models, name)
    if name.startswith("resnet"):
        # Never statistics of a rank's own batch: they would differ between worker counts.
        layers = {"group": lambda channels: nn.GroupNorm(32, channels), "frozen": FrozenBatchNorm2d}
        return ResNet(_loaded(build(norm_layer=layers[norm]), state, "fc."))
    network = build()
    _leave_out(network, drop_path)
    if name.startswith("swin"):
        return Swin(_loaded(network, state, "head."))
    if name.startswith("convnext"):
        return ConvNext(_loaded(network, state, "classifier.2."))
    if state is not None and (there := state.get(PLACES)) is not None:
        # Weights for pictures of another size know another grid of places.
        side = int((network.encoder.pos_embedding.shape[1] - 1) ** 0.5)
        state = {**state, PLACES: _stretched(there, side, side)}
    return Vit(_loaded(network, state, "heads."))


def _leave_out(network: Any, chance: float) -> None:
    """Let samples go round blocks: as often as is said, not as torchvision has it, and drawn as workers need it."""
    from torchvision.models.convnext import CNBlock
    from torchvision.models.swin_transformer import SwinTransformerBlock
    from torchvision.models.vision_transformer import EncoderBlock

    kinds = (CNBlock, SwinTransformerBlock, EncoderBlock)
    blocks: list[Any] = [part for part in network.modules() if isinstance(part, kinds)]
    for block, path in zip(blocks, rising(chance, len(blocks)), strict=True):
        if isinstance(block, EncoderBlock):
            block.dropout = block.mlp[-1] = path
        else:
            block.stochastic_depth = path


def _loaded(body: Any, state: State | None, classifier: str) -> Any:
    """Load weights; those of the classifier, which is thrown away, may be absent or of another size."""
    if state is not None:
        kept = {name: tensor for name, tensor in body.state_dict().items() if name.startswith(classifier)}
        given = {name: tensor for name, tensor in state.items() if not name.startswith(classifier)}
        body.load_state_dict({**kept, **given})
    return body


class ResNet(Encoder):
    """A ResNet of torchvision's: stride 32.

    Args:
        network: The network.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.channels = network.fc.in_features
        self.body = nn.Sequential(*list(network.children())[:-2])
        self._ends: tuple[int, ...] = (4, 5, 6, 7, 8)  # convolution to pooling, then one layer each

    def parts(self) -> list[nn.Module]:
        """Return the layers that lie between two reductions of the grid."""
        return cut([*self.body], self._ends)

    def keep(self, stages: int) -> None:
        """Throw away all stages but the first ones."""
        self._ends = self._ends[:stages]
        self.body = self.body[: self._ends[-1]]


class Swin(Encoder):
    """A Swin transformer of torchvision's: stride 32, tokens normalised.

    Args:
        network: The network.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.channels = network.head.in_features
        self.body = nn.Sequential(network.features, network.norm, network.permute)

    def parts(self) -> list[nn.Module]:
        """Return the layers that lie between two reductions of the grid."""
        # Patches, then blocks, each after the merging before it.
        features: Any = self.body[0]
        return cut([*features, *self.body[1:]], (1, 2, 4, 6, 10))


class ConvNext(Rows):
    """A ConvNeXt of torchvision's: stride 32; the normalisation of its classifier is applied to each token.

    Args:
        network: The network.
    """

    def __init__(self, network: Any) -> None:
        # Patches, then blocks, each after the reduction before it.
        super().__init__([*network.features, network.classifier[0]], (1, 2, 4, 6, 9))
        self.channels = network.classifier[2].in_features


class Vit(Rows):
    """A vision transformer of torchvision's at any size: what it knows of places is stretched over the grid.

    Args:
        network: The network.
    """

    def __init__(self, network: Any) -> None:
        rows = [_Patches(network), *network.encoder.layers, network.encoder.ln]
        # Patches, then the blocks in four parts.
        middle = (1 + (len(rows) - 2) * quarter // 4 for quarter in (1, 2, 3))
        super().__init__(rows, (1, *middle, len(rows)))
        self.channels = network.hidden_dim

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the last stage gives as tokens [B, S, C]; that of the class is left out."""
        return x[:, 1:]


class _Patches(nn.Module):
    """Pixels to tokens that know their places, that of the class first."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.projection, self.class_token = network.conv_proj, network.class_token
        self.position, self.drop = network.encoder.pos_embedding, network.encoder.dropout

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        side = self.projection.kernel_size[0]
        if x_BCHW.shape[2] % side or x_BCHW.shape[3] % side:
            raise RecipeError(
                "A vision transformer cuts its input into whole patches",
                where="data.size",
                expected=f"a multiple of {side}",
                found=x_BCHW.shape[2],
            )
        map_BCHW = self.projection(x_BCHW)
        token_BSC = torch.cat([self.class_token.expand(len(x_BCHW), -1, -1), map_BCHW.flatten(2).transpose(1, 2)], 1)
        return self.drop(token_BSC + _stretched(self.position, map_BCHW.shape[2], map_BCHW.shape[3]))


def _stretched(place_BSC: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return what is known of the class and of each place of another grid [1, S, C]."""
    side = int((place_BSC.shape[1] - 1) ** 0.5)
    if (height, width) == (side, side):
        return place_BSC
    grid_BCHW = place_BSC[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    grid_BCHW = F.interpolate(grid_BCHW, (height, width), mode="bicubic", align_corners=False)
    return torch.cat([place_BSC[:, :1], grid_BCHW.flatten(2).transpose(1, 2)], 1)
