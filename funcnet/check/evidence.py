"""All that a case and its answers amount to: the rulings, the short dtypes, the report."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet.backprop.program import live
from funcnet.check import domain, words
from funcnet.check.answers import Answers
from funcnet.check.case import Case
from funcnet.check.disputes import Ruling, settle
from funcnet.check.noise import Comparison, largest
from funcnet.check.precision import Short, in_short
from funcnet.check.probes import Answer, Probe
from funcnet.check.report import Finding, Report, Row, Stash
from funcnet.check.thresholds import COARSE


class Evidence(Answers):
    """The answers, and what follows from them."""

    @functools.cached_property
    def rulings(self) -> list[Ruling]:
        """Who is right at the arguments."""
        return settle(self, self.probe, self.compared, self.truth[0], self.moved)

    @property
    def settled(self) -> list[Comparison]:
        """The gradient at the arguments beside the true one."""
        return [ruling.compared for ruling in self.rulings]

    @functools.cached_property
    def rulings_elsewhere(self) -> list[Ruling]:
        """Who is right elsewhere, roughly."""
        found: list[Ruling] = []
        for where, (probe, rule, truth) in self.elsewhere.items():
            compared = self.roughly(rule, truth, self.settled)
            if where == domain.AT_ZERO:
                compared = list(map(_finiteness, compared))
            found += settle(self, probe, compared, truth, where=where, elsewhere=True)
        return found

    @property
    def true_elsewhere(self) -> list[Answer]:
        """Autodiff elsewhere."""
        return [truth for _, _, truth in self.elsewhere.values()]

    def vanishes_everywhere(self, i: int) -> bool:
        """Whether the i-th gradient is 0 at random arguments too, to the rounding of the values."""
        if self.u > COARSE or not any(y.size for y in self.truth[0].ys):
            return False
        probe, rng = self.case.widened([self.probe])[0], self.case.rng("anywhere")
        xs = tuple((x + rng.normal(size=x.shape)).astype(x.dtype) for x in probe.xs)
        (answer,) = self.true([Probe(xs, probe.given)])
        if answer is None or not answer.is_finite:
            return False
        floor = self.case.slack * self.floor(Probe(xs, probe.given), answer, i)
        return bool((np.abs(answer.found[i]) <= np.maximum(floor, self.case.slack * self.zero[i])).all())

    @property
    def dtypes(self) -> list[Any]:
        """The dtypes to check in beside the base; None stands for those of the arguments."""
        case, chosen = self.case, self.case.options.dtypes
        if chosen is not None:
            return [jnp.dtype(dtype) for dtype in chosen if jnp.dtype(dtype) != jnp.float64]
        widest = all(jnp.finfo(dtype).bits == 64 for dtype in case.subject.dtypes)
        return [None] if case.base is not None and not widest else []

    @functools.cached_property
    def shorts(self) -> list[Short]:
        """The gradient in short dtypes; the first that is wrong ends it."""
        found: list[Short] = []
        for dtype in self.dtypes:
            found.append(in_short(self, dtype))
            if found[-1].finding:
                break
        return found

    def explained(self, finding: Finding) -> Finding:
        """The finding, or what equal eigenvalues or singular values make of the gradient.

        A rule of one's own is no better off there, if it is right where they are apart.
        """
        blamed = finding.verdict in ("WRONG", "KINK", "NONLINEAR", "UNSTABLE", "CONTRACT")
        if not (blamed and self.case.primal.decomposes() and self.ends):
            return finding
        equal = self.equal_values()
        if not equal or (self.case.own_rules and not self._is_right_beside()):
            return finding
        return words.of_equal_values(finding, equal)

    def _is_right_beside(self) -> bool:
        beside = self.beside(self.probe, "apart")
        (rule,), (truth,) = self.ask([beside], self.case.base), self.true([beside])
        if rule is None or truth is None:
            return False
        return not any(one.bad.any() for one in self.roughly(rule, truth))

    def report(self) -> Report:
        """What was measured."""
        case = self.case
        rows = [_row(case, i, one, case.base) for i, one in enumerate(self.settled)]
        rows += [
            _row(case, i, one, short.dtype) for short in self.shorts for i, one in enumerate(short.compared)
        ]
        notes = [
            *case.notes,
            *self.dropped,
            *(ruling.note for ruling in (*self.rulings, *self.rulings_elsewhere)),
            *(note for short in self.shorts for note in short.notes),
        ]
        return Report(
            case.subject.name,
            tuple(rows),
            _stash(case),
            case.own_rules,
            self.runner.probes,
            self.runner.calls,
            words.all_of(notes),
        )


def _finiteness(one: Comparison) -> Comparison:
    truth = np.where(np.isfinite(one.found), one.found, one.truth)
    return Comparison(one.found, truth, one.noise, one.tolerance)


def _row(case: Case, i: int, one: Comparison, dtype: Any) -> Row:
    x, size = case.types(dtype)[i], largest(one.truth)
    relative = largest(one.error) / size if size else 0.0
    return Row(case.name(i), x.shape, str(x.dtype), one.roundings, relative, one.smallest)


def _stash(case: Case) -> Stash | None:
    """What the forward pass keeps for arguments of their own dtypes, and what of it backward reads."""
    if not case.mode.is_reverse:
        return None
    backs: list[Any] = []

    def forward(rest: Any, *xs: Any) -> Any:
        ys, back = jax.vjp(functools.partial(case.flat, rest), *xs)
        leaves, tree = jax.tree.flatten(back)
        backs.append(tree)
        return ys, leaves

    def backward(ys: Any, leaves: Any) -> Any:
        return jax.tree.unflatten(backs[0], leaves)(ys)

    ys, leaves = jax.eval_shape(forward, case.subject.rest, *case.subject.at(None))
    jaxpr, _ = _jax.open_jaxpr(jax.make_jaxpr(backward)(ys, leaves))
    _, read = live(jaxpr.eqns, jaxpr.outvars)
    kept = [(x.shape, str(x.dtype), v in read) for x, v in zip(leaves, jaxpr.invars[len(ys) :], strict=True)]
    sizes = [x.size * x.dtype.itemsize for x in leaves]
    unread = sum(size for size, (_, _, is_read) in zip(sizes, kept, strict=True) if not is_read)
    return Stash(sum(sizes), unread, tuple(kept))
