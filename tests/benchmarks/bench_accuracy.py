"""The largest error of each activation's derivative in float32, beside that of `jax.grad`.

    python tests/benchmarks/bench_accuracy.py

Six million inputs an activation, of every magnitude, wherever the true derivative is a normal float32
number. The truth is worked out in long double, in forms that do not cancel but at the very roots of silu′
and gelu′; inputs within 1e-4 of those are left to tests/nn/test_accuracy.py and its 60 digits.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erfcx

from funcnet import nn

INPUTS = 6_000_000
SILU_ROOT, GELU_ROOT = 1.2784645427610738, 0.7517915246935645


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


ROWS = [  # gate, JAX's function, true derivative, largest |x|
    (nn.sigmoid, jax.nn.sigmoid, lambda x: logistic(x) * logistic(-x), 89),
    (nn.tanh, jnp.tanh, sech2, 45),
    (nn.elu, jax.nn.elu, lambda x: np.exp(np.minimum(x, 0)), 89),
    (nn.softplus, jax.nn.softplus, logistic, 89),
    (nn.silu, jax.nn.silu, silu, 95),
    (nn.gelu, lambda x: jax.nn.gelu(x, approximate=False), gelu, 14),
]


def inputs(largest):
    """Half of them spread evenly, half evenly by magnitude."""
    generator = np.random.default_rng(231)
    even = generator.uniform(-largest, largest, INPUTS // 2)
    magnitudes = np.exp(generator.uniform(np.log(1e-30), np.log(largest), INPUTS // 2))
    x = np.concatenate([even, magnitudes * generator.choice([-1, 1], INPUTS // 2)]).astype(np.float32)
    return x[(abs(abs(x) - SILU_ROOT) > 1e-4) & (abs(abs(x) - GELU_ROOT) > 1e-4)]


def largest_error(function, derivative, x):
    """In units of the distance between neighbouring float32 numbers at the truth."""
    truth = derivative(x.astype(np.longdouble))
    got = np.asarray(jax.jit(jax.vmap(jax.grad(function)))(x), np.longdouble)
    normal = abs(truth) >= np.finfo(np.float32).tiny
    return np.max((abs(got - truth) / np.spacing(abs(truth).astype(np.float32)))[normal])


def main():
    print("| gate | `jax.grad` of JAX's function | funcnet |", "|---|---:|---:|", sep="\n")
    for gate, plain, derivative, largest in ROWS:
        x = inputs(largest)
        errors = (largest_error(function, derivative, x) for function in (plain, gate))
        print(f"| `{gate.__name__}` |", " | ".join(f"{error:,.1f}" for error in errors), "|")
    print(f"\nJAX {jax.__version__}, {jax.default_backend()}")


if __name__ == "__main__":
    main()
