"""What a rule owes to JAX: trees, shapes, dtypes, one answer under every transformation; and its stash."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet._errors import VJPCheckError
from funcnet._types import Host
from funcnet.backprop.program import live
from funcnet.check import probes
from funcnet.check.criteria import Comparison, compare, spreads, unit
from funcnet.check.primal import subject, wide
from funcnet.check.probes import Answer, Probe
from funcnet.check.report import Stash
from funcnet.check.settle import at, error_of, number
from funcnet.check.trial import Trial, setting, trial, words


def check_types(made: Trial, dtype: Any) -> None:
    """The gradient can be traced, and shape and dtype of every x̄ are those of x.

    Raises:
        VJPCheckError: CONTRACT.
    """
    refusal = made.refusal(dtype)
    if refusal is not None:
        kind = made.point(dtype)[0].dtype
        raise made.fail("CONTRACT", f"its gradient cannot be traced in {kind}", ("error", words(refusal)))
    for i, (x, x_bar) in enumerate(zip(made.point(dtype), made.types(dtype), strict=True)):
        if (x.shape, x.dtype) != (x_bar.shape, x_bar.dtype):
            raise made.fail(
                "CONTRACT",
                f"the gradient is {x_bar.dtype}{list(x_bar.shape)}, expected the type of the argument",
                ("do", f"end the rule with .astype({made.subject.names[i]}.dtype)"),
                ("reproduce", made.again),
                argument=made.describe(i, dtype),
            )


def check_integers(made: Trial) -> None:
    """The rule returns None for integers; JAX drops what else it returns in silence.

    Raises:
        VJPCheckError: CONTRACT.
    """
    fun = made.subject.fun
    if not isinstance(fun, jax.custom_vjp) or fun.fwd is None or fun.bwd is None:
        return
    if fun.symbolic_zeros or fun.nondiff_argnums or not made.subject.rest:
        return
    fwd, bwd = fun.fwd, fun.bwd

    def raw(rest: Any, *xs: Any) -> Any:
        y, stash = made.subject.call(fwd, rest, xs)
        return bwd(stash, jax.tree.map(jnp.ones_like, y))

    with setting(None):
        x_bars = jax.eval_shape(raw, made.subject.rest, *made.point(None))
        args = made.subject.call(lambda *args: args, made.subject.rest, made.point(None))
    for arg, x_bar in zip(args, x_bars, strict=False):
        leaves = jax.tree.leaves(arg)
        integers = bool(leaves) and not any(
            jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves
        )
        given = [g for g in jax.tree.leaves(x_bar) if g.dtype != jax.dtypes.float0]
        if integers and given:
            raise made.fail(
                "CONTRACT",
                f"the rule returns {given[0].dtype}{list(given[0].shape)} for an argument without floats, "
                "which JAX drops in silence; expected None",
                ("do", "return None for integers, bools and keys"),
            )


def check_outputs(made: Trial, answer: Answer, truth: Answer, moved: Sequence[Sequence[Host]]) -> None:
    """The forward pass returns what the function returns, and the function what its reference does.

    Raises:
        VJPCheckError: CONTRACT.
    """
    sigmas = spreads(truth.ys, moved)
    dtypes = [max((made.grain, y.dtype), key=unit) for y in answer.ys]
    pairs = [("forward returns another result than the function", answer.forward, answer.ys)]
    if made.reference:
        pairs.append(("the function returns another result than its reference", answer.ys, truth.ys))
    for what, ys, others in pairs:
        relative = 1e-9 if all(y.dtype.itemsize >= 8 for y in ys) else 0.0
        for i, one in enumerate(compare(ys, list(map(wide, others)), sigmas, dtypes, made.slack, relative)):
            if (one.bad & np.isfinite(one.truth)).any():
                raise _other(made, what, one, "y" if len(ys) == 1 else f"y[{i}]")


def check_eager(made: Trial, probe: Probe, compiled: Answer, noises: Sequence[Host]) -> None:
    """The gradient without jit is that under jit, and stays where its argument is.

    Raises:
        VJPCheckError: CONTRACT.
    """
    with setting(made.base):
        xs, y_bars = jax.tree.map(jnp.asarray, (probe.xs, probe.y_bars))
        with _running(made, "without jit", "make it run eagerly too, or leave jit out of transforms"):
            eager = probes.pullback(made.flat, made.subject.rest, xs, y_bars)[2]
    _same(made, "without jit the gradient is another than under jit", eager, compiled.x_bars, noises)


def check_sharding(made: Trial) -> None:
    """The gradient of an array that lies on several devices lies as that array does.

    Raises:
        VJPCheckError: CONTRACT.
    """
    given = made.subject.given
    if not any(isinstance(x, jax.Array) and len(x.sharding.device_set) > 1 for x in given):
        return
    given = list(map(jnp.asarray, given))
    ys = made.flat(made.subject.rest, *given)
    with _running(made, "on the devices of its arguments", "keep each gradient where its argument is"):
        x_bars = probes.pullback(made.flat, made.subject.rest, given, tuple(map(jnp.ones_like, ys)))[2]
    for i, (x, x_bar) in enumerate(zip(given, x_bars, strict=True)):
        if not x_bar.sharding.is_equivalent_to(x.sharding, x.ndim):
            raise made.fail(
                "CONTRACT",
                "the gradient lies on other devices than its argument",
                ("argument", str(x.sharding)),
                ("gradient", str(x_bar.sharding)),
                (
                    "do",
                    "constrain it with jax.lax.with_sharding_constraint, or compute it where the argument is",
                ),
                argument=made.describe(i),
            )


@contextlib.contextmanager
def _running(made: Trial, how: str, advice: str) -> Iterator[None]:
    """An error inside says that the rule breaks its contract."""
    try:
        yield
    except (TypeError, ValueError, NotImplementedError) as error:
        raise made.fail(
            "CONTRACT", f"the rule does not run {how}", ("error", words(error)), ("do", advice)
        ) from None


def check_vmap(made: Trial, seen: Sequence[tuple[Probe, Answer]], noises: Sequence[Host]) -> None:
    """The gradient under vmap is that of each example.

    Raises:
        VJPCheckError: CONTRACT.
    """

    def mapped(function: Callable, stacks: Any) -> Any:
        return jax.vmap(function)(stacks)

    with _running(made, "under vmap", "give it a batching rule, or leave vmap out of transforms"):
        batched = made.ask([probe for probe, _ in seen], made.base, mapped)
    for one, (_, single) in zip(batched, seen, strict=True):
        summary = "under vmap the gradient is another than for each example"
        _same(made, summary, one.x_bars, single.x_bars, noises)


def _same(
    made: Trial, summary: str, found: Sequence[Any], expected: Sequence[Host], noises: Sequence[Host]
) -> None:
    """The same but for the order of sums: within the noise, and 8 roundings of the largest element."""
    for i, (one, other, noise) in enumerate(zip(map(np.asarray, found), expected, noises, strict=True)):
        truth = wide(other)
        largest = np.abs(truth[np.isfinite(truth)]).max(initial=0)
        kind = max((made.grain, one.dtype), key=unit)
        (comparison,) = compare([one], [truth], [noise + 8 * unit(kind) * largest], [kind], made.slack)
        if (comparison.bad & np.isfinite(truth)).any():
            raise _other(made, summary, comparison, made.subject.names[i], made.describe(i, made.base))


def _other(made: Trial, summary: str, one: Comparison, name: str, argument: str = "") -> Exception:
    found, expected = number(one.found[one.worst]), number(one.truth[one.worst])
    return made.fail(
        "CONTRACT",
        summary,
        ("worst", f"{at(name, one.worst)}: got {found}, expected {expected}"),
        ("error", error_of(one)),
        ("reproduce", made.again),
        argument=argument,
    )


def stash(made: Trial) -> Stash:
    """What the forward pass keeps for arguments of their own dtypes, and what of it backward reads."""
    backs: list[Any] = []

    def forward(rest: Any, *xs: Any) -> Any:
        ys, back = jax.vjp(functools.partial(made.flat, rest), *xs)
        leaves, tree = jax.tree.flatten(back)
        backs.append(tree)
        return ys, leaves

    def backward(ys: Any, leaves: Any) -> Any:
        return jax.tree.unflatten(backs[0], leaves)(ys)

    with setting(None):
        ys, leaves = jax.eval_shape(forward, made.subject.rest, *made.point(None))
        jaxpr, _ = _jax.open_jaxpr(jax.make_jaxpr(backward)(ys, leaves))
    _, read = live(jaxpr.eqns, jaxpr.outvars)
    kept = [
        (one.shape, str(one.dtype), v in read) for one, v in zip(leaves, jaxpr.invars[len(ys) :], strict=True)
    ]
    sizes = [one.size * one.dtype.itemsize for one in leaves]
    unread = sum(size for size, (_, _, is_read) in zip(sizes, kept, strict=True) if not is_read)
    return Stash(sum(sizes), unread, tuple(kept))


def check_contract(fun: Callable, *args: Any) -> None:
    """Check what a rule owes to JAX, without asking whether its numbers are right.

    Shape and dtype of each gradient are those of its argument, integers get None, forward returns what the
    function returns, and the gradient is the same with jit and without, and under vmap.

    Args:
        fun: the function.
        *args: where to check it.

    Raises:
        VJPCheckError: it breaks its CONTRACT.

    Source:
        The documentation of `jax.custom_vjp.defvjp`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> check_contract(jnp.tanh, jnp.ones(3))
    """
    __tracebackhide__ = True
    try:
        made = trial(fun, subject(fun, args), call="check_contract({}, *args)")
        check_types(made, made.base)
        check_types(made, None)
        check_integers(made)
        probe = made.probe(made.base)
        half = Probe(tuple(x / 2 for x in probe.xs), probe.y_bars)
        answer, halved = made.ask([probe, half], made.base)
        truth, *moved = made.truth([probe, *made.draws(probe)])
        check_outputs(made, answer, truth, [draw.ys for draw in moved])
        noises = spreads(truth.x_bars, [draw.x_bars for draw in moved])
        check_eager(made, probe, answer, noises)
        check_vmap(made, [(probe, answer), (half, halved)], noises)
    except VJPCheckError as error:
        raise VJPCheckError(error.finding) from None
