"""Every rule has rows, or a test that fails if the rule is wrong; every primitive stands in one place."""

import functools
import importlib
import itertools
import pkgutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import funcnet.rules
from funcnet.backprop.engine import PULLBACKS
from funcnet.rules import PIECEWISE_CONSTANT, REFUSED, RULES, Rule
from tests.rules import test_collectives as collectives
from tests.rules import test_conversions as conversions
from tests.rules import test_placement as placement
from tests.rules import test_powers as powers

OF_ALL_ROWS = {"test_accuracy", "test_checked", "test_completeness", "test_listing", "test_second_order"}
MODULES = [
    importlib.import_module(f"tests.rules.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("test_*.py"))
    if path.stem not in OF_ALL_ROWS
]
ROWS = [row for module in MODULES for row in getattr(module, "ROWS", [])]
WITH_ROWS = {row.primitive for row in ROWS}

MADE_BY_REVERSE_MODE = {"custom_lin", "call_hi_primitive_linearized"}
PLACES = {
    "RULES": RULES,
    "PULLBACKS": PULLBACKS,
    "PIECEWISE_CONSTANT": PIECEWISE_CONSTANT,
    "REFUSED": REFUSED,
    "made by reverse mode": MADE_BY_REVERSE_MODE,
}

# A row is a program on one device outside of any vmap, and these are not found in such programs.
TESTED_WITHOUT_ROWS = {
    **{
        name: (collectives.test_gradient_under_vmap_is_the_gradient_of_the_batch, name, collectives.first)
        for name in ("psum", "all_gather", "reduce_scatter", "ppermute", "all_to_all")
    },
    "psum_invariant": (collectives.test_gradient_on_one_device_is_that_of_jax, "psum"),
    "pvary": (collectives.test_gradient_on_one_device_is_that_of_jax, "psum"),
    "all_gather_invariant": (collectives.test_gradient_on_one_device_is_that_of_jax, "all_gather_invariant"),
    "pbroadcast": (collectives.test_broadcast_sends_the_sum_back_to_its_source, "pbroadcast"),
    "pbroadcast_dynamic": (collectives.test_broadcast_sends_the_sum_back_to_its_source, "pbroadcast_dynamic"),
    "call_hi_primitive": (powers.test_the_rule_of_ldexp,),
    "to_edtype": (conversions.test_a_gradient_passes_an_extended_dtype,),
    "from_edtype": (conversions.test_a_gradient_passes_an_extended_dtype,),
    "stage": (placement.test_stage_is_a_copy,),
    "reshard": (placement.test_a_gradient_comes_back_with_the_sharding_of_its_input,),
    "relayout": (placement.test_a_new_layout_hands_the_gradient_on,),
    "with_memory_space_constraint": (placement.test_another_memory_hands_the_gradient_on,),
}
"""For each the test, and its arguments, that stands in for rows."""
OF_ONE_VERSION = {
    *("log2", "one_minus_square", "polynomial", "shard_alike"),
    *("jax.scipy.special.erfcinv", "jax.scipy.special.i1", "jax.scipy.special.ndtri"),
}


LISTS_OF_JAX = """
import contextlib, gc, importlib, io, pkgutil, warnings
import jax, jax.experimental

warnings.simplefilter("ignore")
for module in pkgutil.iter_modules(jax.experimental.__path__, "jax.experimental."):
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(BaseException):
        importlib.import_module(module.name)
from jax._src.interpreters import ad
from jax.extend.core import Primitive
tables = (ad.primitive_jvps, ad.primitive_transposes, getattr(ad, "fancy_transposes", {}))
print(*sorted({primitive.name for table in tables for primitive in table}))
print(*sorted({thing.name for thing in gc.get_objects() if isinstance(thing, Primitive)}))
"""


@functools.cache
def lists_of_jax():
    """The primitives that JAX differentiates, and all, in a process without those of other libraries."""
    run = [sys.executable, "-c", LISTS_OF_JAX]
    output = subprocess.run(run, capture_output=True, check=True, text=True).stdout
    differentiated, existing = map(str.split, output.splitlines())
    return differentiated, existing


def test_every_rule_has_rows_or_a_test_of_its_own():
    """Whether JAX differentiates its primitive or not."""
    tested = WITH_ROWS | set(TESTED_WITHOUT_ROWS)
    spelled_otherwise = {
        name
        for name, rule in RULES.items()
        if (other := name.replace("_", "-")) in tested and RULES[other] is rule
    }
    _, existing = lists_of_jax()
    assert set(RULES) - tested - spelled_otherwise <= OF_ONE_VERSION - set(existing)


def test_every_row_has_a_rule():
    assert WITH_ROWS - {*RULES, *PIECEWISE_CONSTANT, *PULLBACKS} == set()


def test_every_row_has_an_oracle():
    """JAX or differences: without both, a row would compare a rule with nothing."""
    assert [str(row) for row in ROWS if not (row.jax or row.differences)] == []


def test_rows_have_names_of_their_own():
    names = [str(row) for row in ROWS]
    assert sorted(names) == sorted(set(names))


def test_what_is_tested_without_rows_is_a_rule_without_rows():
    assert set(TESTED_WITHOUT_ROWS) <= set(RULES) - WITH_ROWS


def off(x_bar):
    """A gradient that is wrong by a thousandth."""
    if jnp.issubdtype(x_bar.dtype, jax.dtypes.extended):
        return lax.convert_element_type(off(lax.convert_element_type(x_bar, jnp.float32)), x_bar.dtype)
    return 1.001 * x_bar


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", TESTED_WITHOUT_ROWS)
def test_a_test_in_place_of_rows_fails_for_a_rule_off_by_a_thousandth(name, monkeypatch):
    (test, *args), right = TESTED_WITHOUT_ROWS[name], RULES[name]

    def wrong(*xs, **params):
        return tuple(None if x_bar is None else off(x_bar) for x_bar in right(*xs, **params))

    rules = RULES | {name: wrong}
    broken = {"RULES": rules, "vjp": functools.partial(funcnet.vjp, rules=rules)}
    module = sys.modules[test.__module__]
    assert module in MODULES
    for place, (attribute, value) in itertools.product((module, funcnet), broken.items()):
        if hasattr(place, attribute):
            monkeypatch.setattr(place, attribute, value)
    with pytest.raises(AssertionError):
        test(*args)


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(PLACES, 2)])
def test_no_primitive_stands_in_two_places(one, other):
    assert set(PLACES[one]).isdisjoint(PLACES[other])


@pytest.mark.parametrize("name", lists_of_jax()[0])
def test_primitive_is_accounted_for(name):
    assert any(name in place for place in PLACES.values())


def test_every_rule_that_is_written_is_the_one_in_the_table():
    """None is in a file that is not listed, and no two are for one primitive."""
    files = pkgutil.iter_modules(funcnet.rules.__path__, "funcnet.rules.")
    lost = [
        f"{file.name}: {name}"
        for file in files
        for rule in vars(importlib.import_module(file.name)).values()
        if isinstance(rule, Rule)
        for name in rule.primitives
        if RULES.get(name) is not rule
    ]
    assert lost == []


def test_each_rule_has_formula_and_source():
    assert [name for name, rule in RULES.items() if not (rule.formula and rule.source)] == []
