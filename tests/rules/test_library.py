"""Every function of JAX that has a derivative of JAX's own is known by name, or stands with a reason."""

import importlib
import subprocess
import sys

import jax
import pytest

from funcnet._jax.foreign import HOLDING
from funcnet.rules._standing import STANDING
from funcnet.rules.functions import DEFINED

WALK = """
import contextlib, gc, importlib, io, pkgutil, warnings
import jax
import jax.numpy as jnp
import numpy as np

warnings.simplefilter("ignore")
for module in pkgutil.walk_packages(jax.__path__, "jax.", onerror=lambda name: None):
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(BaseException):
        importlib.import_module(module.name)
for each in gc.get_objects():
    if type(each) in (jax.custom_jvp, jax.custom_vjp):
        print("found", each.fun.__module__, each.fun.__qualname__)

from jax.experimental import hijax

kinds = [getattr(hijax, "HiPrim", None) or hijax.VJPHiPrimitive]
for kind in kinds:
    kinds += kind.__subclasses__()
    print("hijax", kind.__module__, kind.__qualname__)
"""
"""In a process of its own, as some modules change what other tests see; some want what is not installed."""

NEWER = {
    *("numpy.lax_numpy._i1", "numpy.lax_numpy.i0_impl", "scipy.special._erfcinv"),
    *("lax.erf.exp_neg_sq", "numpy.lax_numpy._i1_maclaurin", "numpy.ufuncs._hypot"),
    *("scipy.special._expn", "scipy.special._rel_entr"),
    *("scipy.special._erfcinv_grad", "scipy.special._erfcx_grad", "scipy.special._ndtri_grad"),
}
"""What JAX 0.10 does not have, or without a derivative of its own."""
OLDER = {
    *("numpy.lax_numpy._i0", "numpy.ufuncs._frexp", "numpy.ufuncs._sinc_maclaurin"),
    *("ad_checkpoint.primal_left_tangent_right", "lax.control_flow.solves._custom_root"),
}
"""What JAX 0.12 does not have, or without a derivative of its own."""
ELSEWHERE = NEWER if jax.__version_info__ < (0, 12) else OLDER


PROGRAMS = {
    *("VJPHiPrimitive", "HiPrim", "Scan3", "OptRemat", "RematTraced", "CustomRemat", "CheckpointName"),
    *("CheckpointNameFwd", "Nonzero", "SearchSorted", "Einsum", "Einshape", "Frexp", "Ldexp", "Fusible"),
    "_RootLinearMap",
}
"""Operations of hijax that have a rule of ours, or the derivative of the program that they stand for."""


@pytest.fixture(scope="module")
def walk():
    done = subprocess.run([sys.executable, "-c", WALK], capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def found(walk):
    """The places of all that has a derivative of JAX's own."""
    places = (f"{module}.{name}" for of, module, name in walk if of == "found" and module.startswith("jax."))
    return {place.removeprefix("jax.").removeprefix("_src.") for place in places}


def test_every_operation_of_hijax_is_its_program_or_brings_its_derivative(walk):
    kinds = {name for of, module, name in walk if of == "hijax" and module.startswith("jax.")}
    assert kinds - PROGRAMS - HOLDING == set()
    assert PROGRAMS.isdisjoint(HOLDING)


def test_every_derivative_of_jax_s_own_is_known_or_stands_for_a_reason(found):
    assert len(found) > 40
    assert found - DEFINED.keys() - STANDING.keys() == set()
    assert DEFINED.keys().isdisjoint(STANDING)


def test_what_stands_is_in_this_jax_or_of_another_version(found):
    assert STANDING.keys() - found == STANDING.keys() & ELSEWHERE


@pytest.mark.parametrize("place", [place for place in DEFINED if not place.startswith("funcnet.")])
def test_what_is_known_is_in_this_jax_or_of_another_version(place):
    module, _, name = place.rpartition(".")
    assert hasattr(importlib.import_module(f"jax._src.{module}"), name) != (place in ELSEWHERE)
