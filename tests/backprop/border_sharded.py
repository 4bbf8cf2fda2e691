"""Arrays over the devices of a mesh: explicit shardings, and what differs between devices in a shard_map.

The mesh has one device: JAX's types say the same of it as of many.
"""

# ruff: noqa: N803
# J is a library that differentiates.

import jax
import jax.numpy as jnp
import numpy as np
from jax import P, lax
from jax.scipy.linalg import solve_triangular
from jax.sharding import AxisType

from tests.backprop.border import OLDER, Kind, vjp_of

X = np.linspace(0.2, 1.1, 12, dtype=np.float32).reshape(4, 3)
W = np.linspace(-0.9, 0.8, 9, dtype=np.float32).reshape(3, 3)
BIAS = np.float32([0.3, -0.2, 0.5])

EXPLICIT = Kind("arrays that lie explicitly on a mesh")


def lying(function):
    """The gradients of a sum, and where they lie, of x over its rows and w over its columns; jitted too."""

    def gradients(J):
        mesh = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Explicit,))
        with jax.set_mesh(mesh):
            x, w = jax.device_put(X, P("d", None)), jax.device_put(W, P(None, "d"))
            grad = J.grad(lambda x, w: jnp.sin(function(x, w)).sum(), argnums=(0, 1))
            both = [grad(x, w), J.jit(grad)(x, w)]
            return jax.device_get(both), [str(jax.typeof(g)) for gradients in both for g in gradients]

    return gradients


def closed_over(x, w):
    column = jax.device_put(np.arange(4, dtype=np.float32), P("d"))
    return x * column[:, None]


def custom(x, w):
    twice = vjp_of(lambda x: 2 * x, lambda x: (2 * x, None), lambda _, y_bar: (2 * y_bar,))
    return twice(x)


LYING = {
    "a branch that does not read what the other does": lambda x, w: lax.cond(
        x.sum() > 0, lambda x, w: jnp.sin(x), lambda x, w: x * w.sum(), x, w
    ),
    "a scan over what all steps read": lambda x, w: lax.scan(
        lambda c, _: (jnp.tanh(c * w), None), w, jnp.arange(3)
    )[0],
    "a scan's carry": lambda x, w: lax.scan(lambda c, row: (c * 0.9 + row, jnp.sin(c)), x[:, 0], x.T)[1],
    "fori_loop": lambda x, w: lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * w, w),
    "what a select has not taken": lambda x, w: jnp.where(x > 0.5, jnp.sqrt(x), 0.0),
    "a select by one number": lambda x, w: jnp.where(x.sum() > 0, jnp.sqrt(x), 0.0),
    "a variance": lambda x, w: x.var(1, keepdims=True) * x,
    "an argument that is not read": lambda x, w: x * 2,
    "no argument that is read": lambda x, w: jnp.ones(3),
    "a constant": closed_over,
    "padded": lambda x, w: jnp.pad(w, ((1, 1), (0, 0))),
    "a part": lambda x, w: w[:2],
    "cumulated": lambda x, w: jnp.cumsum(x, axis=1),
    "logsumexp": lambda x, w: jax.nn.logsumexp(x, axis=1),
    "vmap": lambda x, w: jax.vmap(lambda row: jnp.sin(row).sum() * row)(x),
    "checkpoint": lambda x, w: jax.checkpoint(lambda x: jnp.sin(jnp.cos(x)))(x),
    "a custom_vjp": custom,
    "a product with what is made again": lambda x, w: lax.dot(jnp.tanh(x), W),
    "rows that are looked up": lambda x, w: w.at[
        jax.device_put(np.int32([[1, 2], [0, 1]]), P("d", None))
    ].get(out_sharding=P("d", None, None)),
    "shard_map": lambda x, w: jax.shard_map(jnp.sin, out_specs=P("d", None))(x),
    "shard_map of a constant too": lambda x, w: jax.shard_map(
        lambda x, c: jnp.sin(x) * c, out_specs=P("d", None)
    )(x, jax.device_put(np.ones((4, 3), np.float32), P("d", None))),
}
if not OLDER:  # whose own sort of integers beside floats ends in an error there
    LYING["sorted"] = lambda x, w: jnp.sort(w, axis=0)

