"""Equal eigenvalues and singular values: their vectors are open, and so is every gradient through them.

A finding at such a point says so instead, whatever the rules of JAX make of 0/0 there. A rule of one's own is
no better off, if it is right where the values are apart.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet.backprop.program import evaluate
from funcnet.backprop.undecorated import run_equation
from funcnet.check.answers import Answers
from funcnet.check.comparisons import beside, roughly
from funcnet.check.finding import Finding
from funcnet.check.primal import Primal

_VALUES = {"svd": (0, "singular values"), "eigh": (1, "eigenvalues"), "eig": (0, "eigenvalues")}
"""Of a decomposition the place of its values among its results, and their name."""

_GATES = {
    "eigenvalues": "matrix_function (exp, log, √, 1/√) or projector",
    "singular values": "polar, low_rank or nuclear_norm",
}
"""What has a gradient all the same."""


def explained(seen: Answers, finding: Finding) -> Finding:
    """The finding, or what equal values make of it."""
    primal = seen.case.primal
    if finding.verdict == "VACUOUS" or not primal.decomposes() or not seen.ends:
        return finding
    within = max(float(jnp.finfo(dtype).eps) for dtype in seen.case.subject.dtypes) ** 0.5
    with seen.case.precise():
        equal = _equal(primal, seen.case.subject.rest, seen.case.widened(seen.probe).xs, within)
    if not equal or (seen.case.own_rules and not _is_right_beside(seen)):
        return finding
    hint = (
        f"equal {equal} leave their vectors open; what depends on none of them has a gradient by a gate "
        f"of funcnet.nn: {_GATES[equal]}"
    )
    details = dict(finding.details)
    kept = {label: details.get(label) for label in ("worst", "error", "along v", "hint", "rule", "reproduce")}
    lines = tuple((label, text) for label, text in (kept | {"hint": hint}).items() if text is not None)
    summary = f"it goes through the vectors of equal {equal}, which have no derivative"
    return replace(finding, verdict="UNSTABLE", summary=summary, details=lines)


def _equal(primal: Primal, rest: Sequence[Any], xs: Sequence[Any], within: float) -> str:
    """What is equal whose vectors are used: "eigenvalues", "singular values", or nothing.

    Equal are two that are apart by less than `within` times the largest: they share half of their digits.
    """
    used = {id(v) for eqn in primal.jaxpr.eqns for v in eqn.invars} | set(map(id, primal.jaxpr.outvars))
    found: list[str] = []

    def watched(eqn: _jax.Equation, inputs: Sequence[Any]) -> Sequence[Any]:
        ys = run_equation(eqn, inputs)
        place, name = _VALUES.get(eqn.primitive.name, (None, ""))
        if place is not None and any(id(v) in used for k, v in enumerate(eqn.outvars) if k != place):
            w = np.asarray(ys[place])
            gaps = np.abs(w[..., :, None] - w[..., None, :]) + np.diag(np.full(w.shape[-1], np.inf))
            if (gaps <= within * np.abs(w).max(axis=-1, initial=0)[..., None, None]).any():
                found.append(name)
        return ys

    evaluate(primal.jaxpr, primal.consts, primal.inputs(rest, xs), watched)
    return next(iter(found), "")


def _is_right_beside(seen: Answers) -> bool:
    probe = beside(seen, seen.probe, "apart")
    (rule,), (truth,) = seen.ask([probe], seen.case.base), seen.true([probe])
    if rule is None or truth is None:
        return False
    return not any(one.bad.any() for one in roughly(seen, rule, truth))
