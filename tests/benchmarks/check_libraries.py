"""What `funcnet.check_vjp` says of other libraries: `python -m tests.benchmarks.check_libraries`.

Each function is checked in float64, and then in float32, bfloat16 and float16. A number is the largest
error in units of the rounding noise (up to 8 is accepted); a verdict stands where it was refused.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen
from flax.linen import fp8_ops
from optax.losses import _classification

import funcnet

DTYPES = ("float32", "bfloat16", "float16")

rng = np.random.default_rng(0)


def normal(*shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


tails = np.linspace(-12, 12, 97, dtype=np.float32)
positive = np.linspace(0.01, 0.99, 50, dtype=np.float32)
square = normal(5, 5)
spd = square @ square.T + 5 * np.eye(5, dtype=np.float32)
labels = jax.nn.one_hot(np.arange(6) % 4, 4)


def looped(x):
    """1.1 sin(…) five times by equinox's loop that can be differentiated."""

    def step(carry):
        return carry[0] + 1, 1.1 * jnp.sin(carry[1])

    return eqx.internal.while_loop(lambda c: c[0] < 5, step, (0, x), kind="checkpointed", max_steps=8)[1]


def layer_norm(x, scale, bias):
    return linen.LayerNorm().apply({"params": {"scale": scale, "bias": bias}}, x)


def quantized(x):
    """x rounded to 8 bits, and back; its gradient passes straight through, as is the custom."""
    return fp8_ops.in_qdq(x.dtype, jnp.float8_e4m3fn, x, jnp.ones(1), jnp.zeros(4))


FUNCTIONS = {
    **{
        f"jax.nn.{name}": (getattr(jax.nn, name), tails)
        for name in ("relu", "relu6", "sigmoid", "log_sigmoid", "softplus", "silu", "elu", "selu", "mish")
    },
    "jax.nn.gelu": (jax.nn.gelu, tails),
    "jax.nn.gelu, exact": (lambda x: jax.nn.gelu(x, approximate=False), tails),
    "jax.numpy.tanh": (jnp.tanh, tails),
    "jax.nn.logsumexp": (jax.nn.logsumexp, normal(6, 10, scale=4)),
    "jax.nn.softmax": (jax.nn.softmax, normal(6, 10, scale=4)),
    "jax.nn.log_softmax": (jax.nn.log_softmax, normal(6, 10, scale=4)),
    "jax.nn.log1mexp": (jax.nn.log1mexp, 8 * positive),
    "jax.scipy.special.logit": (jax.scipy.special.logit, positive),
    "jax.scipy.special.xlogy": (jax.scipy.special.xlogy, positive, positive[::-1].copy()),
    "jax.scipy.special.log_ndtr": (jax.scipy.special.log_ndtr, tails),
    "jax.scipy.special.expi": (jax.scipy.special.expi, 5 * positive),
    "jax.numpy.i0": (jnp.i0, normal(20)),
    "jax.numpy.sinc": (jnp.sinc, np.array([0.0, 1e-3, 0.3, 1.0, 2.5], np.float32)),
    "jax.numpy.linalg.cholesky": (jnp.linalg.cholesky, spd),
    "jax.numpy.linalg.qr": (jnp.linalg.qr, square),
    "jax.numpy.linalg.svd": (lambda a: jnp.linalg.svd(a, full_matrices=False), normal(6, 4)),
    "jax.numpy.linalg.eigh": (jnp.linalg.eigh, spd),
    "jax.numpy.linalg.det": (jnp.linalg.det, square),
    "jax.numpy.linalg.slogdet": (jnp.linalg.slogdet, square),
    "jax.numpy.linalg.inv": (jnp.linalg.inv, spd),
    "jax.numpy.linalg.pinv": (jnp.linalg.pinv, normal(6, 4)),
    "jax.numpy.linalg.solve": (jnp.linalg.solve, spd, normal(5, 2)),
    "optax.losses._classification.weighted_logsoftmax": (
        _classification.weighted_logsoftmax,
        normal(6, 4),
        np.asarray(labels),
    ),
    "optax.losses.softmax_cross_entropy": (
        lambda logits: optax.losses.softmax_cross_entropy(logits, labels),
        normal(6, 4, scale=4),
    ),
    "optax.losses.sigmoid_binary_cross_entropy": (
        lambda logits: optax.losses.sigmoid_binary_cross_entropy(logits, jnp.ones_like(logits)),
        tails,
    ),
    "optax.projections.projection_simplex": (optax.projections.projection_simplex, normal(8)),
    "optax.scale_gradient": (lambda x: optax.scale_gradient(x, 0.5), normal(8)),
    "optax.safe_norm": (lambda x: optax.safe_norm(x, 1e-3), normal(4)),
    "flax.linen.LayerNorm": (layer_norm, normal(4, 16), normal(16), normal(16)),
    "flax.linen.fp8_ops.in_qdq": (quantized, normal(8)),
    "equinox.internal.while_loop": (looped, normal(4)),
    "equinox.nn.LayerNorm": (eqx.nn.LayerNorm(16), normal(16)),
    "equinox.nn.GRUCell": (eqx.nn.GRUCell(3, 4, key=jax.random.key(0)), normal(3), normal(4)),
}


def verdict(function, args, dtype):
    """The largest error in roundings, or the verdict; and the message that goes with it."""
    try:
        report = funcnet.check_vjp(function, *args, dtypes=() if dtype == "float64" else (dtype,))
    except funcnet.VJPCheckError as error:
        return error.verdict, str(error)
    except (TypeError, NotImplementedError, ValueError) as error:
        return "not there", f"{type(error).__name__}: {error}"
    rows = [row for row in report.rows if row.dtype == dtype]
    return f"{max(row.error for row in rows):.1f}" if rows else "overflows", "\n".join(report.notes)


def main():
    messages = []
    print(f"jax {jax.__version__}, optax {optax.__version__}, equinox {eqx.__version__}\n")
    print(f"{'function':44}" + "".join(f"{dtype:>12}" for dtype in ("float64", *DTYPES)))
    for name, (function, *args) in FUNCTIONS.items():
        cells = []
        for dtype in ("float64", *DTYPES):
            cell, message = verdict(function, args, dtype)
            cells.append(cell)
            if message and (name, message) not in messages:
                messages.append((name, message))
            if dtype == "float64" and not cell[0].isdigit():
                break
        print(f"{name:44}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
    for name, message in messages:
        print(f"\n{name}\n{message}")


if __name__ == "__main__":
    main()