for name, function in LYING.items():
    EXPLICIT.add(name, lying(function))

EXPLICIT.add(
    "equations with right-hand sides",
    lying(lambda x, w: solve_triangular(jax.sharding.reshard(x[:3], P(None, None)) + 2, w, lower=True)),
    ulps=64,  # a product of two solutions, whose rounding the matrix's condition amplifies
)


VARYING = Kind("what differs between the devices of a shard_map, and what does not")


def mapped(function):
    """The gradients of a function of shared parameters and of rows, whose result all devices share."""

    def gradients(J):
        mesh = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Auto,))
        run = jax.shard_map(function, mesh=mesh, in_specs=(P(), P("d")), out_specs=P())
        grad = J.grad(lambda p, x: jnp.sin(run(p, x)).sum(), argnums=(0, 1))
        specs = P(), P("d")

        def pulled(p, x):
            y, pull = J.vjp(function, p, x)
            return pull(jnp.cos(y))

        inside = jax.shard_map(pulled, mesh=mesh, in_specs=specs, out_specs=specs)
        return grad(BIAS, X), J.jit(grad)(BIAS, X), inside(BIAS, X)

    return gradients


def total(x):
    return lax.psum(x.sum(), "d")


def different(p):
    return lax.pcast(p, ("d",), to="varying")


for name, function in {
    "a product with what all devices share": lambda p, x: jnp.sin(p) * total(x),
    "nothing but what they share": lambda p, x: jnp.sin(p),
    "an exponential of both": lambda p, x: jnp.exp(jnp.sin(p) * lax.pmean(x.sum(), "d") / 9),
    "a softmax": lambda p, x: jax.nn.softmax(p) ** 2 * total(x),
    "a scan of what they share": lambda p, x: lax.scan(lambda c, w: (jnp.sin(c * p), w), p, W)[0] * total(x),
    "a scan of what differs": lambda p, x: lax.psum(
        lax.scan(lambda c, w: (jnp.sin(c * p) * x.sum(), w), different(p), W)[0], "d"
    ),
    "a scan over what all steps read": lambda p, x: lax.psum(
        lax.scan(lambda c, row: (c, row @ different(p) / p), 0.0, x)[1].sum() * p, "d"
    ),
    "fori_loop": lambda p, x: lax.psum(
        lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * p, different(p) * x[0]), "d"
    ),
    "a branch by what they share": lambda p, x: lax.cond(p[0] > 0, jnp.sin, lambda p: p * p, p) * total(x),
    "a branch that shares, and one that does not": lambda p, x: lax.psum(
        lax.cond(p[0] > 1, lambda p: jnp.sin(p) * x.sum(), lambda p: different(p * p), p), "d"
    ),
    "a branch that reads another": lambda p, x: lax.psum(
        lax.cond(p[0] > 1, lambda p, w: jnp.sin(p) * x.sum(), lambda p, w: w * x.sum(), p, W[0] * p), "d"
    ),
    "a branch by what differs": lambda p, x: lax.cond(x[0, 0] > 0, lambda p: p * p, jnp.sin, p) * total(x),
    "a select by what differs": lambda p, x: lax.psum(jnp.where(x.sum() > 1, jnp.sin(p), p * p), "d"),
    "a select of a sum over devices": lambda p, x: lax.psum(
        jnp.where(x[0, 0] > 0, (lax.psum(jnp.sin(x), "d") * p).sum(), 0.0), "d"
    ),
    "checkpoint": lambda p, x: jax.checkpoint(lambda p: jnp.sin(jnp.cos(p)))(p) * total(x),
    "a custom_vjp": lambda p, x: (
        vjp_of(jnp.sin, lambda p: (jnp.sin(p), p), lambda p, y_bar: (y_bar * jnp.cos(p),))(p) * total(x)
    ),
}.items():
    VARYING.add(name, mapped(function))
