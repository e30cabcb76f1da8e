"""The functions of `au_dist.model.tiles` in plain PyTorch, for every device and type; what other forms must equal."""

from collections.abc import Iterator

import torch

#: Rows x columns of a tile: 2 MiB in float32, which stays in a core's cache (benchmarks/loss.py).
TILE_ROWS, TILE_COLUMNS = 512, 1024


def _tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, rows, TILE_ROWS):
        for column in range(0, columns, TILE_COLUMNS):
            yield slice(row, min(row + TILE_ROWS, rows)), slice(column, min(column + TILE_COLUMNS, columns))


def _tile(
    a_RD: torch.Tensor, c_CD: torch.Tensor, at: tuple[slice, slice], own_R: torch.Tensor | None, own: float
) -> torch.Tensor:
    """Return a tile of products; `own` is put where a row meets itself."""
    rows, columns = at
    tile_RC = a_RD[rows] @ c_CD[columns].T
    if own_R is not None:
        place_R = own_R[rows] - columns.start
        here_R = ((place_R >= 0) & (place_R < tile_RC.shape[1])).nonzero()[:, 0]
        tile_RC[here_R, place_R[here_R]] = own
    return tile_RC


def log_sum_exp(
    a_RD: torch.Tensor, c_CD: torch.Tensor, scale: float, own_R: torch.Tensor | None = None
) -> torch.Tensor:
    """As `au_dist.model.tiles.log_sum_exp`."""
    most_R = a_RD.new_full((len(a_RD),), float("-inf"))
    sum_R = a_RD.new_zeros(len(a_RD))
    for rows, columns in _tiles(len(a_RD), len(c_CD)):
        tile_RC = _tile(a_RD, c_CD, (rows, columns), own_R, float("-inf")).mul_(scale)
        before_R = most_R[rows]
        # A tile of the row itself alone has no maximum.
        most_now_R = torch.maximum(before_R, tile_RC.amax(1)).clamp(min=torch.finfo(tile_RC.dtype).min)
        sum_R[rows] *= (before_R - most_now_R).exp()
        sum_R[rows] += tile_RC.sub_(most_now_R[:, None]).exp_().sum(1)
        most_R[rows] = most_now_R
    return sum_R.log_().add_(most_R)


def log_sum_exp_gradient(
    a_RD: torch.Tensor,
    c_CD: torch.Tensor,
    scale: float,
    value_R: torch.Tensor,
    gradient_R: torch.Tensor,
    own_R: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `au_dist.model.tiles.log_sum_exp_gradient`."""
    ga_RD, gc_CD = torch.zeros_like(a_RD), torch.zeros_like(c_CD)
    gradient_R = gradient_R * scale
    for rows, columns in _tiles(len(a_RD), len(c_CD)):
        tile_RC = _tile(a_RD, c_CD, (rows, columns), own_R, float("-inf")).mul_(scale)
        weight_RC = tile_RC.sub_(value_R[rows, None]).exp_().mul_(gradient_R[rows, None])
        ga_RD[rows].addmm_(weight_RC, c_CD[columns])
        gc_CD[columns].addmm_(weight_RC.T, a_RD[rows])
    return ga_RD, gc_CD


def best(a_RD: torch.Tensor, c_CD: torch.Tensor, own_R: torch.Tensor | None, highest: bool) -> torch.Tensor:
    """As `au_dist.model.tiles.best`."""
    worst = float("-inf") if highest else float("inf")
    value_R, place_R = a_RD.new_full((len(a_RD),), worst), torch.zeros(len(a_RD), dtype=torch.int64, device=a_RD.device)
    for rows, columns in _tiles(len(a_RD), len(c_CD)):
        tile_RC = _tile(a_RD, c_CD, (rows, columns), own_R, worst)
        now_R, at_R = tile_RC.max(1) if highest else tile_RC.min(1)
        better_R = now_R > value_R[rows] if highest else now_R < value_R[rows]
        place_R[rows] = torch.where(better_R, at_R + columns.start, place_R[rows])
        value_R[rows] = torch.where(better_R, now_R, value_R[rows])
    return place_R
