"""flax: models of nnx, whose arrays are split off and merged again; modules of linen with their variables.

What `nnx.grad` does is `nnx.split`, a pure function of the parameters, and the gradient of that. No layer
here has a bias that the next one cancels (a norm, a softmax over keys): its gradient would be rounding alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from tests.peers.rows import Row, as_default, check, parametrize

rng = np.random.default_rng(13)
DATA = rng.standard_normal((5, 4))
SEQUENCE = rng.standard_normal((2, 5, 4))
IMAGE = rng.standard_normal((2, 6, 6, 2))
TOKENS = np.array([0, 2, 1, 4])


class Block(nnx.Module):
    """A residual block with a norm that keeps statistics, dropout with a stream of keys, and a counter."""

    def __init__(self, rngs):
        self.first = nnx.Linear(4, 6, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)
        self.second = nnx.Linear(6, 4, rngs=rngs)
        self.calls = nnx.Variable(jnp.zeros((), int))

    def __call__(self, x):
        self.calls[...] += 1
        return x + self.second(self.dropout(nnx.gelu(self.norm(self.first(x)))))


class Shared(nnx.Module):
    """A layer that is used twice, and an embedding that is used both ways."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(5, 4, rngs=rngs)
        self.layer = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, tokens):
        return self.embed.attend(self.layer(jnp.sin(self.layer(self.embed(tokens)))))


class Looped(nnx.Module):
    """Layers made by nnx.vmap and run by nnx.scan of nnx.remat."""

    def __init__(self, rngs):
        @nnx.split_rngs(splits=3)
        @nnx.vmap
        def make(rngs):
            return nnx.Linear(4, 4, rngs=rngs)

        self.layers = make(rngs)

    def __call__(self, x):
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        @nnx.remat
        def run(layer, x):
            return jnp.sin(layer(x))

        return run(self.layers, x)


class Chosen(nnx.Module):
    """nnx.cond, nnx.jit and nnx.custom_vjp within a model."""

    def __init__(self, rngs):
        self.one = nnx.Linear(4, 4, rngs=rngs)
        self.other = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x):
        branches = (lambda m, x: m.one(x), lambda m, x: jnp.sin(m.other(x)))
        x = nnx.cond(jnp.sum(x) > 100, *branches, self, x)
        return nnx.jit(lambda m, x: m.one(x) * clipped(x))(self, x)


@jax.custom_vjp
def clipped(x):
    return x


clipped.defvjp(lambda x: (x, None), lambda _, y_bar: (jnp.clip(y_bar, -0.1, 0.1),))


def weighted(y):
    return jnp.mean(jnp.sin(y) * jnp.linspace(0.5, 1.5, y.size).reshape(y.shape))


def arrays_as_default(tree):
    return jax.tree.map(lambda x: as_default(x) if isinstance(x, np.ndarray) else x, tree)


def of_nnx(model, *inputs, wanted=nnx.Param, **how):
    """A loss of a model's parameters, as the state that nnx.split gives."""
    definition, parameters, rest = nnx.split(model, wanted, ...)

    def loss(parameters):
        fixed = jax.tree.map(as_default, rest)
        model = nnx.merge(definition, parameters, fixed, copy=True)
        return weighted(model(*map(as_default, inputs), **arrays_as_default(how)))

    return loss, parameters


def attention():
    return nnx.MultiHeadAttention(2, 4, use_bias=False, decode=False, rngs=nnx.Rngs(13))


def convolved():
    return nnx.Sequential(
        nnx.Conv(2, 3, (3, 3), use_bias=False, rngs=nnx.Rngs(13)),
        nnx.GroupNorm(3, num_groups=1, rngs=nnx.Rngs(13)),
        nnx.silu,
        lambda x: nnx.avg_pool(x, (2, 2), (2, 2)),
    )


def of_linen(module, *inputs, **how):
    """A loss of a module's parameters, the other collections being fixed."""
    keys = {"params": jax.random.key(13), "dropout": jax.random.key(1)}
    with jax.enable_x64(False):  # a carry that linen makes is float32 and takes no other
        fixed = module.init(keys, *map(as_default, inputs))
    parameters = fixed.pop("params")

    def loss(parameters):
        variables = jax.tree.map(as_default, {**fixed, "params": parameters})
        y = module.apply(variables, *map(as_default, inputs), **arrays_as_default(how))
        return weighted(y[0] if "mutable" in how else y)

    return loss, parameters


class Step(linen.Module):
    @linen.compact
    def __call__(self, x, _):
        return x + jnp.sin(linen.Dense(4)(x)), None


class Stack(linen.Module):
    """Layers by linen.scan of linen.remat, and one that is used twice."""

    @linen.compact
    def __call__(self, x):
        dense = linen.Dense(4)
        layers = linen.scan(linen.remat(Step), {"params": 0}, split_rngs={"params": True}, length=3)()
        return dense(layers(dense(x), None)[0])


class Normed(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.BatchNorm(use_running_average=False)(linen.Dense(6, use_bias=False)(x))
        x = linen.Dropout(0.3, deterministic=False)(linen.gelu(x))
        return linen.WeightNorm(linen.Dense(3))(x)


CARRY = np.zeros((2, 3))

ROWS = [
    Row("nnx, residual block", make=lambda: of_nnx(Block(nnx.Rngs(13)), DATA)),
    Row("nnx, shared layer", make=lambda: of_nnx(Shared(nnx.Rngs(13)), TOKENS)),
    Row("nnx, scan of remat", make=lambda: of_nnx(Looped(nnx.Rngs(13)), DATA)),
    Row("nnx, cond and jit", make=lambda: of_nnx(Chosen(nnx.Rngs(13)), DATA)),
    Row(
        "nnx, RNN",
        make=lambda: of_nnx(nnx.RNN(nnx.GRUCell(4, 3, rngs=nnx.Rngs(13))), SEQUENCE, initial_carry=CARRY),
    ),
    Row(
        "nnx, attention",
        make=lambda: of_nnx(attention(), SEQUENCE),
        double=1e-6,
        reason="its softmax is in float32, whatever comes in",
    ),
    Row("nnx, LoRA", make=lambda: of_nnx(nnx.LoRALinear(4, 3, lora_rank=2, rngs=nnx.Rngs(13)), DATA)),
    Row("nnx, convolutional", make=lambda: of_nnx(convolved(), IMAGE)),
    Row("linen, scan of remat", make=lambda: of_linen(Stack(), DATA)),
    Row(
        "linen, norms and dropout",
        make=lambda: of_linen(Normed(), DATA, mutable=["batch_stats"], rngs={"dropout": jax.random.key(2)}),
    ),
    Row(
        "linen, LSTM",
        make=lambda: of_linen(linen.RNN(linen.OptimizedLSTMCell(3)), SEQUENCE, initial_carry=(CARRY, CARRY)),
    ),
    Row(
        "linen, Conv and LayerNorm",
        make=lambda: of_linen(
            linen.Sequential([linen.Conv(8, (3, 3), use_bias=False), linen.LayerNorm(), linen.silu]), IMAGE
        ),
    ),
    Row(
        "linen, attention",
        make=lambda: of_linen(linen.MultiHeadDotProductAttention(2, use_bias=False), SEQUENCE),
    ),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
