"""Every gate through `funcnet.check_vjp`, which must also see each of its rules broken on purpose.

One row a gate (or a gate with other parameters or labels). The oracles are autodiff of the primal, which
shares no line with the gate's backward pass, and differences, which share none with JAX. The checker runs
without jaxtyping's checks, as users run it.
"""

import functools
import importlib
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import VJPCheckError, check_vjp, nn
from funcnet.nn._gate import Gate

pytestmark = pytest.mark.usefixtures("no_shape_checks")

MODULES = [
    importlib.import_module(module.name) for module in pkgutil.iter_modules(nn.__path__, "funcnet.nn.")
]
GATES = {value for module in MODULES for value in vars(module).values() if isinstance(value, Gate)}


def normal(*shape, away_from=None):
    """Standard normal samples; away from a kink by more than the finite differences reach."""

    def sample(rng):
        x = rng.normal(size=shape)
        return x if away_from is None else np.where(abs(x - away_from) < 0.1, away_from + 0.1, x)

    return sample


def labels(classes, *shape):
    return lambda rng: rng.integers(classes, size=shape, dtype=np.int32)


def probabilities(*shape):
    return lambda rng: rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def unit(*shape):
    return lambda rng: rng.uniform(size=shape)


def positive_definite(n):
    """Far from singular, and with eigenvalues far from each other."""

    def sample(rng):
        q = np.linalg.qr(rng.normal(size=(n, n)))[0]
        return (q * np.arange(1.0, n + 1)) @ q.T

    return sample


def with_singular_values(m, n):
    def sample(rng):
        u, _, vt = np.linalg.svd(rng.normal(size=(m, n)), full_matrices=False)
        return (u * np.arange(1.0, min(m, n) + 1)) @ vt

    return sample


def apart(*shape):
    """Numbers of which no two are close: a window's largest stays the largest."""
    return lambda rng: rng.permutation(np.linspace(-2, 2, math.prod(shape))).reshape(shape)


def prng_key(rng):
    return jax.random.key(int(rng.integers(1000)))


@dataclass(frozen=True)
class Row:
    gate: Gate
    samplers: tuple[Callable, ...]
    params: dict = field(default_factory=dict)
    name: str = ""
    batched: tuple[int, ...] = (0,)  # the arguments that carry the leading batch dimensions

    def sample(self, seed=0, dtype=None):
        rng = np.random.default_rng(seed)
        xs = [sampler(rng) for sampler in self.samplers]
        return [x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else self._cast(x, dtype) for x in xs]

    @staticmethod
    def _cast(x, dtype):
        return jnp.asarray(x, dtype if np.issubdtype(x.dtype, np.floating) else None)


