"""Released checkpoints of other projects, by their names of weights, as the network here.

Names and layers after the public code of ME-GraphAU and OpenGraphAU (Luo et al., IJCAI 2022) and of AUNCE (Shang et
al.); docs/published_weights.md says what is taken and what is not. Nothing in a file is ever run as a program.
"""

import argparse
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
from au_dist.corpora.list_names import HYBRID
from au_dist.runs.published_encoders import encoder_of
from au_dist.runs.published_names import Colour, Names, Published, Tensors, plain
from au_dist.runs.published_vit import fmae

Kind = Literal["me-graphau", "opengraphau", "aunce", "fmae"]

#: What a name begins with where the network was wrapped: by DataParallel, by AUNCE's linear evaluation.
WRAPPED = ("module.", "f.")

#: Layers of networks that have none here.
FOREIGN = {"edge": "the second stage of ME-GraphAU, with edges between action units"}


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
            # Trainers keep their arguments beside the weights: plain values in a class that runs nothing.
            with torch.serialization.safe_globals([argparse.Namespace]):
                found = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise CheckpointError(
            "This checkpoint cannot be read as tensors",
            where=path,
            found=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}",
            fix="A file that needs to be run as a program is never read: save its state_dict with torch.save, and "
            "import that.",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    named = found if isinstance(found, Mapping) else {}
    tensors = {name: value for name, value in named.items() if torch.is_tensor(value)}
    if not tensors:
        raise CheckpointError(
            "This checkpoint holds no weights by name",
            where=path,
            expected="a state_dict, or a dict with one as `state_dict` or `model`",
            found=type(found).__name__,
        )
    return tensors


def as_network(kind: Kind, tensors: Tensors, neighbors: int = 4) -> Published:
    """Return a released network as one of this project.

    Args:
        kind: What it was released as.
        tensors: The weights by their released names.
        neighbors: Edges that each action unit keeps in its relation graph, which no weight says.

    Raises:
        CheckpointError: Names or shapes are not those of such a network.
    """
    names = Names(_unwrapped(tensors))
    if kind == "fmae":
        return fmae(names)
    return _graph(kind, names, neighbors)


def _graph(kind: Kind, names: Names, neighbors: int) -> Published:
    """Return a network with branches and a relation graph."""
    for word, what in FOREIGN.items():
        if strange := [name for name in names.given if f".{word}" in name]:
            raise CheckpointError(
                f"This is {what}, which au-dist does not have",
                where=strange[0],
                expected="the first stage (node features alone)",
            )
    released = _RELEASED[kind]
    linears = released.linears
    num_aus = len({name.split(".")[2] for name in names.given if name.startswith(f"{linears}.")})
    if not num_aus:
        raise CheckpointError(f"This is no network of {kind}", expected=f"weights named {linears}.*", found=names.some)
    encoder = encoder_of(names, released.colours)
    shared = _linear_block(names, "global_linear")
    width, channels = shared["linear.weight"].shape
    resnet = encoder.name.startswith("resnet")
    right = channels // released.narrower[resnet]
    if width != right:
        raise CheckpointError(
            f"This is no network of {kind}: its shared layer is of another width",
            where="global_linear",
            expected=f"{right} of {channels} channels",
            found=width,
            fix="Was it released as something else (--as)?",
        )
    branches = [_linear_block(names, f"{linears}.{au}") for au in range(num_aus)]
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
        norm="frozen" if resnet else "group",
        shared_dim=width,
        embed_dim=width,
        bottleneck_channels=0,
        num_neighbors=neighbors,
    )
    heads, notes = released.heads(names, num_aus)
    weights |= {f"heads.{name}": tensor for name, tensor in heads.items()}
    notes.append(f"{neighbors} neighbours in the relation graph (--neighbors): no weight says how many.")
    return Published(model, 224, num_aus, released.aus, plain(weights), bool(heads), names.left, tuple(notes))


def _unwrapped(tensors: Tensors) -> Tensors:
    for prefix in WRAPPED:
        # AUNCE's linear evaluation keeps its classifiers beside the network.
        if any(name.startswith(f"{prefix}backbone.") for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


@dataclass(frozen=True)
class _Released:
    """How a project releases its networks.

    Attributes:
        linears: What the layers of one action unit each are called.
        heads: Takes the classifiers; also returns what a person should know.
        aus: Action units, where they do not depend on a corpus.
        colours: Mean and deviation that its inputs were centred by.
        narrower: How many times narrower than its encoder the shared layer is: of a Swin, of a ResNet.
    """

    linears: str
    heads: Callable[[Names, int], tuple[Tensors, list[str]]]
    aus: tuple[int, ...] = ()
    colours: tuple[Colour, Colour] = (MEAN_C, STD_C)
    narrower: tuple[int, int] = (2, 4)


def _norm(names: Names, place: str) -> Tensors:
    names.drop(rf"^{re.escape(place)}\.num_batches_tracked$")
    parts = {"weight": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}
    return {mine: names.take(f"{place}.{theirs}") for mine, theirs in parts.items()}


def _linear_block(names: Names, place: str) -> Tensors:
    """Return a linear layer and the normalisation after it; what the layer adds goes into the mean."""
    norm = _norm(names, f"{place}.bn")
    norm["mean"] = norm["mean"] - names.take(f"{place}.fc.bias")
    return {
        "linear.weight": names.take(f"{place}.fc.weight"),
        **{f"norm.{part}": value for part, value in norm.items()},
    }


def _cosine_heads(place: str) -> Callable[[Names, int], tuple[Tensors, list[str]]]:
    """Return what makes heads of class vectors, whose cosine with an embedding is called present from 0.5 on."""

    def heads(names: Names, num_aus: int) -> tuple[Tensors, list[str]]:
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


def _softmax_heads(names: Names, num_aus: int) -> tuple[Tensors, list[str]]:
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


_RELEASED: dict[str, _Released] = {
    "me-graphau": _Released("head.class_linears", _cosine_heads("head.sc")),
    "opengraphau": _Released(
        "head.main_class_linears", _cosine_heads("head.main_sc"), tuple(au for au in HYBRID if au is not None)
    ),
    # Centred by the statistics of CIFAR-10; the others by ImageNet's, as inputs are here.
    "aunce": _Released(
        "head.class_linears",
        _softmax_heads,
        colours=((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        narrower=(1, 1),
    ),
}
