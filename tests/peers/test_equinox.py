"""equinox: modules, its loops that can be walked back, its filtered transformations, its markers.

A module is a pytree with leaves that are no arrays (activations, sizes), so its arrays are split off with
`eqx.partition` and the loss puts it together again: what `eqx.filter_grad` does, with our gradient in it.
"""

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from tests.backprop.compare import assert_close
from tests.peers.rows import Row, as_default, check, parametrize

rng = np.random.default_rng(13)
VECTOR = rng.standard_normal(4)
ROWS_OF_DATA = rng.standard_normal((5, 4))
KEY = jax.random.key(13)


def module(built, apply=None):
    """A loss of a module's arrays, and those arrays."""
    arrays, rest = eqx.partition(built, eqx.is_inexact_array)

    def loss(arrays):
        again = eqx.combine(arrays, rest)
        y = apply(again) if apply else jax.vmap(again)(jnp.asarray(ROWS_OF_DATA))
        return jnp.mean(jnp.sin(y) + 0.1 * y**2)

    return loss, arrays


def while_loop(**how):
    """Steps of x ↦ w sin x + b until a counter says stop."""

    def loss(p):
        def step(carry):
            i, x = carry
            return i + 1, jnp.sin(p["w"] * x) + p["b"]

        _, x = eqxi.while_loop(lambda carry: carry[0] < 7, step, (0, p["x"]), **how)
        return jnp.sum(x**2)

    return loss


def until_it_is_large(**how):
    """A loop whose number of steps depends on what is differentiated."""

    def loss(p):
        final = eqxi.while_loop(lambda x: jnp.sum(x**2) < 50.0, lambda x: x * (1.2 + p["w"]), p["x"], **how)
        return jnp.sum(jnp.sin(final))

    return loss


def buffers(**how):
    """A loop that writes each step into a buffer."""

    def loss(p):
        def step(carry):
            i, x, seen = carry
            x = jnp.tanh(p["w"] * x + p["b"])
            return i + 1, x, seen.at[i].set(x)

        init = (0, p["x"], jnp.zeros((6, 4), p["x"].dtype))
        how_to = {"max_steps": 6, "buffers": lambda carry: carry[2], **how}
        _, x, seen = eqxi.while_loop(lambda carry: carry[0] < 5, step, init, **how_to)
        return jnp.sum(seen[:5] ** 2) + jnp.sum(x)

    return loss


def each_its_own_count(p):
    """A batch of loops that stop at different times."""

    def run(x, n):
        def step(carry):
            i, x = carry
            return i + 1, jnp.sin(p["w"] * x)

        return eqxi.while_loop(lambda c: c[0] < n, step, (0, x), max_steps=8, kind="checkpointed")[1]

    return jnp.sum(jax.vmap(run)(p["x"], jnp.arange(4)) ** 2)


def nested(p):
    def outer(carry):
        i, x = carry
        inner = eqxi.while_loop(
            lambda c: c[0] < 2,
            lambda c: (c[0] + 1, p["w"] * jnp.sin(c[1])),
            (0, x),
            max_steps=2,
            kind="bounded",
        )
        return i + 1, x + inner[1]

    _, x = eqxi.while_loop(lambda c: c[0] < 3, outer, (0, p["x"]), max_steps=4, kind="checkpointed")
    return jnp.sum(x**2)


def scan(**how):
    def loss(p):
        def step(carry, x):
            carry = jnp.sin(p["w"] * carry + x)
            return carry, carry**2

        last, every = eqxi.scan(step, p["x"], jnp.asarray(ROWS_OF_DATA), **how)
        return jnp.sum(last) + jnp.sum(every)

    return loss


def noinline(p):
    f = eqxi.noinline(lambda w, x: w * jnp.sin(x))
    return jnp.sum(f(p["w"], f(p["w"], p["x"])) ** 2)


def noinline_within_scan(p):
    f = eqxi.noinline(lambda w, x: jnp.tanh(w * x) + 1)
    return jnp.sum(jax.lax.scan(lambda x, _: (f(p["w"], x), None), p["x"], length=3)[0])


def noinline_vmap(p):
    f = eqxi.noinline(lambda w, x: w * jnp.sin(x))
    return jnp.sum(jax.vmap(f, in_axes=(None, 0))(p["w"], p["x"]))


