"""Encoders of timm (`pip install au-dist[timm]`): ViT, DINOv2 and v3, EVA, ConvNeXt and hundreds more, by name."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from au_dist.core.colours import MEAN_C, STD_C
from au_dist.core.errors import CheckpointError, RecipeError
from au_dist.model.drop_path import DropPath
from au_dist.model.encoder import STAGES, Encoder

#: What names of encoders begin with that are timm's.
PREFIX = "timm/"


class Timm(Encoder):
    """A network of timm's without its classifier, at any size that it takes.

    Args:
        name: Its name in timm, with a pretraining after a point if weights are to be fetched.
        norm: ``frozen`` statistics, which a network with batch normalisation needs, or ``group`` for all others.
        drop_path: How often a sample goes round the last block while training.
        fetch: Fetch timm's weights.

    Raises:
        CheckpointError: timm is not installed, or the weights cannot be fetched.
        RecipeError: timm has no such network, it leaves out no layers, or it would normalise over the frames of one
            worker.
    """

    def __init__(self, name: str, norm: str, drop_path: float = 0.0, fetch: bool = False) -> None:
        super().__init__()
        self.body = _made(name, fetch, {"drop_path_rate": drop_path} if drop_path else {})
        _draw_here(self.body, name, drop_path)
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.body.modules()):
            if norm != "frozen":
                raise RecipeError(
                    "This network is normalised over the frames of a batch, which depend on the number of workers",
                    where=f"model.encoder: {PREFIX}{name}",
                    expected="model.norm: frozen, with weights",
                )
            from timm.layers.norm_act import freeze_batch_norm_2d

            self.body = freeze_batch_norm_2d(self.body)  # type: ignore[no-untyped-call]
        self.channels = self.body.num_features
        given = self.body.pretrained_cfg
        self._colours = [torch.tensor(values)[:, None, None] for values in (MEAN_C, STD_C, given["mean"], given["std"])]

    @property
    def recompute(self) -> bool:
        """Whether only what enters a block is kept for the backward pass (activation checkpointing)."""
        return bool(getattr(self.body, "grad_checkpointing", False))

    @recompute.setter
    def recompute(self, whether: bool) -> None:
        self.body.set_grad_checkpointing(whether)

    def named(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return weights by timm's names by those here, without the classifier's."""
        given = self.body.pretrained_cfg.get("classifier") or ()
        classifiers = tuple(f"{name}." for name in ((given,) if isinstance(given, str) else given))
        return {f"body.{name}": tensor for name, tensor in state.items() if not name.startswith(classifiers)}

    def stage_of(self) -> Iterator[tuple[nn.Parameter, int]]:
        """Yield each parameter and its stage: timm's own layers, dealt into as many as all encoders have."""
        from timm.models import group_parameters

        layers: dict[str, int] = group_parameters(self.body, self.body.group_matcher(coarse=False), reverse=True)
        count = max(layers.values()) + 1
        for name, parameter in self.body.named_parameters():
            yield parameter, layers[name] * STAGES // count

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return tokens [B, S, C]; those of no place (of a class, registers) are left out."""
        mean_C, std_C, theirs_C, span_C = (values.to(x_BCHW.device) for values in self._colours)
        seen_BCHW = ((x_BCHW * std_C + mean_C - theirs_C) / span_C).to(x_BCHW.dtype)
        try:
            token = self.body.forward_features(seen_BCHW)
        except AssertionError as error:
            raise RecipeError(
                "The encoder does not take an input of this size",
                where="data.size",
                expected=f"{self.body.pretrained_cfg['input_size'][1]}, or a size that this network takes",
                found=f"{x_BCHW.shape[2]}: {error}",
            ) from error
        if token.dim() == 3:
            return token[:, getattr(self.body, "num_prefix_tokens", 0) :]
        return token.flatten(1, 2) if token.shape[3] == self.channels else token.flatten(2).transpose(1, 2)


def _draw_here(body: nn.Module, name: str, drop_path: float) -> None:
    """Let samples go round layers that are drawn as workers need it, instead of by timm."""
    from timm.layers.drop import DropPath as Theirs

    found = [
        (parent, name, part)
        for parent in body.modules()
        for name, part in parent.named_children()
        if isinstance(part, Theirs)
    ]
    if drop_path and not found:
        raise _no_paths(name)
    for parent, name, part in found:
        # Some of timm's have it by default.
        setattr(parent, name, DropPath((part.drop_prob or 0.0) if drop_path else 0.0))


def _no_paths(name: str) -> RecipeError:
    return RecipeError(
        "This network has no layers that samples may go round",
        where=f"model.encoder: {PREFIX}{name}",
        expected="model.drop_path: 0",
    )


def _made(name: str, fetch: bool, more: dict[str, Any]) -> Any:
    try:
        import timm
    except ImportError as error:
        raise CheckpointError(
            "timm is not installed", where=f"model.encoder: {PREFIX}{name}", fix="pip install 'au-dist[timm]'"
        ) from error
    if not timm.is_model(name.partition(".")[0]):
        like = ", ".join(timm.list_models(f"*{name[:12]}*")[:4])
        raise RecipeError("timm has no such network", where="model.encoder", found=name, expected=like or None)
    try:
        try:
            return timm.create_model(name, pretrained=fetch, num_classes=0, dynamic_img_size=True, **more)
        except TypeError:  # only networks with a table of places know the word
            return timm.create_model(name, pretrained=fetch, num_classes=0, **more)
    except TypeError as error:
        if not more:
            raise
        raise _no_paths(name) from error
    except (OSError, RuntimeError) as error:  # no network, no such pretraining
        raise CheckpointError(
            "The weights cannot be fetched for timm",
            where=name,
            found=str(error).splitlines()[0][:200],
            fix="Fetch them where there is a network, and name the file in model.weights (safetensors).",
        ) from error
