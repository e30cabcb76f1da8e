"""The plots of a campaign's report, by Optuna and Plotly."""

import math
from collections.abc import Container, Iterator, Sequence
from typing import Any

from au_dist.tuning.record import TrialState
from au_dist.tuning.space import KINDS, Space, distributions, parameter_of

#: Trials with a value from which plots say something.
FEW = 2

#: Height of a plot in pixels.
HEIGHT = 420


def figures(space: Space, trials: Sequence[TrialState], metric: str) -> Iterator[tuple[str, str, str]]:
    """Yield a title, what to know, and the HTML of each plot.

    Args:
        space: The space.
        trials: All trials.
        metric: What was searched for.
    """
    from optuna import visualization
    from optuna.importance import PedAnovaImportanceEvaluator

    if sum(math.isfinite(trial.metric) for trial in trials) < FEW:
        return
    study = as_drawn(space, trials)
    done = [one for one in study.trials if one.value is not None]  # Optuna's plots read no others
    if done:
        history = visualization.plot_optimization_history(study, target_name=metric)
        words = "Trials that came to their end; those that were stopped early are in the next plot."
        yield "Every trial, and the best so far", words, _html(history)
    curves = visualization.plot_intermediate_values(study)
    what = "validation" if trials[0].runs == 1 else "run"
    curves.update_layout(xaxis={"title": what, "dtick": 1}, yaxis_title=metric)
    words = "Curves that end early were stopped early, or broke off."
    yield f"{what.capitalize()}s of each trial", words, _html(curves)
    varied = [name for name in _names(space) if len({str(one.params[name]) for one in done if name in one.params}) > 1]
    everywhere = [name for name in varied if all(name in one.params for one in done)]
    if len(everywhere) > 1 and len({one.value for one in done}) > 1:
        importance = visualization.plot_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(), params=everywhere
        )
        words = "PED-ANOVA: how much better trials differ from the others in a value. Of few trials it says little."
        yield "Which values matter", words, _html(importance)
    if len(varied) > 1:
        yield "Values together", "", _html(visualization.plot_parallel_coordinate(study, varied, target_name=metric))
    if varied:
        yield "Value by value", "", _html(visualization.plot_slice(study, varied, target_name=metric))
    for path, dimension in space.items():
        if dimension.weights and len(dimension.weights) == 3:
            ternary = _ternary(path, dimension, trials, metric)
            yield f"{path}, as shares", "Each corner is one kind of positive alone.", _html(ternary)


def scatter(points: Sequence[tuple[int, float, float]], joined: Container[int], x: str, y: str) -> str:
    """Return the HTML of trials as points, some of them joined by a line.

    Args:
        points: Number, x and y of each.
        joined: Numbers of those that are joined, in the order of x.
        x: Title of the one axis.
        y: Title of the other.
    """
    import plotly.graph_objects as go

    line = sorted((one for one in points if one[0] in joined), key=lambda one: one[1])
    rest = [one for one in points if one[0] not in joined]
    traces = [
        go.Scatter(
            x=[one[1] for one in some],
            y=[one[2] for one in some],
            text=[str(one[0]) for one in some],
            mode=mode,
            textposition="top center",
            name=name,
        )
        for some, mode, name in ((rest, "markers+text", "others"), (line, "lines+markers+text", "front"))
    ]
    return _html(go.Figure(traces, {"xaxis": {"title": x}, "yaxis": {"title": y}}))


def _html(figure: Any) -> str:
    margin = {"l": 60, "r": 20, "t": 30, "b": 50}
    figure.update_layout(title=None, height=HEIGHT, margin=margin, template="plotly_white")
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False}))


def as_drawn(space: Space, trials: Sequence[TrialState]) -> Any:
    """Return an Optuna study in memory whose parameters are recipe values; weights are shares, not a broken stick."""
    import optuna
    from optuna.distributions import FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        parameters: dict[str, Any] = {}
        kinds: dict[str, Any] = {}
        for path, value in trial.values.items():
            dimension = space[path]
            if dimension.weights:
                shares = {_share(path, kind): value[KINDS.index(kind)] for kind in dimension.weights}
                parameters |= shares
                kinds |= dict.fromkeys(shares, FloatDistribution(0.0, 1.0))
                continue
            parameters[path] = value
            kinds[path] = distributions({path: dimension})[parameter_of(path)]
        ended = trial.state == "finished" and math.isfinite(trial.metric)
        state = "COMPLETE" if ended else "PRUNED" if trial.state == "stopped early" else "FAIL"
        study.add_trial(
            optuna.trial.create_trial(
                params=parameters,
                distributions=kinds,
                value=trial.metric if ended else None,
                intermediate_values=trial.history,
                state=optuna.trial.TrialState[state],
            )
        )
    return study


def _share(path: str, kind: str) -> str:
    return f"{path.rpartition('.')[2]}: {kind}"


def _names(space: Space) -> list[str]:
    return [
        name
        for path, dimension in space.items()
        for name in ([_share(path, kind) for kind in dimension.weights] if dimension.weights else [path])
    ]


def _ternary(path: str, dimension: Any, trials: Sequence[TrialState], metric: str) -> Any:
    import plotly.graph_objects as go

    shown = [trial for trial in trials if path in trial.values and math.isfinite(trial.metric)]
    sides = [[trial.values[path][KINDS.index(kind)] for trial in shown] for kind in dimension.weights]
    return go.Figure(
        go.Scatterternary(
            **dict(zip("abc", sides, strict=True)),
            mode="markers+text",
            text=[str(trial.number) for trial in shown],
            textposition="top center",
            marker={
                "size": 10,
                "color": [trial.metric for trial in shown],
                "colorscale": "Viridis",
                "colorbar": {"title": metric},
            },
        ),
        {"ternary": {f"{side}axis": {"title": kind} for side, kind in zip("abc", dimension.weights, strict=True)}},
    )
