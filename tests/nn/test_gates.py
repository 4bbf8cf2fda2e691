"""Every gate against what JAX computes from its primal, and against finite differences.

One row a gate (or a gate with other parameters or labels). The oracle is `jax.vjp` of the primal in
float64, which shares no line with the gate's backward pass; the finite differences share none with JAX.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from funcnet.nn._gate import Gate

# Autodiff of the primal agrees to 1e-9; Richardson-extrapolated central differences with h = 1e-2
# have an error of about h⁴ |f⁽⁵⁾| / 30 ≈ 3e-10 |f⁽⁵⁾|, plus 1e-16 / h from rounding.
PARITY = 1e-9
DIFFERENCES = 1e-6


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
    Row(nn.mse_loss, (normal(4, 3), normal(4, 3)), batched=(0, 1)),
    Row(nn.logistic_loss, (normal(4), labels(2, 4)), batched=(0, 1)),
    Row(nn.logistic_loss, (normal(4, 3), unit(4, 3)), {}, "probabilities", (0, 1)),
    Row(nn.l1, (normal(4, 3, away_from=0),), batched=()),
    Row(nn.l2, (normal(4, 3),), batched=()),
    Row(nn.elastic_net, (normal(4, 3, away_from=0),), batched=()),
    Row(nn.elastic_net, (normal(4, 3, away_from=0),), {"beta": 0.2}, "beta 0.2", ()),
    Row(nn.dropout, (normal(4, 3), prng_key), batched=()),
    Row(nn.dropout, (normal(4, 3), prng_key), {"rate": 0.1}, "rate 0.1", ()),
]
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.gate.__name__} {r.name}".strip())


@pytest.fixture(autouse=True)
def strict_promotion():
    """Many users forbid implicit promotion; no gate may rely on it."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def is_differentiable(x):
    return jnp.issubdtype(x.dtype, jnp.floating)


def of_floats(function, xs, **params):
    """The function of its floating-point arguments alone, and those."""
    positions = [i for i, x in enumerate(xs) if is_differentiable(x)]

    def f(*floats):
        full = list(xs)
        for i, x in zip(positions, floats, strict=True):
            full[i] = x
        return function(*full, **params)

    return f, [xs[i] for i in positions]


def upstream(y, seed=7):
    return jnp.asarray(np.random.default_rng(seed).normal(size=y.shape), y.dtype)


def pull_back(function, row, xs):
    """x̄ of a function for a random ȳ."""
    f, floats = of_floats(function, xs, **row.params)
    y, vjp = jax.vjp(f, *floats)
    return vjp(upstream(y))


def assert_parity(gate, row):
    xs = row.sample()
    chex.assert_trees_all_close(
        pull_back(gate, row, xs), pull_back(row.gate.primal, row, xs), rtol=PARITY, atol=PARITY
    )


def test_every_gate_has_a_row():
    gates = {value for value in vars(nn).values() if isinstance(value, Gate)}
    assert gates == {row.gate for row in ROWS}
    assert {gate.__name__ for gate in gates} <= set(nn.__all__)


@each_row
def test_tells_its_formula_and_source(row):
    assert "ȳ" in row.gate.formula
    assert any(character.isdigit() for character in row.gate.source), "a source has a year or a section"


@each_row
def test_gradient_is_that_of_the_primal(row, x64):
    assert_parity(row.gate, row)


@each_row
def test_gradient_agrees_with_finite_differences(row, x64):
    xs = row.sample()
    f, floats = of_floats(row.gate.primal, xs, **row.params)
    rng = np.random.default_rng(1)
    for i, x_bar in enumerate(pull_back(row.gate, row, xs)):
        direction = rng.choice([-1.0, 1.0], size=floats[i].shape)

        def along(h, i=i, direction=direction):
            moved = [x + h * direction if j == i else x for j, x in enumerate(floats)]
            y = f(*moved)
            return float(jnp.sum(y * upstream(y)))

        def central(h, along=along):
            return (along(h) - along(-h)) / (2 * h)

        richardson = (4 * central(0.5e-2) - central(1e-2)) / 3
        assert float(jnp.sum(x_bar * direction)) == pytest.approx(
            richardson, rel=DIFFERENCES, abs=DIFFERENCES
        )


@each_row
def test_forward_returns_the_primal(row, x64):
    xs = row.sample()
    y, _ = row.gate.forward(*xs, **row.params)
    chex.assert_trees_all_equal(y, row.gate.primal(*xs, **row.params))
    chex.assert_trees_all_equal(y, row.gate(*xs, **row.params))


