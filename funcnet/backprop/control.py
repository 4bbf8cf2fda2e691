"""Equations that call programs: jit and its kin, cond and switch."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet import _jax
from funcnet._errors import GradientError
from funcnet.backprop.activity import Mask
from funcnet.backprop.alive import Lives, mask_of, of_mask, parted
from funcnet.backprop.program import FEW
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.staging import Staged, stage
from funcnet.backprop.sweep import Engine, Plan


def call(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A called program: both sweeps over its own equations.

    They are compiled, once for each program, as the call itself would have been; under an outer jit
    that saves tracing them for each call. There a program of a few equations is inlined.
    """
    if _jax.called_function(eqn.primitive, eqn.params) == "scipy.linalg.eigh_tridiagonal":
        eqn = _with_dense_eigenvalues(eqn)
    jaxpr, consts = _jax.called(eqn)
    plan = engine.kept_plan(jaxpr, asked, given)
    if _jax.under_jit() and len(jaxpr.eqns) <= FEW:
        ahead = functools.partial(plan.forward, consts)
        return Pullback(plan.gives, plan.backward, forward=ahead, masked=plan.masked_backward)
    staged, ahead, back = _compiled(plan, given)

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        inputs = [*consts, *xs]
        ys, extras = ahead(inputs)
        return ys, (only(inputs, staged.reads), extras)

    def masked(stash: Any, y_bars: Sequence[Any], lives: Lives) -> tuple[Sequence[Any], Lives]:
        return back(*stash, list(y_bars), list(lives))

    def backward(stash: Any, y_bars: Sequence[Any]) -> Sequence[Any]:
        return masked(stash, y_bars, [None] * len(y_bars))[0]

    return Pullback(staged.gives, backward, forward=forward, masked=masked)


