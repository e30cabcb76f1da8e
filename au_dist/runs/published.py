"""Released checkpoints of other projects, by their names of weights, as the network here.

Names and layers after the public code of ME-GraphAU and OpenGraphAU (Luo et al., IJCAI 2022) and of AUNCE (Shang et
al.); docs/published_weights.md says what is taken and what is not. Nothing in a file is ever run as a program.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch

from au_dist.config.sections import Model
from au_dist.core.colours import MEAN_C, STD_C
from au_dist.core.errors import CheckpointError

Kind = Literal["me-graphau", "opengraphau", "aunce"]

#: Depths of a Swin's stages and channels of its first → its name.
SWINS: dict[tuple[tuple[int, ...], int], str] = {
    ((2, 2, 6, 2), 96): "swin_t",
    ((2, 2, 18, 2), 96): "swin_s",
    ((2, 2, 18, 2), 128): "swin_b",
}

#: Blocks of a ResNet's stages, and whether they have three convolutions → its name.
RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
}

#: Where torchvision's ResNet keeps what these names begin with.
RESNET_PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}

#: Colours that AUNCE was trained on (those of CIFAR-10); the others know ImageNet's, as networks here do.
AUNCE_MEAN_C, AUNCE_STD_C = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)

#: What a name begins with where the network was wrapped: by DataParallel, by AUNCE's linear evaluation.
WRAPPED = ("module.", "f.")

#: Layers of networks that have none here.
FOREIGN = {"edge": "the second stage of ME-GraphAU, with edges between action units"}

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Published:
    """A released network, as one of this project.

    Attributes:
        model: The model section that makes it.
        size: Side of its input in pixels.
        num_aus: Action units that it tells apart.
        weights: By the names of a detector here; without `heads.` where it has no classifier.
        calls: Whether it has one.
        left: Names of the file that were left out.
        notes: What a person should know, a sentence each.
    """

    model: Model
    size: int
    num_aus: int
    weights: Tensors
    calls: bool
    left: tuple[str, ...]
    notes: tuple[str, ...]


def read_published(path: Path) -> Tensors:
    """Return the tensors in a file, by the names in it.

    Args:
        path: A `.pth` or `.pt` of PyTorch, or safetensors.

    Raises:
        CheckpointError: It is not there, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise CheckpointError("There is no such checkpoint", where=path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise CheckpointError(
            "This checkpoint cannot be read as tensors",
            where=path,
            found=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            fix="A file that needs to be run as a program is never read: save its state_dict with torch.save, and "
            "import that.",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {name: value for name, value in found.items() if torch.is_tensor(value)} if _is_map(found) else {}
    if not tensors:
        raise CheckpointError(
            "This checkpoint holds no weights by name",
            where=path,
            expected="a state_dict, or a dict with one as `state_dict` or `model`",
            found=type(found).__name__,
        )
    return tensors


def _is_map(found: object) -> bool:
    return isinstance(found, Mapping)


def as_network(kind: Kind, tensors: Tensors, neighbors: int = 4) -> Published:
    """Return a released network as one of this project.

    Args:
        kind: What it was released as.
        tensors: The weights by their released names.
        neighbors: Edges that each action unit keeps in its relation graph, which no weight says.

    Raises:
        CheckpointError: Names or shapes are not those of such a network.
    """
    names = _Names(_unwrapped(tensors))
    for word, what in FOREIGN.items():
        if strange := [name for name in names.given if f".{word}" in name]:
            raise CheckpointError(
                f"This is {what}, which au-dist does not have",
                where=strange[0],
                expected="the first stage (node features alone)",
            )
    linears = "head.main_class_linears" if kind == "opengraphau" else "head.class_linears"
    num_aus = len({name.split(".")[2] for name in names.given if name.startswith(f"{linears}.")})
    if not num_aus:
        raise CheckpointError(f"This is no network of {kind}", expected=f"weights named {linears}.*", found=names.some)
    encoder = _encoder(names, kind)
    shared = _linear_block(names, "global_linear")
    branches = [_linear_block(names, f"{linears}.{au}") for au in range(num_aus)]
    width = len(branches[0]["linear.weight"])
    weights = {
        **{f"network.encoder.{name}": tensor for name, tensor in encoder.weights.items()},
        **{f"network.shared.{name}": tensor for name, tensor in shared.items()},
        "network.branches.weight": torch.cat([branch["linear.weight"] for branch in branches]),
        **{
            f"network.norm.{part}": torch.cat([branch[f"norm.{part}"] for branch in branches])
            for part in ("weight", "bias", "mean", "variance")
        },
        **{f"network.relations.mix.{part}": names.take(f"head.gnn.V.{part}") for part in ("weight", "bias")},
        **{f"network.relations.keep.{part}": names.take(f"head.gnn.U.{part}") for part in ("weight", "bias")},
        **{f"network.relations.norm.{name}": tensor for name, tensor in _norm(names, "head.gnn.bnv").items()},
    }
    model = Model(
        encoder=encoder.name,
        norm="frozen" if encoder.name.startswith("resnet") else "group",
        shared_dim=len(shared["linear.weight"]),
        embed_dim=width,
        bottleneck_channels=0,
        num_neighbors=neighbors,
    )
    heads, notes = _HEADS[kind](names, num_aus)
    weights |= {f"heads.{name}": tensor for name, tensor in heads.items()}
    weights = {
        name: tensor.float().contiguous() if tensor.is_floating_point() else tensor for name, tensor in weights.items()
    }
    return Published(model, 224, num_aus, weights, bool(heads), names.left, tuple(notes))


class _Names:
    """Weights by name, of which it is known which were taken."""

    def __init__(self, tensors: Tensors) -> None:
        self.given, self._taken = tensors, set[str]()

    def take(self, name: str) -> torch.Tensor:
        if name not in self.given:
            raise CheckpointError("A weight is not in the checkpoint", where=name, found=self.some)
        self._taken.add(name)
        return self.given[name]

    def drop(self, pattern: str) -> None:
        """Count as taken what a network computes for itself."""
        self._taken |= {name for name in self.given if re.search(pattern, name)}

    @property
    def left(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.given) - self._taken))

    @property
    def some(self) -> str:
        return f"{len(self.given)} weights, e.g. {', '.join(list(self.given)[:3])}"