def noinline_choice(p):
    """Branches that are looked up when the program runs."""
    f = eqxi.noinline(lambda i, x: jax.lax.switch(i, [jnp.sin, jnp.cos, jnp.tanh], x))
    return jnp.sum(f(jnp.asarray(2), p["w"] * p["x"]))


@eqx.filter_custom_vjp
def clipped(x, bound):
    return x


@clipped.def_fwd
def _clipped_forward(perturbed, x, bound):
    return x, None


@clipped.def_bwd
def _clipped_backward(residuals, y_bar, perturbed, x, bound):
    return jnp.clip(y_bar, -bound, bound)


@eqx.filter_custom_jvp
def doubled_slope(x, name):
    return jnp.sin(x)


@doubled_slope.def_jvp
def _doubled_slope(primals, tangents):
    (x, _), (t, _) = primals, tangents
    return jnp.sin(x), None if t is None else 2 * jnp.cos(x) * t


def custom_rules(p):
    x = clipped(p["x"] * p["w"], 0.3)
    return jnp.sum(doubled_slope(x, "sine") * x)


def filter_checkpoint(p):
    f = eqx.filter_checkpoint(lambda x, name: jnp.sin(p["w"] * jnp.cos(x)), policy=None)
    return jnp.sum(f(f(p["x"], "a"), "b"))


def filter_jit_and_vmap(p):
    f = eqx.filter_jit(eqx.filter_vmap(lambda x, how: how(p["w"] * x), in_axes=(0, None)))
    return jnp.sum(f(p["x"], jnp.sin) ** 2)


def closure_converted(p):
    f = eqx.filter_closure_convert(lambda x: p["w"] * jnp.sin(x), p["x"])
    return jnp.sum(f(f(p["x"])))


def error_if(p):
    x = eqx.error_if(p["x"], jnp.any(p["x"] > 100), "too large")
    return jnp.sum(p["w"] * jnp.sin(x))


def unvmapped_condition(p):
    """A branch that all of a batch take together."""

    def one(x):
        return jax.lax.cond(eqxi.unvmap_any(x > 0), lambda: p["w"] * x**2, lambda: x)

    return jnp.sum(jax.vmap(one)(p["x"]))


def nondifferentiable_elsewhere(p):
    """What is marked is no function of what is differentiated."""
    fixed = eqxi.nondifferentiable(jnp.asarray(VECTOR), name="data")
    return jnp.sum(fixed * p["w"] * p["x"])


def backward_unused(p):
    """The mark's result does not reach the loss."""
    x = eqxi.nondifferentiable_backward(p["x"], name="x")
    return jnp.sum(jnp.sin(p["w"] * p["x"])) + jax.lax.stop_gradient(jnp.sum(x))


def omega(p):
    from equinox.internal import ω

    total = (ω({"a": p["x"], "b": p["w"] * p["x"]}) * 2 + ω({"a": p["x"], "b": p["x"]}) ** 2).ω
    return jnp.sum(total["a"] * total["b"])


def layers():
    first, second = eqx.nn.Linear(4, 4, key=KEY), eqx.nn.Linear(4, 3, key=KEY)
    return eqx.nn.Sequential([first, eqx.nn.Dropout(0.5), eqx.nn.Lambda(jnp.sin), second])


def dense_attention(built):
    x = jnp.asarray(ROWS_OF_DATA)
    return built(x, x, x, mask=jnp.tril(jnp.ones((5, 5), bool)))


def dropped_out(built):
    return built(jnp.asarray(VECTOR), key=KEY)


def recurrent(built):
    def step(carry, x):
        return built(x, carry), None

    return jax.lax.scan(step, jnp.zeros(3), jnp.asarray(ROWS_OF_DATA))[0]


POINT = {"w": np.array(0.7), "b": np.array(0.2), "x": VECTOR}
PAIR = {"w": np.array(0.7), "x": VECTOR}
CHECKPOINTED = {"kind": "checkpointed", "max_steps": 8}
BOUNDED = {"kind": "bounded", "max_steps": 16}