ROWS = [
    Row(nn.linear, (normal(4, 3), normal(3, 5))),
    Row(nn.affine, (normal(4, 3), normal(3, 5), normal(5))),
    Row(nn.affine, (normal(3), normal(3, 5), normal(5)), name="one example"),
    Row(nn.affine, (normal(2, 4, 3), normal(3, 5), normal(5)), name="two batch dimensions"),
    Row(nn.maxout, (normal(4, 3), normal(3, 2, 5), normal(2, 5))),
    Row(nn.maxout, (normal(4, 3), normal(3, 4, 5), normal(4, 5)), name="four pieces"),
    Row(nn.sigmoid, (normal(4, 3),)),
    Row(nn.tanh, (normal(4, 3),)),
    Row(nn.relu, (normal(4, 3, away_from=0),)),
    Row(nn.leaky_relu, (normal(4, 3, away_from=0),)),
    Row(nn.leaky_relu, (normal(4, 3, away_from=0),), {"slope": 0.3}, "slope 0.3"),
    Row(nn.elu, (normal(4, 3, away_from=0),)),
    Row(nn.elu, (normal(4, 3, away_from=0),), {"alpha": 0.7}, "alpha 0.7"),
    Row(nn.softplus, (normal(4, 3),)),
    Row(nn.silu, (normal(4, 3),)),
    Row(nn.gelu, (normal(4, 3),)),
    Row(nn.softmax_loss, (normal(4, 3), labels(3, 4)), batched=(0, 1)),
    Row(nn.softmax_loss, (normal(4, 3), probabilities(4, 3)), {}, "probabilities", (0, 1)),
    Row(nn.svm_loss, (normal(4, 3), labels(3, 4)), batched=(0, 1)),
    Row(nn.svm_loss, (normal(4, 3), labels(3, 4)), {"margin": 0.5}, "margin 0.5", (0, 1)),
    Row(nn.linear_softmax_loss, (normal(4, 3), normal(3, 5), labels(5, 4)), batched=(0, 2)),
    Row(
        nn.linear_softmax_loss,
        (normal(4, 3), normal(3, 5), labels(5, 4)),
        {"chunk": 2},
        "three chunks",
        (0, 2),
    ),
    Row(nn.mse_loss, (normal(4, 3), normal(4, 3)), batched=(0, 1)),
    Row(nn.logistic_loss, (normal(4), labels(2, 4)), batched=(0, 1)),
    Row(nn.logistic_loss, (normal(4, 3), unit(4, 3)), {}, "probabilities", (0, 1)),
    Row(nn.l1, (normal(4, 3, away_from=0),), batched=()),
    Row(nn.l2, (normal(4, 3),), batched=()),
    Row(nn.elastic_net, (normal(4, 3, away_from=0),), batched=()),
    Row(nn.elastic_net, (normal(4, 3, away_from=0),), {"beta": 0.2}, "beta 0.2", ()),
    Row(nn.dropout, (normal(4, 3), prng_key), batched=()),
    Row(nn.dropout, (normal(4, 3), prng_key), {"rate": 0.1}, "rate 0.1", ()),
    Row(nn.matrix_function, (positive_definite(3),)),
    *(
        Row(nn.matrix_function, (positive_definite(3),), {"function": name}, name)
        for name in ("log", "sqrt", "rsqrt")
    ),
    Row(nn.frechet, (positive_definite(3), normal(3, 3)), batched=(0, 1)),
    *(
        Row(nn.frechet, (positive_definite(3), normal(3, 3)), {"function": name}, name, (0, 1))
        for name in ("log", "sqrt", "rsqrt")
    ),
    Row(nn.projector, (positive_definite(3),)),
    Row(nn.projector, (positive_definite(4),), {"rank": 2}, "rank 2"),
    Row(nn.polar, (with_singular_values(4, 3),)),
    Row(nn.polar, (with_singular_values(3, 3),), name="square"),
    Row(nn.polar, (with_singular_values(2, 4),), name="wide"),
    Row(nn.nuclear_norm, (with_singular_values(4, 3),)),
    Row(nn.nuclear_norm, (with_singular_values(2, 3),), name="wide"),
    Row(nn.conv, (normal(2, 5, 4, 3), normal(3, 2, 3, 4))),
    Row(nn.conv, (normal(6, 4), normal(3, 2, 4)), {"groups": 2}, "one axis, groups"),
    Row(nn.conv, (normal(1, 7, 7, 2), normal(2, 2, 2, 3)), {"stride": (2, 3), "padding": "same"}, "strides"),
    Row(nn.conv, (normal(6, 6, 2), normal(2, 3, 2, 3)), {"dilation": 2, "padding": ((0, 2), 1)}, "dilation"),
    Row(nn.conv, (normal(3, 4, 3, 2), normal(2, 3, 2, 2, 3)), {"padding": 1}, "volume"),
    Row(nn.depthwise_conv, (normal(2, 4, 5, 3), normal(3, 3, 3))),
    Row(nn.depthwise_conv, (normal(2, 7, 2), normal(3, 2)), {"stride": 2, "padding": "valid"}, "one axis"),
    Row(
        nn.depthwise_conv, (normal(6, 6, 2), normal(2, 3, 2)), {"dilation": (2, 1), "padding": 1}, "dilation"
    ),
    Row(nn.max_pool, (apart(2, 4, 6, 3),)),
    Row(nn.max_pool, (apart(2, 7, 7, 2),), {"size": (3, 3), "stride": 2, "padding": "same"}, "overlapping"),
    Row(nn.max_pool, (apart(2, 7, 3),), {"size": (2,), "stride": 3, "padding": 1}, "one axis"),
    Row(nn.avg_pool, (normal(2, 4, 6, 3),)),
    Row(nn.avg_pool, (normal(2, 7, 7, 2),), {"size": (3, 3), "stride": 2, "padding": "same"}, "overlapping"),
    Row(nn.local_response_norm, (normal(2, 3, 7),)),
    Row(
        nn.local_response_norm,
        (normal(2, 3, 7),),
        {"size": 3, "alpha": 0.5, "beta": 0.5, "k": 1.0},
        "strong",
    ),
    Row(nn.batch_norm, (normal(4, 2, 3), normal(3), normal(3)), batched=()),
    Row(nn.batch_norm, (normal(4, 3), normal(3), normal(3)), {"epsilon": 0.1}, "epsilon 0.1", ()),
    Row(nn.batch_norm_inference, (normal(4, 3), normal(3), normal(3), normal(3), unit(3))),
    Row(
        nn.batch_norm_inference,
        (normal(4, 3), normal(3), normal(3), normal(3), unit(3)),
        {"epsilon": 0.1},
        "epsilon 0.1",
    ),
    Row(nn.layer_norm, (normal(4, 5), normal(5), normal(5))),
    Row(nn.layer_norm, (normal(4, 5), normal(5), normal(5)), {"epsilon": 0.1}, "epsilon 0.1"),
    Row(nn.embedding, (normal(5, 3), labels(5, 4)), batched=(1,)),
    Row(nn.cosine_similarity, (normal(3), normal(4, 3)), batched=(0, 1)),
    Row(nn.circular_convolution, (normal(6), probabilities(3)), batched=(0, 1)),
    Row(
        nn.lstm_cell, (normal(2, 3), normal(2, 4), normal(2, 4), normal(7, 16), normal(16)), batched=(0, 1, 2)
    ),
]
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.gate.__name__} {r.name}".strip())
each_gate = pytest.mark.parametrize("row", [r for r in ROWS if not r.name], ids=lambda r: r.gate.__name__)


