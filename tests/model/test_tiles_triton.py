"""The Triton kernels equal the plain form, on a GPU or interpreted; and they compile without one."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from dense_aunce import dense_aunce

from au_dist.model import tiles, tiles_plain
from au_dist.model.losses import aunce_loss, draw_kinds

pytest.importorskip("triton", reason="Triton is not made for this platform")

from au_dist.model import tiles_triton

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def two_sets(rows, columns, width):
    generator = torch.Generator().manual_seed(rows)
    made = [torch.randn(count, width, generator=generator, dtype=torch.float64) for count in (rows, columns)]
    return [F.normalize(x, dim=-1) for x in made]


# On CPUs Triton is interpreted, and NumPy warns of a part of the columns that is a row's own one and nothing else.
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(("own", "scale"), [(False, 0.8), (True, 20.0)])
@pytest.mark.parametrize(
    ("rows", "columns", "width"),
    [(1, 2, 1), (64, 64, 32), (70, 130, 24), (3, 300, 8), pytest.param(130, 65, 150, marks=pytest.mark.slow)],
)
def test_kernels_equal_the_plain_form(rows, columns, width, own, scale):
    exact = two_sets(rows, columns, width)
    own_R = torch.randint(0, columns, (rows,), generator=torch.Generator().manual_seed(1)) if own else None
    given = [x.float().to(DEVICE) for x in exact]
    mine_R = None if own_R is None else own_R.to(DEVICE)
    value_R = tiles_plain.log_sum_exp(*exact, scale, own_R)
    torch.testing.assert_close(
        tiles_triton.log_sum_exp(*given, scale, mine_R).cpu().double(), value_R, rtol=1e-6, atol=2e-6 * scale
    )
    gradient_R = torch.randn(rows, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    known = [x.float().to(DEVICE) for x in (value_R, gradient_R)]
    for found, right in zip(
        tiles_triton.log_sum_exp_gradient(*given, scale, *known, mine_R),
        tiles_plain.log_sum_exp_gradient(*exact, scale, value_R, gradient_R, own_R),
        strict=True,
    ):
        assert (found.cpu() - right).norm() <= 1e-5 * right.norm()
    for highest in (True, False):
        place_R = tiles_triton.best(*given, mine_R, highest).cpu()
        assert torch.equal(place_R, tiles_plain.best(*exact, own_R, highest))


def test_of_equal_products_the_first_is_best():
    a_RD, c_CD = torch.ones(2, 4, device=DEVICE), torch.ones(200, 4, device=DEVICE)
    own_R = torch.tensor([0, 5], device=DEVICE)
    assert tiles_triton.best(a_RD, c_CD, own_R, True).tolist() == [1, 0]


@pytest.mark.parametrize("mode", [pytest.param("released", marks=pytest.mark.slow), "corrected"])
def test_aunce_with_kernels_equals_the_dense_form(monkeypatch, mode):
    monkeypatch.setattr(tiles, "form_for", lambda a_RD, c_CD: tiles_triton)
    count, generator = 48, torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(2, count, 4, 40, generator=generator), dim=-1).to(DEVICE)
    y = (torch.rand(count, 4, generator=generator) < torch.tensor([0.3, 0.02, 0.6, 0.5])).long().to(DEVICE)
    valid = (torch.rand(count, 4, generator=generator) < 0.8).to(DEVICE)
    kinds = draw_kinds((1, 1, 1, 1), (2 * count, 4), generator).to(DEVICE)
    found = []
    for loss, names in ((aunce_loss, "kinds_A"), (dense_aunce, "kinds_NA")):
        exact = loss is dense_aunce
        z1, z2 = (view.double() if exact else view.clone() for view in z)
        z1.requires_grad_(), z2.requires_grad_()
        value = loss(z1, z2, y, temperature=0.1, mode=mode, valid_NA=valid, **{names: kinds})
        value.backward()
        found.append((value.detach(), z1.grad, z2.grad))
    for mine, dense in zip(*found, strict=True):
        assert (mine - dense).norm() <= 1e-5 * dense.norm()


def test_other_devices_and_types_take_the_plain_form():
    assert tiles.form_for(*[torch.zeros(1)] * 2) is tiles_plain
    if DEVICE == "cuda":
        assert tiles.form_for(*[torch.zeros(1, device="cuda")] * 2) is tiles_triton
        assert tiles.form_for(torch.zeros(0, device="cuda"), torch.zeros(1, device="cuda")) is tiles_plain
        assert tiles.form_for(*[torch.zeros(1, device="cuda", dtype=torch.float64)] * 2) is tiles_plain


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from au_dist.model import tiles_triton as forms

constants = {"OWN": True, "OF_ROWS": False, "R": forms.ROWS, "C": forms.COLUMNS, "W": forms.WIDTH,
             "G": forms.GRADIENT_WIDTH, "PRECISION": "tf32x3"}
kinds = {"rows": "i32", "columns": "i32", "width": "i32", "each": "i32", "scale": "fp32", "sign": "fp32",
         "own": "*i64", "own_R": "*i64", "place_SR": "*i32"}
options = {"num_warps": forms.WARPS, "num_stages": forms.STAGES, "enable_fp_fusion": True}
for kernel in (forms._log_sum_exp_kernel, forms._gradient_kernel, forms._best_kernel):
    types = {name: "constexpr" if name in constants else kinds.get(name, "*fp32") for name in kernel.arg_names}
    values = {name: value for name, value in constants.items() if name in types}
    made = triton.compile(ASTSource(kernel, types, values), target=GPUTarget("cuda", 90, 32), options=options)
    assert made.asm["cubin"] and made.metadata.shared <= 160 * 1024, made.metadata
"""


@pytest.mark.slow
def test_kernels_compile_for_a_gpu(tmp_path):
    """The interpreter forgives what the compiler does not."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
