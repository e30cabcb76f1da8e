"""A campaign: many runs of one recipe that differ in the searched values. Its file, its place in storage.

    CAMPAIGN/campaign.yaml     what is searched, written by the first run of the campaign
             study.journal     Optuna's study: parameters, validations and states of all trials
             report.json       the table and the best trial, written at the end
             runs/trial-00007  a run like any other
             tune/             Ray Tune's own records; nothing reads them

Study, runs and report are enough to go on, on any machine.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from au_dist.config.files import override, parse, read_yaml
from au_dist.config.paths import get, put
from au_dist.config.places import expand, expand_at
from au_dist.config.renamed import keys_now, path_now
from au_dist.config.section import Section
from au_dist.config.sections import NO_FILES
from au_dist.core.errors import RecipeError
from au_dist.recipes.files import PLACES
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import Store, open_store
from au_dist.train.plan import plan_batches, worker_counts
from au_dist.tuning.constraints import holds, paths_of
from au_dist.tuning.database import check_address
from au_dist.tuning.first import first_points
from au_dist.tuning.sections import Budget, EarlyStopping, Keep
from au_dist.tuning.space import Dimension, check_path, check_space, combinations, parse_space

CAMPAIGN = "campaign.yaml"

#: Its presence asks whoever runs the campaign to stop.
STOP = "stop"

#: Ray's own records of it.
RECORDS = "tune"


#: As many clips as any plan may need, where the shards are not known yet.
MANY = 1 << 40

#: Of so many combinations at least one must fulfil the constraints; others are drawn again.
LEAST_ALLOWED = 100

#: What the runs of a trial differ in.
FOLD, SEED = "data.protocol.fold", "seed"


class Campaign(Section):
    """A search for the recipe with the best validation metric (the recipe's `checkpoint.metric`).

    Attributes:
        name: The campaign's name: its folder below `campaigns`.
        campaigns: Address below which campaigns are stored.
        recipe: The recipe that trials start from, or its file, relative to the campaign's; `name` and `runs` are the
            campaign's to choose.
        storage: Where the study is kept, ``postgresql://user@host:port/database``; a journal beside the runs when None.
        trials: How many to try.
        budget: What may end it before.
        seed: Seed of the search.
        folds: Folds that each trial is trained on; the recipe's own when empty.
        seeds: Seeds that it is trained with on each: the recipe's own and those that follow it. A trial of several runs
            is worth their mean.
        sampler: ``tpe`` (multivariate, trials under way taken for bad ones), ``gp`` (a Gaussian process) or ``random``.
        first: Points that are tried first, after the recipe as it stands: values by path, the recipe's own for the
            others.
        warm_start: Addresses of earlier campaigns with the same recipe on the same shards; what came of their trials is
            known to the sampler from the start.
        concurrent: Trials at once, at most; as many as fit when None.
        keep: What ended trials keep in storage.
        against: A second objective, which is to be small: a trial's ``hours`` or ``gpu_hours`` from its workers' first
            step on. Every trial runs to its end then.
        early_stopping: None lets every trial run to its end.
        retry_parked: Take up again what was given up because it was lost again and again without getting further.
        space: How each searched value is drawn, by its path in a recipe.
        constraints: What the values must fulfil together (`au_dist.tuning.constraints`); others are drawn again.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    campaigns: str
    recipe: dict[str, Any]
    storage: str | None = None
    trials: int = Field(20, ge=1)
    budget: Budget = Budget()
    seed: int = Field(0, ge=0)
    folds: tuple[int, ...] = ()
    seeds: int = Field(1, ge=1)
    sampler: Literal["tpe", "gp", "random"] = "tpe"
    first: tuple[dict[str, Any], ...] = ()
    warm_start: tuple[str, ...] = ()
    concurrent: int | None = Field(None, ge=1)
    keep: Keep = Keep()
    against: Literal["hours", "gpu_hours"] | None = None
    early_stopping: EarlyStopping | None = EarlyStopping()
    retry_parked: bool = False
    space: dict[str, Dimension] = Field(min_length=1)
    constraints: tuple[str, ...] = ()

    @property
    def place(self) -> Store:
        """The campaign's place in storage."""
        return open_store(self.campaigns).at(self.name)

    def base(self) -> Recipe:
        """The recipe that trials start from."""
        return Recipe.model_validate(self.recipe)

    def trial(self, number: int, values: dict[str, Any]) -> Recipe:
        """Return the recipe of a trial, on the recipe's own fold and with its own seed.

        Args:
            number: The trial's number in the study.
            values: Recipe values by path.

        Raises:
            RecipeError: The values do not fit together.
        """
        return self._recipe({**values, "name": trial_name(number)})

    def _recipe(self, values: dict[str, Any]) -> Recipe:
        where = ", ".join(f"{path} {value}" for path, value in values.items() if path != "name")
        return parse(Recipe, put(self.recipe, values), where)

    def repetitions(self) -> list[tuple[int, int]]:
        """Return fold and seed of each run of a trial."""
        base = self.base()
        folds = self.folds or (base.data.protocol.fold,)
        return list(itertools.product(folds, range(base.seed, base.seed + self.seeds)))

    def run_names(self, number: int) -> list[str]:
        """Return the names of a trial's runs."""
        if len(self.repetitions()) == 1:
            return [trial_name(number)]
        return [f"{trial_name(number)}.fold-{fold}.seed-{seed}" for fold, seed in self.repetitions()]

    def run_places(self, number: int) -> list[Store]:
        """Return the places of a trial's runs."""
        return [self.place.at("runs", name) for name in self.run_names(number)]

    def run_recipes(self, number: int, values: dict[str, Any]) -> list[Recipe]:
        """Return the recipes of a trial's runs. Arguments as for `trial`.

        Raises:
            RecipeError: The values do not fit together.
        """
        return [
            self._recipe({**values, "name": name, FOLD: fold, SEED: seed})
            for name, (fold, seed) in zip(self.run_names(number), self.repetitions(), strict=True)
        ]

    def allows(self, values: dict[str, Any]) -> bool:
        """Return whether values by path fulfil the constraints."""
        base = self.base()
        return all(
            holds(text, lambda path: values[path] if path in values else get(base, path)) for text in self.constraints
        )


def trial_name(number: int) -> str:
    """Return the run name of a trial."""
    return f"trial-{number:05d}"


def load_campaign(
    path: Path, overrides: Sequence[str] = (), note: Callable[[str], None] = lambda text: None
) -> Campaign:
    """Return the campaign in a YAML file, checked as far as is possible without its shards.

    Args:
        path: The file.
        overrides: ``key=value`` replacements, e.g. ``trials=8`` or ``recipe.optim.epochs=2``.
        note: Called with a sentence for each key that has another name now.

    Raises:
        RecipeError: The campaign, its recipe or its space does not fit.
    """
    raw = read_yaml(path)
    if isinstance(raw.get("recipe"), str):
        raw["recipe"] = read_yaml(path.parent / expand(raw["recipe"], f"{path}, recipe"))
    raw, notes = keys_of_now(override(raw, overrides))
    for text in notes:
        note(text)
    raw = expand_at(raw, ("campaigns", *(f"recipe.{place}" for place in PLACES)), path)
    space = parse_space(raw.get("space"), path)
    campaign = parse(Campaign, {**raw, "space": space}, path)
    if campaign.storage:
        check_address(campaign.storage, str(path))
    recipe = _own_recipe(campaign, path)
    if not parse(Recipe, recipe, f"{path}, recipe").data.protocol.validation:
        raise RecipeError(
            "Trials are compared on validation subjects, and this recipe sets none aside",
            where=f"{path}, recipe.data.protocol.validation",
            expected="a share above 0",
            found=0,
            fix="Search with a share of them, then train the best recipe once with validation: 0.",
        )
    check_space(space, recipe, path)
    campaign = campaign.model_copy(update={"recipe": recipe, "campaigns": open_store(campaign.campaigns).uri})
    _check_constraints(campaign, path)
    _check_repetitions(campaign, path)
    _check_objectives(campaign, path)
    first_points(campaign, path)
    check_combinations(campaign, path, lambda recipe: plan_batches(recipe, MANY, worker_counts(recipe)[-1]))
    return campaign


def _check_repetitions(campaign: Campaign, where: Path) -> None:
    """Refuse folds and seeds that cannot be, and a rule of early stopping that has no effect."""
    several, rule = len(campaign.repetitions()) > 1, campaign.early_stopping
    if len(set(campaign.folds)) < len(campaign.folds):
        raise RecipeError("A fold is given twice", where=f"{where}, folds", found=list(campaign.folds))
    if rule and several and rule != EarlyStopping(worse=rule.worse):
        raise RecipeError(
            "Trials of several runs are not stopped within a run",
            where=f"{where}, early_stopping",
            found="by, grace or reduction",
            expected="worse: by which they are stopped between runs",
        )
    if rule and not several and rule.worse != EarlyStopping().worse:
        raise RecipeError(
            "Trials of a single run are not stopped between runs",
            where=f"{where}, early_stopping.worse",
            expected="by, grace and reduction; or `folds` and `seeds` of which there are several",
        )
    campaign.run_recipes(0, {})


def _check_objectives(campaign: Campaign, where: Path) -> None:
    """Refuse a second objective that cannot be weighed."""
    if campaign.against and campaign.early_stopping:
        raise RecipeError(
            "Of two objectives neither says which trial is worse, and one that is stopped early costs less",
            where=f"{where}, early_stopping",
            expected="null beside `against`",
        )
    if campaign.against == "gpu_hours" and not campaign.base().workers.gpus:
        raise RecipeError(
            "Trials use no GPU: all cost the same",
            where=f"{where}, against",
            expected="hours, or a recipe with workers.gpus",
            found="gpu_hours",
        )


def _check_constraints(campaign: Campaign, where: Path) -> None:
    for text in campaign.constraints:
        for path in paths_of(text, f"{where}, constraints"):
            check_path(path, f"{where}, constraints, {text}")


def check_combinations(campaign: Campaign, where: Path, check: Callable[[Recipe], object]) -> None:
    """Refuse a space of which values do not fit together.

    Args:
        campaign: The campaign.
        where: Its file, for messages.
        check: Raises a `RecipeError` for a recipe that cannot be trained.

    Raises:
        RecipeError: A combination does not fit, or the constraints leave next to none.
    """
    allowed = tried = 0
    for values in combinations(campaign.space, campaign.base()):
        tried += 1
        if not campaign.allows(values):
            continue
        allowed += 1
        try:
            check(campaign.trial(0, values))
        except RecipeError as error:
            raise RecipeError(
                f"Values of the space do not fit together: {error}",
                where=f"{where}, space",
                found=", ".join(f"{path} {value}" for path, value in values.items()),
                fix="Narrow the space, or say with `constraints` or `when` which values belong together.",
            ) from error
    if allowed * LEAST_ALLOWED < tried:
        raise RecipeError(
            "The constraints leave next to nothing of the space",
            where=f"{where}, constraints",
            found=f"{allowed} of {tried} combinations",
            expected=f"at least one of {LEAST_ALLOWED}",
        )


def keys_of_now(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a raw campaign with the keys of now, in its recipe and its space, and a note on each that had another."""
    recipe, notes = keys_now(raw["recipe"]) if isinstance(raw.get("recipe"), dict) else (raw.get("recipe"), [])
    space = raw.get("space")
    if isinstance(space, dict):
        notes += [f"`{path}` is called `{path_now(path)}` now" for path in space if path_now(str(path)) != path]
        space = {
            path_now(str(path)): _dimension_now(dimension) if isinstance(dimension, dict) else dimension
            for path, dimension in space.items()
        }
    return {**raw, "recipe": recipe, "space": space}, notes


def _dimension_now(raw: dict[str, Any]) -> dict[str, Any]:
    now = {"weights" if key == "odds" else key: value for key, value in raw.items()}
    if isinstance(when := now.get("when"), dict):
        now["when"] = {path_now(str(path)): value for path, value in when.items()}
    return now


def _own_recipe(campaign: Campaign, where: Path) -> dict[str, Any]:
    """Return the campaign's raw recipe with its own runs, and with addresses that mean the same on every machine.

    Trials run in other processes, whose working directory is another.
    """
    recipe = dict(campaign.recipe)
    runs = recipe.get("runs")
    recipe |= {"name": trial_name(0), "runs": campaign.place.at("runs").uri}
    if isinstance(recipe.get("shards"), str):
        recipe["shards"] = open_store(recipe["shards"]).uri
    init = recipe.get("init")
    if isinstance(init, dict) and isinstance(init.get("run"), str):
        if "/" not in init["run"] and not isinstance(runs, str):
            raise RecipeError(
                "The run to start from cannot be found by its name alone",
                where=f"{where}, recipe.init.run",
                found=init["run"],
                fix="Give its address, or give the recipe the `runs` that it is in.",
            )
        source = open_store(init["run"]) if "/" in init["run"] else open_store(str(runs)).at(init["run"])
        recipe["init"] = {**init, "run": source.uri}
    model = recipe.get("model")
    if isinstance(model, dict) and isinstance(model.get("weights"), str) and model["weights"] not in NO_FILES:
        recipe["model"] = {**model, "weights": os.path.abspath(model["weights"])}
    return recipe
