"""The sections of a recipe that say what is read and what it goes through: data, labels, views, network, start."""

import re
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from au_dist.config.protocol import Protocol
from au_dist.config.section import NodeLabels, Section


class Views(Section):
    """How far the random views of a clip differ from it; crops move by what `data.size` leaves of the stored crop.

    Attributes:
        flip: Chance of mirroring.
        jitter: Chance of a change of colours at all.
        colour: Brightness, contrast and saturation are multiplied by 1 - colour to 1 + colour.
        hue: Hue is turned by at most this share of a full turn, either way.
        grey: Chance of losing colour.
        blur: Largest sigma of the blur in pixels.
        each_frame: Frames of a clip have colours of their own, as in dense predictive coding; they share all else.
    """

    flip: float = Field(0.5, ge=0, le=1)
    jitter: float = Field(0.8, ge=0, le=1)
    colour: float = Field(0.4, ge=0, lt=1)
    hue: float = Field(0.1, ge=0, le=0.5)
    grey: float = Field(0.2, ge=0, le=1)
    blur: float = Field(1.2, ge=0)
    each_frame: bool = False


class Labels(Section):
    """The label budget: which frames' labels may be used, to train and to choose; test subjects keep all of theirs.

    Attributes:
        share: Share of the frames, drawn by a hash of (seed, frame); a larger share holds every smaller one.
        noise: For experiments, share of the occurrence labels that are turned into their opposite.
        missed: For experiments, share of the frames in which an action unit occurs that say it does not.
        shifted: For experiments, each event begins and ends up to so many frames of its clip too early or too late;
            where it touches an end of the clip or the unknown, it stays there.
        coder: For experiments, each subject has one coder, to whom all events of an action unit are longer or shorter,
            by up to so many frames at either end, likewise.
        validation: Whether these errors are in the labels of validation subjects too, or those are ``clean``.
        seed: Seed of the drawings; independent of the run's seed.
    """

    share: float = Field(1.0, gt=0, le=1)
    noise: float = Field(0.0, ge=0, lt=0.5)
    missed: float = Field(0.0, ge=0, lt=1)
    shifted: int = Field(0, ge=0)
    coder: int = Field(0, ge=0)
    validation: Literal["spoilt", "clean"] = "spoilt"
    seed: int = Field(0, ge=0)

    @property
    def spoils(self) -> bool:
        """Whether some labels are wrong on purpose."""
        return bool(self.noise or self.missed or self.shifted or self.coder)

    @property
    def of_validation(self) -> "Labels":
        """The budget of validation subjects."""
        clean = {"noise": 0.0, "missed": 0.0, "shifted": 0, "coder": 0}
        return self if self.validation == "spoilt" else self.model_copy(update=clean)


#: Reading tasks of one worker at once: one reads while another's rows are used. They share `Data.cpus`.
READING_TASKS = 2


class Data(Section):
    """What is read of each clip.

    Attributes:
        protocol: Which subjects train, validate and test.
        aus: Action units to train on; all of the set when empty.
        labels: The label budget.
        balance: Clips are drawn the more often the rarer the action units in them are: the exponent of their repeat
            factor (`au_dist.data.label_counts`); 0 draws all alike.
        corpora: Corpus → its share of an epoch's draws, in any unit; as many as there are clips when empty. The corpus
            is the first part of a subject's name.
        frames_per_clip: Frames drawn from each clip and epoch (all: the clip's length). Spread over the clip, but for
            intensity in a row. Predictive coding takes `predictive.blocks` times `predictive.frames` instead.
        size: Side of the network's input in pixels.
        views: How far random views differ.
        lanes: Streams that an epoch is dealt into; worker counts must divide it, and it must divide the contrast set.
        shuffle_row_groups: Row groups that are shuffled together.
        prefetch: Blocks of clips that Ray Data reads ahead for each worker.
        cpus: CPU share that Ray Data may use for the reading of each worker.
        node_labels: Only nodes with all of these labels read, such as machines without a GPU; any when empty.
        memory: Share of the cluster's object store that the reading of all workers together may fill.
        decode: Where JPEGs are decoded: in the training ``worker``, in the reading ``tasks`` (machines without a GPU
            then work for those with one; pixels travel, about ten times the bytes), or on the worker's ``gpu``.
        unreadable: Share of the clips of the last 100 contrast sets that may be left out because they do not decode.
    """

    protocol: Protocol = Protocol()
    aus: tuple[int, ...] = ()
    labels: Labels = Labels()
    balance: float = Field(0.0, ge=0, le=2)
    corpora: dict[str, Annotated[float, Field(ge=0)]] = Field({})
    frames_per_clip: int = Field(1, ge=1)
    size: int = Field(56, ge=16)
    views: Views = Views()
    lanes: int = Field(8, ge=1)
    shuffle_row_groups: int = Field(8, ge=1)
    prefetch: int = Field(4, ge=1)
    cpus: float = Field(0.5, gt=0)
    node_labels: NodeLabels = Field({})
    memory: float = Field(0.3, gt=0, le=1)
    decode: Literal["worker", "tasks", "gpu"] = "worker"
    unreadable: float = Field(0.01, ge=0, lt=1)


#: `model.weights` that are fetched: the only ones, and only when a recipe says so. And those of an installed package.
TORCHVISION, TIMM, PACKAGE = "torchvision", "timm", "package"

#: Encoders that torchvision does not have, and those of them with weights in a package.
OURS, PACKAGED = ("tiny", "lite0", "mini_xception"), ("lite0", "mini_xception")

#: Encoders by name; those of timm's are called timm/NAME.
ENCODERS = (
    *OURS,
    *("resnet18", "resnet50", "resnet101"),
    *("swin_t", "swin_s", "swin_b"),
    *("convnext_tiny", "convnext_small", "convnext_base"),
    *("vit_b_16", "vit_l_16"),
)

