"""Every rule has rows and every row a rule; every primitive that JAX differentiates is accounted for."""

import functools
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from funcnet.backprop.engine import CALLS
from funcnet.rules import PIECEWISE_CONSTANT, REFUSED, RULES

MODULES = [
    importlib.import_module(f"tests.rules.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("test_*.py"))
    if path.stem not in ("test_checked", "test_completeness", "test_listing")
]
ROWS = [row for module in MODULES for row in getattr(module, "ROWS", [])]

MADE_BY_REVERSE_MODE = {"custom_lin", "linear_call", "call_hi_primitive_linearized"}
TESTED_WITHOUT_ROWS = {
    **dict.fromkeys(
        ["psum", "psum_invariant", "pvary", "all_gather", "all_gather_invariant"], "test_collectives"
    ),
    **dict.fromkeys(["reduce_scatter", "ppermute", "all_to_all"], "test_collectives"),
    **dict.fromkeys(["pbroadcast", "pbroadcast_dynamic"], "test_collectives"),
    "call_hi_primitive": "test_powers: jnp.ldexp in newer JAX",
    "stage": "test_placement: tracing removes it",
    "reshard": "test_placement: it needs a mesh",
    "relayout": "an identity for arrays with a layout, which the CPU has not",
    "with_memory_space_constraint": "an identity for memory that the CPU has not",
}


LIST_OF_JAX = """
from jax._src.interpreters import ad
tables = (ad.primitive_jvps, ad.primitive_transposes, getattr(ad, "fancy_transposes", {}))
print(*sorted({primitive.name for table in tables for primitive in table}))
"""


@functools.cache
def names_of_jax():
    """The primitives that JAX differentiates, in a process without those that other libraries add."""
    run = [sys.executable, "-c", LIST_OF_JAX]
    return subprocess.run(run, capture_output=True, check=True, text=True).stdout.split()


def test_every_rule_has_rows():
    with_rows = {row.primitive for row in ROWS} | set(TESTED_WITHOUT_ROWS)
    assert set(RULES) & set(names_of_jax()) <= with_rows


def test_every_row_has_a_rule():
    assert {row.primitive for row in ROWS} <= {*RULES, *PIECEWISE_CONSTANT, *CALLS}


def test_rows_have_names_of_their_own():
    names = [str(row) for row in ROWS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", names_of_jax())
def test_primitive_is_accounted_for(name):
    places = [RULES, CALLS, PIECEWISE_CONSTANT, REFUSED, MADE_BY_REVERSE_MODE]
    assert sum(name in place for place in places) == 1


def test_each_rule_has_formula_and_source():
    assert [name for name, rule in RULES.items() if not (rule.formula and rule.source)] == []