@pytest.fixture(autouse=True)
def strict_promotion():
    """Many users forbid implicit promotion; no gate may rely on it."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def is_differentiable(x):
    return jnp.issubdtype(x.dtype, jnp.floating)


def test_every_gate_has_a_row_and_is_public():
    assert {row.gate for row in ROWS} == {row.gate for row in ROWS if not row.name} == GATES
    assert {gate.__name__ for gate in GATES} <= set(nn.__all__)


@each_row
def test_tells_its_formula_and_source(row):
    assert "ȳ" in row.gate.formula.lower()
    assert any(character.isdigit() for character in row.gate.source), "a source has a year or a section"


@pytest.mark.in_turns(2)
@each_gate
def test_the_rule_of(row):
    check_vjp(row.gate, *row.sample(), dtypes=["float32", "bfloat16", "float16"])


@pytest.mark.parametrize("row", [r for r in ROWS if r.name], ids=lambda r: f"{r.gate.__name__} {r.name}")
def test_the_rule_of_a_gate_with_other_arguments(row):
    check_vjp(functools.partial(row.gate, **row.params), *row.sample(), dtypes=[], transforms=[])


@each_row
def test_labels_and_keys_have_no_gradient(row):
    def x_bars(*xs):
        y, stash = row.gate.forward(*xs, **row.params)
        return row.gate.backward(stash, jax.tree.map(jnp.ones_like, y), **row.params)

    xs = row.sample()
    assert [x_bar is not None for x_bar in jax.eval_shape(x_bars, *xs)] == list(map(is_differentiable, xs))


@each_gate
def test_second_order_is_that_of_the_primal(row, x64):
    xs = row.sample()
    floats = tuple(i for i, x in enumerate(xs) if is_differentiable(x))

    def gradient_norm(function, *xs):
        loss = lambda *xs: sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(function(*xs)))  # noqa: E731
        gradient = jax.grad(loss, argnums=floats)
        return sum(jnp.sum(g**2) for g in gradient(*xs))

    @jax.jit
    def both(*xs):
        return [
            jax.grad(functools.partial(gradient_norm, function), argnums=floats)(*xs)
            for function in (row.gate, row.gate.primal)
        ]

    chex.assert_trees_all_close(*both(*xs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.batched], ids=lambda r: f"{r.gate.__name__} {r.name}"
)
def test_leading_dimensions_are_a_loop(row, x64):
    """A batch of batches is each batch on its own, stacked."""

    @jax.jit
    def both(*batches):
        together = [
            jnp.stack(xs) if i in row.batched else xs[0] for i, xs in enumerate(zip(*batches, strict=True))
        ]
        one_by_one = [
            row.gate(*(x if i in row.batched else batches[0][i] for i, x in enumerate(xs)), **row.params)
            for xs in batches
        ]
        return row.gate(*together, **row.params), jax.tree.map(lambda *ys: jnp.stack(ys), *one_by_one)

    chex.assert_trees_all_close(*both(*(row.sample(seed) for seed in range(3))), rtol=1e-12)


def broken(gate):
    """The gate with one more argument: which of its gradients is 0.1 % too large."""

    def backward(stash, y_bar):
        which, stash = stash
        x_bars = [
            x_bar if x_bar is None else x_bar * jnp.where(which == i, 1.001, 1).astype(x_bar.dtype)
            for i, x_bar in enumerate(gate.backward(stash, y_bar))
        ]
        return None, *x_bars

    def forward(which, *xs):
        y, stash = gate.forward(*xs)
        return y, (which, stash)

    decorated = jax.custom_vjp(lambda which, *xs: gate.primal(*xs))
    decorated.defvjp(forward, backward)
    return decorated


@each_gate
def test_a_gradient_off_by_a_thousandth_is_found(row):
    """Which gradient is off is data, so that one program shows it for all."""
    xs = row.sample()
    for which in [i for i, x in enumerate(xs) if is_differentiable(x)]:
        with pytest.raises(VJPCheckError, match="WRONG"):
            check_vjp(broken(row.gate), np.int32(which), *xs, dtypes=[], transforms=[])


KINKS = [
    (nn.relu, {}, 0.0, 0.0),
    (nn.leaky_relu, {}, 0.0, 1.0),
    (nn.elu, {}, 0.0, 1.0),
    (nn.elu, {"alpha": 0.7}, 0.0, 0.7),
    (nn.l1, {}, 0.0, 0.0),
    (nn.elastic_net, {}, 0.0, 0.0),
]


@pytest.mark.parametrize(
    ("gate", "params", "at", "stated"), KINKS, ids=lambda v: getattr(v, "__name__", None)
)
def test_kinks_are_as_stated(gate, params, at, stated):
    assert jax.grad(gate)(at, **params) == np.float32(stated)
    assert jax.grad(gate.primal)(at, **params) == np.float32(stated)


def test_tied_pieces_of_maxout_share_the_gradient():
    w, b = jnp.ones((2, 2, 1)), jnp.zeros((2, 1))
    w_bar = jax.grad(lambda w: nn.maxout(jnp.array([1.0, 3.0]), w, b)[0])(w)
    chex.assert_trees_all_close(w_bar, jnp.array([[[0.5], [0.5]], [[1.5], [1.5]]]))


def test_svm_margin_of_exactly_zero_has_no_gradient():
    scores = jnp.array([2.0, 1.0])
    assert nn.svm_loss(scores, 0) == 0
    chex.assert_trees_all_equal(jax.grad(nn.svm_loss)(scores, 0), jnp.zeros(2))


def test_dropout_keeps_the_mean_and_scales_the_gradient(key):
    x = jnp.ones(100_000)
    y, vjp = jax.vjp(lambda x: nn.dropout(x, key, rate=0.3), x)
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.7)}
    # A binomial share of 1e5 draws has the standard deviation √(0.21/1e5) = 0.0015; five of them.
    assert float(jnp.mean(y > 0)) == pytest.approx(0.7, abs=0.0073)
    chex.assert_trees_all_equal(vjp(jnp.ones_like(y))[0], y)
    assert not np.array_equal(nn.dropout(x, jax.random.key(1), rate=0.3), y)


def test_mixed_dtypes_are_promoted_as_jnp_does():
    x, w, b = jnp.ones((2, 3), jnp.bfloat16), jnp.ones((3, 4)), jnp.ones(4, jnp.float16)
    with jax.numpy_dtype_promotion("standard"):
        assert nn.affine(x, w, b).dtype == jnp.float32
        bars = jax.grad(lambda *xs: jnp.sum(nn.affine(*xs)), argnums=(0, 1, 2))(x, w, b)
    assert [bar.dtype for bar in bars] == [jnp.bfloat16, jnp.float32, jnp.float16]


def test_contraction_never_transposes():
    """Sharded weights stay where they are when the products name their axes."""
    jaxpr = jax.make_jaxpr(jax.grad(lambda w: jnp.sum(nn.linear(jnp.ones((2, 3)), w) ** 2)))(jnp.ones((3, 4)))
    assert "transpose" not in str(jaxpr)
    assert math.prod(jaxpr.out_avals[0].shape) == 12