#: `model.weights` that are no file.
NO_FILES = (TORCHVISION, TIMM, PACKAGE)


class Model(Section):
    """The network.

    Attributes:
        encoder: Image encoder: ``tiny`` for CPUs; for CPUs and pretrained ``lite0`` (EfficientNet-Lite0), which knows
            ImageNet, and ``mini_xception`` (for crops of some 64 px), which knows expressions; torchvision's
            ``resnet18``, ``resnet50``, ``resnet101``, ``swin_t``, ``swin_s``, ``swin_b``, ``convnext_tiny``,
            ``convnext_small``, ``convnext_base``, and, at any size that is a multiple of 16, ``vit_b_16`` and
            ``vit_l_16``; with the extra ``au-dist[timm]`` any of timm's, e.g. ``timm/vit_small_patch14_dinov2``.
        weights: File of encoder weights (safetensors, by the names of torchvision, of timm or of here; of a model's
            weights those of its encoder), ``torchvision`` or ``timm`` to fetch theirs, ``package`` for those of `lite0`
            in the extra ``au-dist[lite0]`` and of `mini_xception`, or None for random initialisation.
        stages: Stages of the encoder that are used, the first next to the pixels. Each of the later ones halves the
            grid: of small crops, fewer keep more of where something is. All of a Swin's and a ViT's are needed.
        norm: Normalisation of a ResNet, of `lite0` and `mini_xception`: ``group``, or ``frozen`` statistics, which
            pretrained weights bring and need, and networks of timm's with batch normalisation.
        lora: Rank of what is learnt beside each linear layer of the encoder, whose own weights stay as they are (LoRA);
            0 trains these.
        drop_path: How often a sample goes round the last block of the encoder while training, and the others the less
            often the nearer they are to the pixels (stochastic depth), of a Swin, a ConvNeXt, a ViT and timm's; the
            last block before `stages` takes any away.
        shared_dim: Channels of a layer that all branches share before they part, as in the published networks (of
            ME-GraphAU half of the encoder's, of AUNCE as many); 0 leaves it out.
        embed_dim: Length D of an action unit's embedding; in networks that read clips, channels of the map of a frame.
            0, for detection alone, leaves branches out: a linear layer an action unit reads the mean over the encoder's
            tokens, as in FMAE.
        bottleneck_channels: Channels that the branches see of each place on the face; 0 averages over places.
        num_neighbors: Edges each action unit keeps in the relation graph, itself included; 0 leaves the graph out.
        grid: Cells along each side of the map of a frame, in networks that read clips; as many as the encoder has when
            None. Fewer are cheaper, and see less.
    """

    encoder: str = "tiny"
    weights: str | None = None
    stages: int = Field(5, ge=1, le=5)
    norm: Literal["group", "frozen"] = "group"
    lora: int = Field(0, ge=0)
    drop_path: float = Field(0.0, ge=0, lt=1)
    shared_dim: int = Field(0, ge=0)
    embed_dim: int = Field(64, ge=0)
    bottleneck_channels: int = Field(24, ge=0)
    num_neighbors: int = Field(4, ge=0)
    grid: int | None = Field(None, ge=1)

    @field_validator("encoder")
    @classmethod
    def _is_an_encoder(cls, name: str) -> str:
        if name not in ENCODERS and not re.fullmatch(r"timm/[A-Za-z0-9_.]+", name):
            near = "".join(f"; did you mean `{one}`?" for one in get_close_matches(name, ENCODERS, 1))
            raise ValueError(f"there are {', '.join(ENCODERS)}, and timm/NAME of timm's{near}")
        return name

    @model_validator(mode="after")
    def _weights_fit(self) -> "Model":
        theirs = self.encoder.startswith("timm/")
        if self.weights == TORCHVISION and (theirs or self.encoder in OURS):
            raise ValueError(f"torchvision has no weights for the encoder `{self.encoder}`")
        if self.weights == TIMM and not theirs:
            raise ValueError(f"timm's weights are for its own encoders (timm/…), not for `{self.encoder}`")
        if self.weights == PACKAGE and self.encoder not in PACKAGED:
            raise ValueError(f"no package has weights for the encoder `{self.encoder}`, only for {', '.join(PACKAGED)}")
        if self.stages < 5 and self.encoder.startswith(("swin", "vit", "timm/")):
            raise ValueError(
                "the last layers of a Swin, a ViT or one of timm's belong to its last stage: set model.stages to 5"
            )
        if self.drop_path and not self.encoder.startswith(("swin", "convnext", "vit", "timm/")):
            raise ValueError(
                f"no sample can go round a block of the encoder `{self.encoder}`: set model.drop_path to 0"
            )
        if 0 < self.embed_dim < 4:
            raise ValueError("model.embed_dim must be 0, or 4 or more")
        if not self.embed_dim and (self.bottleneck_channels or self.num_neighbors or self.shared_dim):
            raise ValueError(
                "model.embed_dim: 0 leaves out branches and what belongs to them: set bottleneck_channels, "
                "num_neighbors and shared_dim to 0"
            )
        batch_normed = self.encoder.startswith("resnet") or self.encoder in PACKAGED
        if self.weights in NO_FILES and batch_normed and self.norm != "frozen":
            raise ValueError(f"the weights of `{self.encoder}` need their statistics: set model.norm to frozen")
        return self


class Init(Section):
    """Where the network's weights come from.

    Attributes:
        run: A run (its name below the same `runs`, or an address) or a pulled model folder.
        checkpoint: ``best`` by the run's own validation metric, or ``last``.
    """

    run: str
    checkpoint: Literal["best", "last"] = "last"
