"""AUNCE: contrastive pretraining with re-weighted negatives and sampled positives (docs/methods.md)."""

from typing import Literal

from pydantic import Field, model_validator

from au_dist.config.section import Section
from au_dist.methods.base import Learner, Method


class Aunce(Section):
    """The contrastive loss with re-weighted negatives and sampled positives.

    Attributes:
        mode: ``corrected`` (own positives out, mean over positives only, missing labels masked, the rarer state of
            each action unit is the minority) or ``released`` (as the official code).
        temperature: Temperature of the similarities.
        beta_majority: Exponent of the negatives of an anchor in the commoner state.
        beta_minority: Exponent of the negatives of an anchor in the rarer state.
        positive_weights: How often each kind of positive is drawn: highest similarity, mean, other view, lowest
            similarity.
        memory: Past contrast sets whose embeddings, as they were then, are candidates too; they have no gradient.
        draw: Whether a kind is drawn for each action unit of a contrast set (``action_unit``, as in the official code)
            or for each of its anchors too (``anchor``).
    """

    mode: Literal["corrected", "released"] = "corrected"
    temperature: float = Field(0.5, gt=0)
    beta_majority: float = Field(0.8, gt=0)
    beta_minority: float = Field(1.2, gt=0)
    positive_weights: tuple[float, float, float, float] = (0.2, 0.6, 0.2, 0.0)
    memory: int = Field(0, ge=0)
    draw: Literal["action_unit", "anchor"] = "action_unit"

    @model_validator(mode="after")
    def _weights_are_weights(self) -> "Aunce":
        if min(self.positive_weights) < 0 or sum(self.positive_weights) <= 0:
            raise ValueError("positive_weights must not be negative and must not all be zero")
        if self.memory and self.mode == "released":
            raise ValueError("mode: released has no memory; use mode: corrected")
        return self


def _learner() -> Learner:
    from au_dist.methods.learners.aunce import LEARNER

    return LEARNER


AUNCE = Method(
    name="aunce",
    supervised=False,
    section=Aunce,
    metrics=("val_auc", "val_f1"),
    views=lambda _: 2,
    learner=_learner,
)
