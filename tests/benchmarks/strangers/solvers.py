"""Loops that seek a solution; elsewhere than here they diverge, need hours, or never end.

Their rules are implicit, and right wherever the loop ends at its solution; a few have a wrong twin. None says
where it may be asked: a check has to find out, and to end. What is small is so relative to the dtype, except
where a row says otherwise.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.benchmarks.strangers.rows import normal
from tests.benchmarks.strangers.ruled import loop, negated, one_percent_too_large, small, transposed

ROWS = []

COARSE = "the slope of what the loop returns is 2e-5 off the slope of what it seeks, which the rule gives"


def repeat(step, x, tolerance):
    """x = step(x) until it moves no more than the tolerance; NaN and infinity move for ever."""

    def moves(pair):
        x, before = pair
        return ~(jnp.max(jnp.abs(x - before)) <= tolerance)

    return lax.while_loop(moves, lambda pair: (step(pair[0]), pair[0]), (step(x), x))[0]


def cosine(a, x):
    return jnp.cos(a * x) / 2


def cosine_backward(a_bar, x, a):
    """Of x = cos(a x) / 2, by the implicit function theorem."""
    return (a_bar * cosine_slope(a, x, x) / (1 - cosine_slope(a, a, x)),)


def cosine_slope(a, factor, x):
    return -factor * jnp.sin(a * x) / 2


@loop(ROWS, "fixed point to 1e-6, |a| < 2", np.float32(1.2), wrong=negated, open=COARSE)
def loose_fixed_point():
    return lambda a: repeat(lambda x: cosine(a, x), jnp.zeros_like(a), 1e-6), cosine_backward


@loop(ROWS, "fixed point, |a| < 2", np.float32(1.2), wrong=one_percent_too_large)
def fixed_point():
    return lambda a: repeat(lambda x: cosine(a, x), jnp.zeros_like(a), small(a)), cosine_backward


@loop(ROWS, "fixed point of at most 100 rounds", np.float32(1.2))
def capped():
    def value(a):
        return lax.fori_loop(0, 100, lambda _, x: cosine(a, x), jnp.zeros_like(a))

    return value, cosine_backward


@loop(ROWS, "square root by Newton, x > 0", np.float32(2.0))
def newton():
    def value(x):
        return repeat(lambda y: (y + x / y) / 2, x, small(x) * x)

    return value, lambda y_bar, y, x: (y_bar / (2 * y),)


@loop(
    ROWS,
    "cubic root by bisection of (-10, 10)",
    np.array([0.5, 3.0], np.float32),
    wrong=one_percent_too_large,
)
def bisection():
    """Y³ + y = x."""

    def halve(_, ends, x):
        low, high = ends
        middle = (low + high) / 2
        below = middle**3 + middle < x
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    def value(x):
        ends = (jnp.full_like(x, -10), jnp.full_like(x, 10))
        return lax.fori_loop(0, 80, lambda i, ends: halve(i, ends, x), ends)[0]

    return value, lambda y_bar, y, x: (y_bar / (3 * y**2 + 1),)


@loop(
    ROWS,
    "1.5-entmax by bisection to an absolute 1e-6",
    np.array([9.0, 8.5, 7.0, 9.3], np.float32),
    open=COARSE,
)
def entmax():
    """P = max(x/2 − τ, 0)² with Σ p = 1 (Peters, Niculae and Martins 2019); at 8 x, float32 has no 1e-6."""

    def value(x):
        half = x / 2

        def wide(ends):
            return ends[1] - ends[0] > 1e-6

        def halve(ends):
            middle = (ends[0] + ends[1]) / 2
            low = jnp.sum(jnp.maximum(half - middle, 0) ** 2) >= 1
            return jnp.where(low, middle, ends[0]), jnp.where(low, ends[1], middle)

        low, high = lax.while_loop(wide, halve, (half.max() - 1, half.max()))
        p = jnp.maximum(half - (low + high) / 2, 0) ** 2
        return p / p.sum()

    def backward(p_bar, p, x):
        root = jnp.sqrt(p)
        return (root * (p_bar - jnp.sum(root * p_bar) / root.sum()),)

    return value, backward


@loop(ROWS, "Sinkhorn", np.abs(normal(4, 4)), wrong=transposed)
def sinkhorn():
    """The entropic cost of transport between uniform weights; its gradient is the plan (Cuturi 2013)."""

    def potentials(cost):
        def step(f):
            g = -jax.nn.logsumexp(f[:, None] - cost / 0.3, axis=0)
            return -jax.nn.logsumexp(g[None, :] - cost / 0.3, axis=1)

        f = repeat(step, jnp.zeros(len(cost), cost.dtype), small(cost))
        return f, -jax.nn.logsumexp(f[:, None] - cost / 0.3, axis=0)

    def value(cost):
        f, g = potentials(cost)
        return 0.3 * (f.mean() + g.mean())

    def backward(y_bar, y, cost):
        f, g = potentials(cost)
        return (y_bar * jnp.exp(f[:, None] + g[None, :] - cost / 0.3) / len(cost),)

    return value, backward


def symmetric(a):
    return (a + a.T) / 2


_square = normal(4, 4)
_positive = _square @ _square.T + np.eye(4, dtype=np.float32)


@loop(
    ROWS,
    "largest eigenvalue by power iteration",
    _positive,
    wrong=one_percent_too_large,
    open="its vector is as good as its tolerance, in float32 some 1e-6, which is more than rounding",
)
def power_iteration():
    def vector(a):
        def step(v):
            v = symmetric(a) @ v
            return v / jnp.linalg.norm(v)

        return repeat(step, jnp.ones(len(a), a.dtype) / 2, small(a))

    def value(a):
        v = vector(a)
        return v @ symmetric(a) @ v

    def backward(y_bar, y, a):
        v = vector(a)
        return (y_bar * jnp.outer(v, v),)

    return value, backward


@loop(ROWS, "conjugate gradients, positive definite", _positive, normal(4), wrong=negated)
def conjugate_gradients():
    def solve(a, b):
        def unsolved(state):
            _, r, _ = state
            return r @ r > (16 * small(b)) ** 2 * (b @ b)

        def step(state):
            x, r, p = state
            alpha = r @ r / (p @ symmetric(a) @ p)
            after = r - alpha * symmetric(a) @ p
            return x + alpha * p, after, after + (after @ after) / (r @ r) * p

        return lax.while_loop(unsolved, step, (jnp.zeros_like(b), b, b))[0]

    def backward(x_bar, x, a, b):
        b_bar = solve(a, x_bar)
        return symmetric(-jnp.outer(b_bar, x)), b_bar

    return solve, backward


@loop(ROWS, "value iteration, discount < 1", np.float32(0.3), np.abs(normal(4)), wrong=negated)
def value_iteration():
    """V = r + γ P v."""
    transitions = np.abs(np.random.default_rng(1).standard_normal((4, 4)))
    transitions /= transitions.sum(1, keepdims=True)

    def value(discount, reward):
        p = jnp.asarray(transitions, reward.dtype)
        return repeat(lambda v: reward + discount * p @ v, reward, small(reward))

    def backward(v_bar, v, discount, reward):
        p = jnp.asarray(transitions, reward.dtype)
        reward_bar = jnp.linalg.solve(jnp.eye(4, dtype=p.dtype) - discount * p.T, v_bar)
        return reward_bar @ (p @ v), reward_bar

    return value, backward


@loop(ROWS, "deep equilibrium, whose rule loops too", 0.2 * normal(4, 4), normal(4), wrong=transposed)
def equilibrium():
    """Z = tanh(W z + x) (Bai, Kolter and Koltun 2019)."""

    def value(w, x):
        return repeat(lambda z: jnp.tanh(w @ z + x), jnp.zeros_like(x), small(x))

    def backward(z_bar, z, w, x):
        slope = 1 - z**2
        u = repeat(lambda u: z_bar + w.T @ (slope * u), z_bar, 4 * small(x) * jnp.max(jnp.abs(z_bar)))
        return jnp.outer(slope * u, z), slope * u

    return value, backward


@loop(ROWS, "gradient descent of a fixed step, a < 20", np.float32(5.0), np.float32(0.7))
def gradient_descent():
    """The x that is best for a (x − b)² / 2 + x²; with a step of 0.1 it diverges beyond."""

    def value(a, b):
        return repeat(lambda x: x - 0.1 * (a * (x - b) + 2 * x), b, small(b))

    return value, lambda y_bar, y, a, b: (y_bar * (b - y) / (a + 2), y_bar * a / (a + 2))


@loop(ROWS, "Richardson iteration of condition exp(a)", np.float32(2.5))
def richardson():
    """Solves (1 0.5; 0.5 exp(a)) x = (1, 1), in 3e1 exp(a) rounds: hours at 8 a."""

    def matrix(a):
        one, half = jnp.ones_like(a), jnp.ones_like(a) / 2
        return jnp.stack([jnp.stack([one, half]), jnp.stack([half, jnp.exp(a)])])

    def value(a):
        b = jnp.ones(2, a.dtype)
        return repeat(lambda x: x + jnp.exp(-a) * (b - matrix(a) @ x), b, 0.1 * small(a))

    def backward(x_bar, x, a):
        b_bar = jnp.linalg.solve(matrix(a), x_bar)
        return (-b_bar[1] * x[1] * jnp.exp(a),)

    return value, backward


@loop(
    ROWS, "Kepler's equation by Newton, e < 1", np.float32(0.4), np.float32(0.8), wrong=one_percent_too_large
)
def kepler():
    """E − e sin E = m."""

    def value(e, m):
        return repeat(lambda y: y - (y - e * jnp.sin(y) - m) / (1 - e * jnp.cos(y)), m, small(m))

    def backward(y_bar, y, e, m):
        m_bar = y_bar / (1 - e * jnp.cos(y))
        return m_bar * jnp.sin(y), m_bar

    return value, backward


@loop(ROWS, "Lambert's W by Newton, x > -1/e", np.float32(-0.2))
def lambert():
    def value(x):
        return repeat(lambda w: w - (w - x * jnp.exp(-w)) / (1 + w), jnp.zeros_like(x), small(x))

    return value, lambda y_bar, w, x: (y_bar * jnp.exp(-w) / (1 + w),)