def written_out(function: Callable) -> Callable[[Engine, _jax.Equation, Mask, Mask], Pullback]:
    """An equation that is walked back through what `function` writes it out as."""

    def pullback(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        run = jax.jit(functools.partial(function, **_jax.parameters(eqn)))
        (again,) = jax.make_jaxpr(run)(*(v.aval for v in eqn.invars)).eqns
        return call(engine, again, given, asked)

    return pullback


def _with_dense_eigenvalues(eqn: _jax.Equation) -> _jax.Equation:
    """`eigh_tridiagonal`, which bisects a bound on all eigenvalues, as `eigvalsh`.

    Raises:
        GradientError: it gives some of them, or vmap has mapped it.
    """
    (d, e), (w,) = eqn.invars, eqn.outvars
    if d.aval.ndim > 1 or w.aval.shape != d.aval.shape:
        raise GradientError(
            f"eigh_tridiagonal at {_jax.source_line(eqn)} bisects, which has no gradient, "
            f"expected all eigenvalues of one matrix; take jnp.linalg.eigvalsh of the whole matrix"
        )

    def eigenvalues(d: Any, e: Any) -> Any:
        return jnp.linalg.eigvalsh(jnp.diag(d) + jnp.diag(e, 1) + jnp.diag(e, -1))

    (dense,) = jax.make_jaxpr(jax.jit(eigenvalues))(d.aval, e.aval).eqns
    return eqn.replace(primitive=dense.primitive, params=dense.params)


@functools.lru_cache(maxsize=512)
def _compiled(plan: Plan, given: Mask) -> tuple[Staged, Callable, Callable]:
    """The two sweeps of a plan as compiled functions."""
    staged = stage(plan, given)
    return staged, jax.jit(staged.forward), jax.jit(staged.masked_backward)


def cond(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """cond and switch: the branch that ran is the branch that runs back.

    Each branch fills the slots that its stash needs; slots of the same type are shared by the
    branches, so that the switch brings out no more than the largest of them.
    """
    branches = [_jax.open_jaxpr(branch) for branch in eqn.params["branches"]]
    staged = [stage(engine.kept_plan(jaxpr, asked[1:], given), given) for jaxpr, _ in branches]
    types, slots = shared_slots([[v.aval for v in one.extras] for one in staged])
    gives = tuple(map(any, zip(*(one.gives for one in staged), strict=True)))
    consts = [len(values) for _, values in branches]
    reads = tuple(map(any, zip(*(one.reads[n:] for one, n in zip(staged, consts, strict=True)), strict=True)))

    def ahead(k: int, xs: Sequence[Any]) -> list[Any]:
        ys, extras = staged[k].forward([*branches[k][1], *xs])
        filled = dict(zip(slots[k], extras, strict=True))
        return [*ys, *(filled[i] if i in filled else _jax.zeros(t) for i, t in enumerate(types))]

    def back(
        k: int, xs: Sequence[Any], extras: Sequence[Any], y_bars: Sequence[Any], masks: Sequence[Any]
    ) -> list[Any]:
        inputs, own = [*branches[k][1], *xs], [extras[i] for i in slots[k]]
        x_bars, sent = staged[k].backward_in_parts(inputs, own, y_bars, masks)
        atoms = list(zip(x_bars, sent, eqn.invars[1:], gives, parts(masks), strict=True))
        bars = [_jax.zeros(v.aval) if x_bar is None else x_bar for x_bar, _, v, one, _ in atoms if one]
        return [*bars, *(_filled(mask, x_bar, v.aval) for x_bar, mask, v, _, part in atoms if part)]

    def parts(masks: Sequence[Any]) -> Mask:
        """Which gradients are alive in places only."""
        return tuple(map(any, zip(*(one.alive(masks) for one in staged), strict=True)))

    def forward(inputs: Sequence[Any]) -> tuple[list[Any], Any]:
        which, *xs = inputs
        results = switch(eqn, which, ahead, xs)
        return results[: len(given)], (which, only(xs, reads), results[len(given) :])

    def masked(stash: Any, y_bars: Sequence[Any], lives: Lives) -> tuple[list[Any], Lives]:
        which, xs, extras = stash
        masks = list(map(mask_of, lives))
        results = iter(switch(eqn, which, back, xs, extras, list(y_bars), masks))
        x_bars = [None, *(next(results) if one else None for one in gives)]
        sent = [None, *(of_mask(next(results)) if one else None for one in parts(masks))]
        return parted(eqn, y_bars, lives, x_bars, sent)

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        return masked(stash, y_bars, [None] * len(y_bars))[0]

    return Pullback((False, *gives), backward, forward=forward, masked=masked)


def _filled(mask: Any, x_bar: Any, aval: Any) -> Any:
    """The mask of a gradient, which may be alive everywhere, or none."""
    if mask is not None:
        return mask
    return _jax.zeros(_jax.bools(aval)) if x_bar is None else lax.full_like(x_bar, True, dtype=bool)


def switch(eqn: _jax.Equation, which: Any, branch: Callable[..., list[Any]], *operands: Any) -> list[Any]:
    """Run branch number `which`, or the one for the platform where that is what an equation chooses by."""
    n, platforms = len(eqn.params["branches"]), eqn.params.get("branches_platforms")
    branches = [functools.partial(branch, k) for k in range(n)]
    if platforms is not None:
        named = {name: one for names, one in zip(platforms, branches, strict=True) for name in names or ()}
        default = branches[platforms.index(None)] if None in platforms else None
        return lax.platform_dependent(*operands, default=default, **named)
    if n == 2:
        return lax.cond(lax.ne(which, lax.full_like(which, 0)), branches[1], branches[0], *operands)
    return lax.switch(which, branches, *operands)


def shared_slots(needs: Sequence[Sequence[Any]]) -> tuple[list[Any], list[list[int]]]:
    """The types of as many slots as the neediest branch has for each type; each branch's own slots."""
    types: list[Any] = []
    slots = []
    for need in needs:
        free = list(range(len(types)))
        own = []
        for aval in need:
            slot = next((i for i in free if types[i] == aval), None)
            if slot is None:
                slot = len(types)
                types.append(aval)
            else:
                free.remove(slot)
            own.append(slot)
        slots.append(own)
    return types, slots


def only(values: Sequence[Any], reads: Sequence[bool]) -> list[Any]:
    """These values, with None in place of those that nobody reads."""
    return [value if one else None for value, one in zip(values, reads, strict=True)]