def _unwrapped(tensors: Tensors) -> Tensors:
    for prefix in WRAPPED:
        # AUNCE's linear evaluation keeps its classifiers beside the network.
        if any(name.startswith(f"{prefix}backbone.") for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


@dataclass(frozen=True)
class _Found:
    name: Any
    weights: Tensors


def _encoder(names: _Names, kind: Kind) -> _Found:
    if "backbone.patch_embed.proj.weight" in names.given:
        return _swin(names, kind)
    if "backbone.layer1.0.conv1.weight" in names.given:
        return _resnet(names)
    raise CheckpointError(
        "The encoder in this checkpoint is not known", expected="a Swin or a ResNet below `backbone.`", found=names.some
    )


def _swin(names: _Names, kind: Kind) -> _Found:
    depths = tuple(_count(names, rf"backbone\.layers\.{stage}\.blocks\.(\d+)\.") for stage in range(4))
    channels = len(names.given["backbone.patch_embed.proj.weight"])
    name = SWINS.get((depths, channels))
    if name is None:
        raise CheckpointError(
            "This Swin is of no known size",
            expected="a tiny, small or base one",
            found=f"{depths}, {channels} channels",
        )
    names.drop(r"attn_mask$")
    found = {}
    for there in [key for key in names.given if key.startswith("backbone.") and not key.endswith("attn_mask")]:
        if (here := _swin_place(there.removeprefix("backbone."))) is not None:
            tensor = names.take(there)
            found[here] = tensor.flatten() if there.endswith("relative_position_index") else tensor
    if kind == "aunce":
        # Colours were centred otherwise: the first layer, which has no border, can do it.
        mean_C, std_C, theirs_C, span_C = (torch.tensor(c) for c in (MEAN_C, STD_C, AUNCE_MEAN_C, AUNCE_STD_C))
        weight = found["body.0.0.0.weight"].double()
        shift_C = (mean_C - theirs_C).double() / span_C
        found["body.0.0.0.bias"] = found["body.0.0.0.bias"] + torch.einsum("ocij,c->o", weight, shift_C)
        found["body.0.0.0.weight"] = weight * (std_C / span_C)[:, None, None]
    return _Found(name, found)


#: Names of the published Swin → names below torchvision's `features`; 2i + 1 is stage i, 2i + 2 the merging after it.
_SWIN_PLACES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"patch_embed\.proj\.(\w+)", lambda m: f"0.0.{m[1]}"),
    (r"patch_embed\.norm\.(\w+)", lambda m: f"0.2.{m[1]}"),
    (r"layers\.(\d)\.blocks\.(\d+)\.mlp\.fc1\.(\w+)", lambda m: f"{2 * int(m[1]) + 1}.{m[2]}.mlp.0.{m[3]}"),
    (r"layers\.(\d)\.blocks\.(\d+)\.mlp\.fc2\.(\w+)", lambda m: f"{2 * int(m[1]) + 1}.{m[2]}.mlp.3.{m[3]}"),
    (r"layers\.(\d)\.blocks\.(\d+)\.(attn\..+|norm[12]\.\w+)", lambda m: f"{2 * int(m[1]) + 1}.{m[2]}.{m[3]}"),
    (r"layers\.(\d)\.downsample\.(.+)", lambda m: f"{2 * int(m[1]) + 2}.{m[2]}"),
)


