"""Whether labels can teach a run and judge it: asked before anything is written, and not when the run ends."""

from au_dist.core.errors import RecipeError
from au_dist.core.schema import au_names
from au_dist.data.label_counts import count_labels
from au_dist.data.splits import training_groups
from au_dist.runs.context import Context

#: Labelled frames of an action unit, and those of them in which it occurs.
Counts = tuple[int, int]

WHERE = "data.aus, data.protocol, data.labels"


def label_notes(context: Context) -> list[str]:
    """Refuse a run that no action unit could be learnt or judged in; return what some of them lack, a sentence each.

    Raises:
        RecipeError: There is no action unit of which both training and validation subjects (if any) have frames with it
            and frames without it; of intensities, frames with it.
    """
    if context.recipe.learns.labels is None:
        return []
    names = au_names(context.aus)
    parts = {"training": _of_training(context)}
    if context.split.validation:
        parts["validation"] = _of_validation(context)
    lacking = {part: [k for k, one in enumerate(counts) if not _tells(context, one)] for part, counts in parts.items()}
    useless = {index for some in lacking.values() for index in some}
    if len(useless) == len(names):
        worst = [part for part, some in lacking.items() if len(some) == len(names)] or list(parts)
        found = [f"{part}: {', '.join(map(_counted, names, parts[part]))}" for part in worst]
        raise RecipeError(
            f"No action unit can be {'learnt' if worst[0] == 'training' else 'judged'} from these labels",
            where=WHERE,
            expected=f"labelled frames with an action unit{_and_without(context)}, of {' and '.join(worst)} subjects",
            found="; ".join(found),
            fix="`au-dist doctor` shows the labels of the set: correct them and ingest again, train on other action "
            "units (data.aus), deal subjects in another way (data.protocol), or allow more labels (data.labels).",
        )
    judged = len(names) - len(lacking.get("validation", ()))
    consequence = {
        "training": "nothing is learnt of",
        "validation": f"averages hold the other {judged} action units, without",
    }
    return [
        f"Of {part} subjects: {', '.join(_counted(names[k], parts[part][k]) for k in some)}; {consequence[part]} "
        f"{'it' if len(some) == 1 else 'them'}."
        for part, some in lacking.items()
        if some
    ]


def _tells(context: Context, counts: Counts) -> bool:
    labelled, positive = counts
    return positive > 0 and (context.recipe.learns.intensities or positive < labelled)


def _and_without(context: Context) -> str:
    return "" if context.recipe.learns.intensities else " and frames without it"


def _counted(name: str, counts: Counts) -> str:
    labelled, positive = counts
    return f"{name} occurs in {positive} of {labelled} labelled frames" if labelled else f"{name} has no label"


def _of_training(context: Context) -> list[Counts]:
    counts = context.label_counts
    if counts is None:
        return _of_manifest(context, context.split.train)
    return counts.sums()


def _of_validation(context: Context) -> list[Counts]:
    labels, intensities = context.recipe.data.labels.of_validation, context.recipe.learns.intensities
    if labels.share == 1 and not labels.spoils and not intensities:
        return _of_manifest(context, context.split.validation)
    groups = training_groups(context.manifest, context.split.validation)
    store, manifest = context.store, context.manifest
    return count_labels(store, manifest, groups, context.columns, labels, intensities=intensities).sums()


def _of_manifest(context: Context, subjects: tuple[str, ...]) -> list[Counts]:
    rows = context.manifest.rates(subjects)
    return [rows[column][:2] for column in context.columns]
