"""Equations that call a program: jit and its kin, functions with derivatives of their users' own, remat."""

from typing import Any

import jax

from funcnet import _jax
from funcnet.backprop.pullback import Mask, Pullback
from funcnet.backprop.sweep import Engine


def jit(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A jitted function: both sweeps over its own program."""
    jaxpr, consts = _jax.open_jaxpr(eqn.params["jaxpr"])
    plan = engine.plan(jaxpr, asked, given)
    return Pullback(plan.gives, lambda xs: plan.forward(consts, xs), plan.backward)