def _swin_place(name: str) -> str | None:
    """Return where a weight of the published Swin belongs in an encoder here; None where it has no place."""
    if last := re.fullmatch(r"norm\.(\w+)", name):
        return f"body.1.{last[1]}"
    for pattern, place in _SWIN_PLACES:
        if match := re.fullmatch(pattern, name):
            return f"body.0.{place(match)}"
    return None


def _resnet(names: _Names) -> _Found:
    blocks = tuple(_count(names, rf"backbone\.layer{stage}\.(\d+)\.") for stage in range(1, 5))
    name = RESNETS.get((blocks, "backbone.layer1.0.conv3.weight" in names.given))
    if name is None:
        raise CheckpointError(
            "This ResNet is of no known size", expected="18, 50 or 101 layers", found=f"blocks {blocks}"
        )
    names.drop(r"num_batches_tracked$")
    found = {}
    for there in names.given:
        first, _, rest = there.removeprefix("backbone.").partition(".")
        if there.startswith("backbone.") and first in RESNET_PLACES and not there.endswith("num_batches_tracked"):
            found[f"body.{RESNET_PLACES[first]}.{rest}"] = names.take(there)
    return _Found(name, found)


def _count(names: _Names, pattern: str) -> int:
    return len({match[1] for name in names.given if (match := re.match(pattern, name))})


def _norm(names: _Names, place: str) -> Tensors:
    names.drop(rf"^{re.escape(place)}\.num_batches_tracked$")
    parts = {"weight": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}
    return {mine: names.take(f"{place}.{theirs}") for mine, theirs in parts.items()}


def _linear_block(names: _Names, place: str) -> Tensors:
    """Return a linear layer and the normalisation after it; what the layer adds goes into the mean."""
    norm = _norm(names, f"{place}.bn")
    norm["mean"] = norm["mean"] - names.take(f"{place}.fc.bias")
    return {
        "linear.weight": names.take(f"{place}.fc.weight"),
        **{f"norm.{part}": value for part, value in norm.items()},
    }


def _cosine_heads(place: str) -> Callable[[_Names, int], tuple[Tensors, list[str]]]:
    """Return what makes heads of class vectors, whose cosine with an embedding is called present from 0.5 on."""

    def heads(names: _Names, num_aus: int) -> tuple[Tensors, list[str]]:
        names.drop(r"^head\.sub_sc$")
        class_AD = torch.nn.functional.normalize(names.take(place).float().relu(), dim=-1)
        notes = [
            "Its scores were cosines; here they are sigmoids of 4 (cosine - 0.5): the same calls and ranks, next to "
            "the threshold also the same numbers."
        ]
        if "head.sub_sc" in names.given:
            notes.append("Its 14 classifiers of one side of the face are left out: au-dist has no sides.")
        bias_A = torch.full((num_aus,), -2.0)
        return {"weight_AD": 4 * class_AD / class_AD.shape[1] ** 0.5, "bias_A": bias_A}, notes

    return heads


def _softmax_heads(names: _Names, num_aus: int) -> tuple[Tensors, list[str]]:
    """Return heads of AUNCE's pairs of logits, the first of which is for presence; none of a pretraining."""
    names.drop(r"^head\.sc$")
    place = next((one for one in ("full_connect.fc", "fc") if f"{one}.0.0.weight" in names.given), None)
    if place is None:
        return {}, ["It is a pretraining: embeddings without a classifier. Train a task from it (init)."]
    rows = []
    for au in range(num_aus):
        weight, bias = names.take(f"{place}.{au}.0.weight").double(), names.take(f"{place}.{au}.0.bias").double()
        if f"{place}.{au}.1.weight" in names.given:  # two layers with nothing between them
            after = names.take(f"{place}.{au}.1.weight").double()
            bias = after @ bias + names.take(f"{place}.{au}.1.bias").double()
            weight = after @ weight
        rows.append((weight[0] - weight[1], bias[0] - bias[1]))
    weight_AD = torch.stack([weight for weight, _ in rows])
    return {"weight_AD": weight_AD / weight_AD.shape[1] ** 0.5, "bias_A": torch.stack([bias for _, bias in rows])}, []


_HEADS: dict[str, Callable[[_Names, int], tuple[Tensors, list[str]]]] = {
    "me-graphau": _cosine_heads("head.sc"),
    "opengraphau": _cosine_heads("head.main_sc"),
    "aunce": _softmax_heads,
}