@each_row
@pytest.mark.parametrize(
    "dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64], ids=lambda d: d.__name__
)
def test_backward_keeps_shapes_and_dtypes(row, dtype, x64):
    xs = row.sample(dtype=dtype)
    y, stash = row.gate.forward(*xs, **row.params)
    x_bars = row.gate.backward(stash, jnp.ones_like(y), **row.params)
    assert len(x_bars) == len(xs)
    for x, x_bar in zip(xs, x_bars, strict=True):
        if is_differentiable(x):
            assert (x_bar.shape, x_bar.dtype) == (x.shape, x.dtype)
        else:
            assert x_bar is None


@each_row
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32], ids=lambda d: d.__name__)
def test_low_precision_is_the_rounded_gradient(row, dtype, x64):
    xs = row.sample(dtype=dtype)
    wide = [x.astype(jnp.float64) if is_differentiable(x) else x for x in xs]
    truth = pull_back(row.gate.primal, row, wide)
    # Products are summed in float32 and rounded once; the upstream gradient too was rounded, so a sum
    # of n terms may be off by a few units of rounding of its largest term.
    unit_of_rounding = float(jnp.finfo(dtype).eps)
    for got, expected in zip(pull_back(row.gate, row, xs), truth, strict=True):
        scale = max(1.0, float(jnp.max(abs(expected))))
        chex.assert_trees_all_close(
            got.astype(jnp.float64), expected, atol=4 * unit_of_rounding * scale, rtol=0
        )


@each_row
def test_jit_and_scan_and_vmap_change_nothing(row, x64):
    xs = row.sample()
    expected = pull_back(row.gate, row, xs)
    close = {"rtol": 1e-12, "atol": 1e-12}  # XLA may fuse and reorder sums
    chex.assert_trees_all_close(jax.jit(lambda: pull_back(row.gate, row, xs))(), expected, **close)

    f, floats = of_floats(row.gate, xs, **row.params)

    def x_bars(*floats):
        y, vjp = jax.vjp(f, *floats)
        return vjp(upstream(y))

    twice = [jnp.stack([x, x]) for x in floats]
    chex.assert_trees_all_close(jax.vmap(x_bars)(*twice), tuple(jnp.stack([e, e]) for e in expected), **close)
    _, scanned = jax.lax.scan(lambda carry, floats: (carry, x_bars(*floats)), 0, twice)
    chex.assert_trees_all_close(scanned, tuple(jnp.stack([e, e]) for e in expected), **close)


@each_row
def test_second_order_is_that_of_the_primal(row, x64):
    xs = row.sample()

    def gradient_norm(function):
        f, floats = of_floats(function, xs, **row.params)
        gradient = jax.grad(lambda *fs: jnp.sum(jnp.sin(f(*fs))), argnums=tuple(range(len(floats))))
        squares = lambda *fs: sum(jnp.sum(g**2) for g in gradient(*fs))  # noqa: E731
        return jax.grad(squares, argnums=tuple(range(len(floats))))(*floats)

    chex.assert_trees_all_close(
        gradient_norm(row.gate), gradient_norm(row.gate.primal), rtol=PARITY, atol=PARITY
    )


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.batched], ids=lambda r: f"{r.gate.__name__} {r.name}"
)
def test_leading_dimensions_are_a_loop(row, x64):
    """A batch of batches is each batch on its own, stacked."""
    batches = [row.sample(seed) for seed in range(3)]
    shared = batches[0]
    together = [jnp.stack([b[i] for b in batches]) if i in row.batched else x for i, x in enumerate(shared)]
    one_by_one = [
        row.gate(*(b[i] if i in row.batched else x for i, x in enumerate(shared)), **row.params)
        for b in batches
    ]
    chex.assert_trees_all_close(row.gate(*together, **row.params), jnp.stack(one_by_one), rtol=1e-12)


BREAKS = {
    "negate": lambda g: -g,
    "scale by 1.001": lambda g: 1.001 * g,
    "roll": lambda g: jnp.roll(g, 1),
    "drop one element": lambda g: g.at[(0,) * g.ndim].set(0),
    "NaN in one element": lambda g: g.at[(0,) * g.ndim].set(jnp.nan),
}


@each_row
@pytest.mark.parametrize("damage", BREAKS.values(), ids=BREAKS)
def test_a_broken_rule_fails_its_row(row, damage, x64):
    for position, x in enumerate(row.sample()):
        if not is_differentiable(x):
            continue

        def backward(stash, y_bar, position=position, **params):
            x_bars = list(row.gate.backward(stash, y_bar, **params))
            x_bar = x_bars[position]
            largest_first = jnp.argsort(-abs(x_bar).ravel())  # so that the dropped one counts
            damaged = damage(x_bar.ravel()[largest_first])[jnp.argsort(largest_first)]
            x_bars[position] = damaged.reshape(x_bar.shape)
            return tuple(x_bars)

        broken = Gate(row.gate.primal, row.gate.formula, row.gate.source)
        broken.forward(row.gate.forward)
        broken.backward(backward)
        with pytest.raises(AssertionError):
            assert_parity(broken, row)


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
