"""What a method is: a frozen value that says what it reads, how its module is made, and how it is judged and scored.

Each method has a file of its own, `au_dist.methods.METHODS` lists them, and one in `au_dist.methods.learners`, with all
that needs torch: only who trains or scores loads that.

DeepSpeed averages gradients over ranks. Each rank's loss is therefore its share of the global sum times the number of
ranks, divided by the global count: the average of these is the loss of one process on the whole batch, and so is its
gradient, because the gather's backward pass sums over ranks.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from au_dist.config.section import Section
from au_dist.config.sections import Data, Labels, Model

if TYPE_CHECKING:
    import torch
    from torch import nn

    from au_dist.dist.world import World
    from au_dist.methods.clips import Clips
    from au_dist.methods.frames import Frames

#: Labels of a row for some label columns: values and what is known of them (`au_dist.data.labels`).
LabelsOf = Callable[[dict[str, Any], list[int], int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Parts:
    """What a module is made of.

    Attributes:
        section: The method's own section of the recipe; None where it has none.
        model: The network's section.
        size: Side of the network's input in pixels.
        frames: Frames of a clip.
        num_aus: Number of action units, A.
        rates: Share of the training labels in which each of them occurs; NaN without labels.
        seed: The run's seed.
        lanes: Lanes that a contrast set is dealt from.
        images: Images of a contrast set, N.
        pretrained: Whether the network's weights come from another run.
        world: This process among the workers.
    """

    section: Any
    model: Model
    size: int
    frames: int
    num_aus: int
    rates: tuple[float, ...]
    seed: int
    lanes: int
    images: int
    pretrained: bool
    world: "World"


@dataclass(frozen=True)
class Held:
    """What a method may judge itself by: clips of subjects that train or validate, never of those that test.

    Attributes:
        rows: Returns this rank's share of the clips of ``train`` or ``validation`` subjects as rows, evenly thinned to
            about so many over all ranks; all when None.
        columns: Label columns of the action units.
        num_columns: Label columns of the set.
        labels: The label budget.
        side: Side of the stored frames in pixels.
        size: Side of the network's input in pixels.
        frames: Frames of a clip in training.
        clip_frames: Frames of a stored clip.
        world: This process among the workers.
    """

    rows: Callable[[Literal["train", "validation"], int | None], list[dict[str, Any]]]
    columns: list[int]
    num_columns: int
    labels: Labels
    side: int
    size: int
    frames: int
    clip_frames: int
    world: "World"


@dataclass(frozen=True)
class Judgement:
    """What a module makes of the validation frames, or clips, of all ranks; every rank has the same.

    Attributes:
        subject_N: Who is seen in each.
        arrays: What metrics are computed from, a row for each.
        measure: Computes them from these arrays, or from the same rows of each.
        beside: Metrics that belong to all of them together.
    """

    subject_N: np.ndarray
    arrays: tuple[np.ndarray, ...]
    measure: Callable[..., dict[str, Any]]
    beside: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Any]:
        """All metrics."""
        return {**self.measure(*self.arrays), **self.beside}

    def without(self) -> dict[str, dict[str, Any]]:
        """Return what `measure` gives of all frames but those of one subject, for each subject."""
        names = np.unique(self.subject_N)
        return {str(name): self.measure(*(part[self.subject_N != name] for part in self.arrays)) for name in names}


@dataclass(frozen=True)
class Validation:
    """How a module is judged, again and again; what it is judged by was read once.

    Attributes:
        read: The frames or clips.
        judge: Judges it by them; all ranks call together, the module is in evaluation mode.
    """

    read: "tuple[Frames | Clips, ...]"
    judge: Callable[[], Judgement]


@dataclass(frozen=True)
class Learner:
    """What a method needs torch for.

    Attributes:
        module: Makes the module whose forward pass (views, labels, mask, number of the contrast set) is the loss.
        validation: Reads what the module is judged by.
    """

    module: "Callable[[Parts], nn.Module]"
    validation: Callable[[Any, Held], Validation]


@dataclass(frozen=True)
class Scoring:
    """How a trained module calls action units.

    Attributes:
        scores: Maps the module, views [B, 3, H, W] and the frames of a clip to scores float32 [B, A].
        labels: What scores are compared with.
        judge: Maps labels, what is known of them, scores (all [N, A]) and thresholds [A] to a row an action unit.
        measures: What a table shows of these rows, and under which title.
        thresholds: Whether scores are probabilities with a threshold that validation chose; otherwise intensities.
        scale: The largest score.
        beside: Names of measures that a baseline is compared by: whether more is better.
        knowing_nothing: The measure, the key of its value for a model that knows nothing, and what that model does.
    """

    scores: "Callable[[Any, torch.Tensor, int], torch.Tensor]"
    labels: LabelsOf
    judge: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], list[dict[str, float]]]
    measures: Mapping[str, str]
    thresholds: bool
    scale: float
    beside: Mapping[str, bool]
    knowing_nothing: tuple[str, str, str]


def _nothing(section: Any, data: Data, started: bool) -> Iterator[str]:
    yield from ()


def _all(section: Any, steps: int) -> int:
    return steps


def _one(section: Any) -> int:
    return 1


def _always(section: Any) -> bool:
    return True


def _drawn(section: Any, data: Data) -> int:
    return data.frames_per_clip


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of pretraining or a supervised task.

    Attributes:
        name: Its name in recipes, and that of its section.
        supervised: A recipe asks for it with ``task``; otherwise with ``method``.
        section: Its section of a recipe; None where it has none.
        metrics: The validation metrics it has; the first is its own.
        views: Maps its section to the random views of each clip.
        clips: Whether its network reads frames in a row, with a memory; otherwise frames by themselves.
        labels: What it learns from.
        frames: Maps its section and that of the data to the frames of a clip.
        frames_key: Keys of the recipe that these come from.
        refusals: Yields what does not fit in its section and that of the data, a sentence each; the last argument says
            whether the network starts from another run.
        embeddings: Maps its section to whether action units need embeddings of their own (`model.embed_dim`).
        steps: Maps its section and the steps that the data would take to the steps that it takes.
        learner: Loads how its module is made and judged.
        scoring: How it calls action units; None where it calls none.
    """

    name: str
    supervised: bool
    section: type[Section] | None
    metrics: tuple[str, ...]
    views: Callable[[Any], int] = _one
    clips: bool = False
    labels: Literal["occurrence", "intensity"] | None = "occurrence"
    frames: Callable[[Any, Data], int] = _drawn
    frames_key: str = "data.frames_per_clip"
    refusals: Callable[[Any, Data, bool], Iterator[str]] = _nothing
    embeddings: Callable[[Any], bool] = _always
    steps: Callable[[Any, int], int] = _all
    learner: Callable[[], Learner]
    scoring: Scoring | None = None

    @property
    def reads(self) -> str:
        """What its network reads, in words; networks of one kind can start from each other's weights."""
        return "clips" if self.clips else "frames"

    @property
    def intensities(self) -> bool:
        """Whether its labels are intensities, not occurrence."""
        return self.labels == "intensity"

    @property
    def key(self) -> str:
        """The key of a recipe that asks for it."""
        return "task" if self.supervised else "method"
