"""The functions of `au_dist.model.tiles` as Triton kernels, for float32 on CUDA; a tile never leaves the chip.

Rows go to programs in blocks, and, where there are fewer of these than the GPU can run, columns in splits whose results
are put together afterwards, in a fixed order: no atomic operations, so equal inputs give equal bits. A product is made
of three passes in TF32, whose error is that of float32.

Without a GPU the kernels run, slowly, under ``TRITON_INTERPRET=1``; so they are tested where there is none.
"""

from typing import Any

import torch
import triton
import triton.language as tl

#: Rows x columns of a tile, and how much of the width is multiplied at once, or has its gradient gathered at once.
ROWS, COLUMNS, WIDTH, GRADIENT_WIDTH = 64, 64, 32, 128

#: Of a program. Compiled for sm_80 to sm_90 everything stays in registers but 80 bytes of a gradient's program.
WARPS, STAGES = 8, 2

#: Programs that one multiprocessor of a GPU is given.
PROGRAMS = 2

LOWEST = tl.constexpr(torch.finfo(torch.float32).min)


@triton.jit
def _tile(
    a_RD, c_CD, row_R, column_C, rows, columns, width, scale, W: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """Return a tile of ``scale a . c``."""
    tile_RC = tl.zeros((row_R.shape[0], column_C.shape[0]), tl.float32)
    for begin in range(0, width, W):
        at_W = begin + tl.arange(0, W)
        a_RW = tl.load(
            a_RD + row_R[:, None].to(tl.int64) * width + at_W[None, :],
            mask=(row_R < rows)[:, None] & (at_W < width)[None, :],
            other=0.0,
        )
        c_WC = tl.load(
            c_CD + column_C[None, :].to(tl.int64) * width + at_W[:, None],
            mask=(column_C < columns)[None, :] & (at_W < width)[:, None],
            other=0.0,
        )
        tile_RC = tl.dot(a_RW, c_WC, tile_RC, input_precision=PRECISION)
    return tile_RC * scale


@triton.jit
def _log_sum_exp_kernel(
    a_RD, c_CD, own_R, value_SR, rows, columns, width, scale, each,
    OWN: tl.constexpr, R: tl.constexpr, C: tl.constexpr, W: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row_R = tl.program_id(0) * R + tl.arange(0, R)
    first = tl.program_id(1) * each
    most_R = tl.full((R,), LOWEST, tl.float32)
    sum_R = tl.zeros((R,), tl.float32)
    if OWN:
        itself_R = tl.load(own_R + row_R, mask=row_R < rows, other=-1)
    for begin in range(first, tl.minimum(first + each, columns), C):
        column_C = begin + tl.arange(0, C)
        tile_RC = _tile(a_RD, c_CD, row_R, column_C, rows, columns, width, scale, W, PRECISION)
        counts_RC = (column_C < columns)[None, :]
        if OWN:
            counts_RC = counts_RC & (column_C[None, :] != itself_R[:, None])
        tile_RC = tl.where(counts_RC, tile_RC, float("-inf"))
        now_R = tl.maximum(most_R, tl.max(tile_RC, 1))
        sum_R = sum_R * tl.exp(most_R - now_R) + tl.sum(tl.exp(tile_RC - now_R[:, None]), 1)
        most_R = now_R
    place_R = tl.program_id(1).to(tl.int64) * rows + row_R
    tl.store(value_SR + place_R, tl.log(sum_R) + most_R, mask=row_R < rows)


@triton.jit
def _gradient_kernel(
    a_RD, c_CD, value, weight, own, gradient_SRD, rows, columns, width, scale, each,
    OF_ROWS: tl.constexpr, OWN: tl.constexpr, R: tl.constexpr, C: tl.constexpr, W: tl.constexpr, G: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Gather ``sum_c weight exp(scale a . c - value) c`` of each row; value, weight, own are of rows or of columns."""
    row_R = tl.program_id(0) * R + tl.arange(0, R)
    first = tl.program_id(1) * each
    at_G = tl.program_id(2) * G + tl.arange(0, G)
    gradient_RG = tl.zeros((R, G), tl.float32)
    if OF_ROWS:
        value_R = tl.load(value + row_R, mask=row_R < rows, other=0.0)
        weight_R = tl.load(weight + row_R, mask=row_R < rows, other=0.0)
        if OWN:
            itself_R = tl.load(own + row_R, mask=row_R < rows, other=-1)
    for begin in range(first, tl.minimum(first + each, columns), C):
        column_C = begin + tl.arange(0, C)
        known_C = column_C < columns
        tile_RC = _tile(a_RD, c_CD, row_R, column_C, rows, columns, width, scale, W, PRECISION)
        counts_RC = (row_R < rows)[:, None] & known_C[None, :]
        if OF_ROWS:
            tile_RC = tl.exp(tile_RC - value_R[:, None]) * weight_R[:, None]
            if OWN:
                counts_RC = counts_RC & (column_C[None, :] != itself_R[:, None])
        else:
            value_C = tl.load(value + column_C, mask=known_C, other=0.0)
            weight_C = tl.load(weight + column_C, mask=known_C, other=0.0)
            tile_RC = tl.exp(tile_RC - value_C[None, :]) * weight_C[None, :]
            if OWN:
                itself_C = tl.load(own + column_C, mask=known_C, other=-1)
                counts_RC = counts_RC & (row_R[:, None] != itself_C[None, :])
        tile_RC = tl.where(counts_RC, tile_RC, 0.0)
        c_CG = tl.load(
            c_CD + column_C[:, None].to(tl.int64) * width + at_G[None, :],
            mask=known_C[:, None] & (at_G < width)[None, :],
            other=0.0,
        )
        gradient_RG = tl.dot(tile_RC, c_CG, gradient_RG, input_precision=PRECISION)
    place_RG = (tl.program_id(1).to(tl.int64) * rows + row_R[:, None]) * width + at_G[None, :]
    tl.store(gradient_SRD + place_RG, gradient_RG, mask=(row_R < rows)[:, None] & (at_G < width)[None, :])


@triton.jit
def _best_kernel(
    a_RD, c_CD, own_R, value_SR, place_SR, rows, columns, width, sign, each,
    OWN: tl.constexpr, R: tl.constexpr, C: tl.constexpr, W: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row_R = tl.program_id(0) * R + tl.arange(0, R)
    first = tl.program_id(1) * each
    value_R = tl.full((R,), float("-inf"), tl.float32)
    best_R = tl.zeros((R,), tl.int32)
    if OWN:
        itself_R = tl.load(own_R + row_R, mask=row_R < rows, other=-1)
    for begin in range(first, tl.minimum(first + each, columns), C):
        column_C = begin + tl.arange(0, C)
        tile_RC = _tile(a_RD, c_CD, row_R, column_C, rows, columns, width, sign, W, PRECISION)
        counts_RC = (column_C < columns)[None, :]
        if OWN:
            counts_RC = counts_RC & (column_C[None, :] != itself_R[:, None])
        tile_RC = tl.where(counts_RC, tile_RC, float("-inf"))
        now_R, at_R = tl.max(tile_RC, 1, return_indices=True)
        better_R = now_R > value_R
        best_R = tl.where(better_R, begin + at_R, best_R)
        value_R = tl.where(better_R, now_R, value_R)
    at_R = tl.program_id(1).to(tl.int64) * rows + row_R
    tl.store(value_SR + at_R, value_R, mask=row_R < rows)
    tl.store(place_SR + at_R, best_R, mask=row_R < rows)


def log_sum_exp(
    a_RD: torch.Tensor, c_CD: torch.Tensor, scale: float, own_R: torch.Tensor | None = None
) -> torch.Tensor:
    """As `au_dist.model.tiles.log_sum_exp`."""
    splits, each = _splits(a_RD, len(c_CD))
    value_SR = a_RD.new_empty(splits, len(a_RD))
    _launch(_log_sum_exp_kernel, (splits,), a_RD, c_CD, own_R, (value_SR,), scale, each)
    return value_SR.logsumexp(0)


def log_sum_exp_gradient(
    a_RD: torch.Tensor,
    c_CD: torch.Tensor,
    scale: float,
    value_R: torch.Tensor,
    gradient_R: torch.Tensor,
    own_R: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `au_dist.model.tiles.log_sum_exp_gradient`."""
    of_rows = ((gradient_R * scale).contiguous(), value_R.contiguous(), own_R)
    ga_RD = _gathered(a_RD, c_CD, scale, *of_rows, of_rows=True)
    return ga_RD, _gathered(c_CD, a_RD, scale, *of_rows, of_rows=False)


def _gathered(
    a_RD: torch.Tensor,
    c_CD: torch.Tensor,
    scale: float,
    weight: torch.Tensor,
    value: torch.Tensor,
    own: torch.Tensor | None,
    *,
    of_rows: bool,
) -> torch.Tensor:
    splits, each = _splits(a_RD, len(c_CD))
    slices = min(GRADIENT_WIDTH, max(16, triton.next_power_of_2(a_RD.shape[1])))
    gradient_SRD = a_RD.new_empty(splits, *a_RD.shape)
    grid, given = (splits, triton.cdiv(a_RD.shape[1], slices)), (value, weight)
    _launch(_gradient_kernel, grid, a_RD, c_CD, own, (gradient_SRD,), scale, each, given, OF_ROWS=of_rows, G=slices)
    return gradient_SRD.sum(0)


def best(a_RD: torch.Tensor, c_CD: torch.Tensor, own_R: torch.Tensor | None, highest: bool) -> torch.Tensor:
    """As `au_dist.model.tiles.best`; of equal products the first."""
    splits, each = _splits(a_RD, len(c_CD))
    value_SR = a_RD.new_empty(splits, len(a_RD))
    place_SR = torch.empty_like(value_SR, dtype=torch.int32)
    sign = 1.0 if highest else -1.0
    _launch(_best_kernel, (splits,), a_RD, c_CD, own_R, (value_SR, place_SR), sign, each)
    return place_SR.gather(0, value_SR.argmax(0)[None])[0].long()


def _splits(a_RD: torch.Tensor, columns: int) -> tuple[int, int]:
    """Return in how many parts the columns are read and how many columns are in one."""
    blocks = triton.cdiv(columns, COLUMNS)
    processors = torch.cuda.get_device_properties(a_RD.device).multi_processor_count if a_RD.is_cuda else 2
    wanted = triton.cdiv(PROGRAMS * processors, triton.cdiv(len(a_RD), ROWS))
    each = triton.cdiv(blocks, min(wanted, blocks))
    return triton.cdiv(blocks, each), each * COLUMNS


def _launch(
    kernel: Any,
    grid: tuple[int, ...],
    a_RD: torch.Tensor,
    c_CD: torch.Tensor,
    own: torch.Tensor | None,
    out: tuple[torch.Tensor, ...],
    scale: float,
    each: int,
    given: tuple[torch.Tensor, ...] = (),
    **constants: Any,
) -> None:
    a_RD, c_CD = a_RD.contiguous(), c_CD.contiguous()
    kernel[(triton.cdiv(len(a_RD), ROWS), *grid)](
        a_RD,
        c_CD,
        *given,
        a_RD if own is None else own.contiguous(),
        *out,
        len(a_RD),
        len(c_CD),
        a_RD.shape[1],
        scale,
        each,
        OWN=own is not None,
        R=ROWS,
        C=COLUMNS,
        W=WIDTH,
        PRECISION="tf32x3",
        num_warps=WARPS,
        num_stages=STAGES,
        enable_fp_fusion=True,
        **constants,
    )
