"""The largest error of each activation's first and second derivative in float32, beside `jax.grad`'s.

    python tests/benchmarks/bench_accuracy.py

Six million inputs an activation, of every magnitude, wherever the true derivative is a normal float32
number. The truth is worked out in long double, in forms that do not cancel but at the very roots of the
derivatives of silu and gelu; inputs within 1e-4 of those are left to tests/nn/test_accuracy.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erfcx

from funcnet import nn

INPUTS = 6_000_000
ROOTS = (1.2784645427610738, 2.3993572805154677, 0.7517915246935645, 2**0.5)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def sech2(x):
    e = np.exp(-2 * abs(x))
    return 4 * e / (1 + e) ** 2


def silu(x):
    left = logistic(-abs(x)) * (1 - abs(x) * logistic(abs(x)))
    return np.where(x < 0, left, 1 - left)


def gelu(x):
    t = abs(x)
    mills = np.sqrt(np.pi / 2) * erfcx((t / np.sqrt(2)).astype(np.float64))
    left = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi) * (mills - t)
    return np.where(x < 0, left, 1 - left)


def bell(x):
    return logistic(x) * logistic(-x)


def gelu_second(x):
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.longdouble(np.pi)) * (2 - x**2)


ROWS = [  # gate, JAX's function, true first and second derivative, largest |x|
    (nn.sigmoid, jax.nn.sigmoid, bell, lambda x: -np.tanh(x / 2) * bell(x), 89),
    (nn.tanh, jnp.tanh, sech2, lambda x: -2 * np.tanh(x) * sech2(x), 45),
    (nn.elu, jax.nn.elu, lambda x: np.exp(np.minimum(x, 0)), lambda x: np.where(x > 0, 0, np.exp(x)), 89),
    (nn.softplus, jax.nn.softplus, logistic, bell, 89),
    (nn.silu, jax.nn.silu, silu, lambda x: bell(x) * (2 - x * np.tanh(x / 2)), 95),
    (nn.gelu, lambda x: jax.nn.gelu(x, approximate=False), gelu, gelu_second, 14),
]


def inputs(largest):
    """Half of them spread evenly, half evenly by magnitude."""
    generator = np.random.default_rng(231)
    even = generator.uniform(-largest, largest, INPUTS // 2)
    magnitudes = np.exp(generator.uniform(np.log(1e-30), np.log(largest), INPUTS // 2))
    x = np.concatenate([even, magnitudes * generator.choice([-1, 1], INPUTS // 2)]).astype(np.float32)
    return x[np.min([abs(abs(x) - root) for root in ROOTS], axis=0) > 1e-4]


def largest_error(derivative, true, x):
    """In units of the distance between neighbouring float32 numbers at the truth."""
    truth = true(x.astype(np.longdouble))
    got = np.asarray(jax.jit(jax.vmap(derivative))(x), np.longdouble)
    normal = abs(truth) >= np.finfo(np.float32).tiny
    return np.max((abs(got - truth) / np.spacing(abs(truth).astype(np.float32)))[normal])


def main():
    print(
        "| gate | `jax.grad` of JAX's function | funcnet | twice: JAX | funcnet |",
        "|---|" + 4 * "---:|",
        sep="\n",
    )
    for gate, plain, first, second, largest in ROWS:
        x = inputs(largest)
        errors = [largest_error(jax.grad(function), first, x) for function in (plain, gate)]
        errors += [largest_error(jax.grad(jax.grad(function)), second, x) for function in (plain, gate)]
        print(f"| `{gate.__name__}` |", " | ".join(f"{error:,.1f}" for error in errors), "|")
    print(f"\nJAX {jax.__version__}, {jax.default_backend()}")


if __name__ == "__main__":
    main()