ROWS = [
    Row("MLP", make=lambda: module(eqx.nn.MLP(4, 2, 8, 2, key=KEY)), second=True),
    Row("MLP, tanh", make=lambda: module(eqx.nn.MLP(4, "scalar", 3, 1, jnp.tanh, jax.nn.softplus, key=KEY))),
    Row("LayerNorm", make=lambda: module(eqx.nn.LayerNorm(4))),
    Row("GroupNorm", make=lambda: module(eqx.nn.GroupNorm(2, 4))),
    Row(
        "Conv1d",
        make=lambda: module(eqx.nn.Conv1d(5, 3, 2, key=KEY), lambda conv: conv(jnp.asarray(ROWS_OF_DATA))),
    ),
    Row("MultiheadAttention", make=lambda: module(eqx.nn.MultiheadAttention(2, 4, key=KEY), dense_attention)),
    Row("GRUCell", make=lambda: module(eqx.nn.GRUCell(4, 3, key=KEY), recurrent)),
    Row("Sequential with Dropout", make=lambda: module(layers(), dropped_out)),
    Row("while, checkpointed", while_loop(**CHECKPOINTED), POINT),
    Row("while, checkpointed, no bound", while_loop(kind="checkpointed", checkpoints=3), POINT),
    Row("while, checkpointed, two checkpoints", while_loop(**CHECKPOINTED, checkpoints=2), POINT),
    Row("while, checkpointed, count by value", until_it_is_large(**CHECKPOINTED, checkpoints=8), PAIR),
    Row("while, bounded", while_loop(**BOUNDED), POINT, second=True),
    Row("while, bounded, base 2", while_loop(**BOUNDED, base=2), POINT),
    Row("while, bounded, count by value", until_it_is_large(**BOUNDED), PAIR),
    Row("while, checkpointed, buffers", buffers(kind="checkpointed"), POINT),
    Row("while, bounded, buffers", buffers(kind="bounded"), POINT),
    Row("while, vmap of counts", each_its_own_count, PAIR),
    Row("while within while", nested, PAIR),
    Row("scan, lax", scan(kind="lax"), PAIR),
    Row("scan, checkpointed", scan(kind="checkpointed"), PAIR),
    Row("scan, checkpointed, all", scan(kind="checkpointed", checkpoints="all"), PAIR),
    Row("scan, checkpointed, one", scan(kind="checkpointed", checkpoints=1), PAIR),
    Row("noinline", noinline, PAIR),
    Row("noinline within scan", noinline_within_scan, PAIR),
    Row("noinline, vmap", noinline_vmap, PAIR),
    Row("noinline, switch", noinline_choice, PAIR),
    Row("filter_custom_vjp and filter_custom_jvp", custom_rules, PAIR),
    Row("filter_checkpoint", filter_checkpoint, PAIR),
    Row("filter_jit of filter_vmap", filter_jit_and_vmap, PAIR),
    Row("filter_closure_convert", closure_converted, PAIR),
    Row("error_if", error_if, PAIR),
    Row("unvmap_any", unvmapped_condition, PAIR),
    Row("nondifferentiable, of data", nondifferentiable_elsewhere, PAIR),
    Row("nondifferentiable_backward, unused", backward_unused, PAIR),
    Row("ω", omega, PAIR),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)


REFUSED = {
    "nondifferentiable": (
        lambda p: jnp.sum(eqxi.nondifferentiable(p["x"] * p["w"], name="x")),
        RuntimeError,
        "Unexpected tangent. x cannot be autodifferentiated",
    ),
    "nondifferentiable_backward": (
        lambda p: jnp.sum(eqxi.nondifferentiable_backward(p["x"], name="x")),
        RuntimeError,
        "x cannot be reverse-mode autodifferentiated",
    ),
    "nontraceable": (
        lambda p: jnp.sum(eqxi.nontraceable(p["x"], name="x")),
        RuntimeError,
        "Detected differentiation of x",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_equinox_refuses_to_differentiate(name):
    """Its own error, by JAX's gradient and by ours."""
    loss, error, words = REFUSED[name]
    for library in (jax, funcnet):
        with pytest.raises(error, match=words):
            library.grad(loss)(jax.tree.map(jnp.asarray, POINT))


def test_the_kind_of_loop_that_jax_refuses(x64):
    """A `lax.while_loop` whose trip count is not known has a gradient here."""
    point = jax.tree.map(as_default, POINT)
    ours = funcnet.value_and_grad(while_loop(kind="lax"))(point)
    theirs = jax.value_and_grad(while_loop(**CHECKPOINTED))(point)
    assert_close(ours, theirs, 1e-12)
