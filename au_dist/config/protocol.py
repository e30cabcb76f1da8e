"""The section of a recipe that says which subjects train, validate and test."""

from typing import Literal

from pydantic import Field, model_validator

from au_dist.config.section import Section


class Protocol(Section):
    """Which subjects train, validate and test.

    Attributes:
        kind: ``kfold`` deals subjects into folds by a hash of their names; ``published`` takes each corpus's own
            subject lists or partition; ``fera2015`` tests on the even numbers of BP4D; ``corpora`` and ``subjects``
            test on what is listed; ``all`` trains on everyone but the validation subjects (for pretraining on
            unlabelled clips).
        folds: Number of folds of ``kfold``.
        fold: The fold that tests, from 0.
        numbering: Of ``published`` folds of BP4D and DISFA: ``part`` tests part 1 in fold 0, as most tables count;
            ``file`` tests part 3, as the list files of ME-GraphAU and AUNCE do, whose fold 1 is fold 0 here.
        corpora: The corpora that test, for ``corpora``.
        subjects: The subjects that test, for ``subjects``.
        validation: Share of the training subjects that is set aside to choose checkpoints and thresholds. 0: nobody is,
            as where published training sets are used whole; the last checkpoint counts then, and thresholds are 0.5.
        seed: Seed of the dealing; independent of the run's seed, so that seeds share their test subjects.
    """

    kind: Literal["kfold", "published", "fera2015", "corpora", "subjects", "all"] = "kfold"
    folds: int = Field(3, ge=2)
    fold: int = Field(0, ge=0)
    numbering: Literal["part", "file"] = "part"
    corpora: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    validation: float = Field(0.25, ge=0, lt=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "Protocol":
        if self.kind == "kfold" and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist: folds count from 0 to {self.folds - 1}")
        for name in ("corpora", "subjects"):
            if bool(getattr(self, name)) != (self.kind == name):
                raise ValueError(f"{name} are listed for kind: {name}, and only there")
        return self
