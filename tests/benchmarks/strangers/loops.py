"""Functions that loop until they are done, and at other points than these diverge, slow down, or never end.

Each has an implicit or an analytic rule that is right wherever the loop ends at its solution; a few have a
wrong twin. None says where it may be asked: a check has to find out, and to end. What is small is so relative
to the dtype, except where a row says otherwise.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.benchmarks.strangers.rows import Row, normal

LOOPS = []

COARSE = "the slope of what the loop returns is 2e-5 off the slope of what it seeks, which the rule gives"


def loop(name, *args, wrong=None, open=""):
    """The row of a function that returns the function and its `backward(y_bar, y, *args)`.

    `wrong(x_bars)` makes a wrong twin of it. `open` says why it is neither right nor wrong.
    """

    def rows(build):
        def make(change=lambda x_bars: x_bars):
            value, backward = build()
            ruled = jax.custom_vjp(value)

            def forward(*args):
                y = value(*args)
                return y, (y, args)

            ruled.defvjp(forward, lambda stash, y_bar: change(backward(y_bar, stash[0], *stash[1])))
            return ruled, *args

        LOOPS.append(Row("loops", name, make, open=open))
        if wrong:
            LOOPS.append(Row("loops", f"{name}, wrong", lambda: make(wrong), wrong=wrong.__name__))
        return build

    return rows


def negated(x_bars):
    return jax.tree.map(lambda x_bar: -x_bar, x_bars)


def transposed(x_bars):
    return jax.tree.map(lambda x_bar: x_bar.T, x_bars)


def one_percent_too_large(x_bars):
    return jax.tree.map(lambda x_bar: 1.01 * x_bar, x_bars)


def small(x):
    """A tolerance that its dtype can meet."""
    return 8 * jnp.finfo(x.dtype).eps


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


@loop("fixed point to 1e-6, |a| < 2", np.float32(1.2), wrong=negated, open=COARSE)
def loose_fixed_point():
    return lambda a: repeat(lambda x: cosine(a, x), jnp.zeros_like(a), 1e-6), cosine_backward


@loop("fixed point, |a| < 2", np.float32(1.2), wrong=one_percent_too_large)
def fixed_point():
    return lambda a: repeat(lambda x: cosine(a, x), jnp.zeros_like(a), small(a)), cosine_backward


@loop("fixed point of at most 100 rounds", np.float32(1.2))
def capped():
    def value(a):
        return lax.fori_loop(0, 100, lambda _, x: cosine(a, x), jnp.zeros_like(a))

    return value, cosine_backward


@loop("square root by Newton, x > 0", np.float32(2.0))
def newton():
    def value(x):
        return repeat(lambda y: (y + x / y) / 2, x, small(x) * x)

    return value, lambda y_bar, y, x: (y_bar / (2 * y),)


@loop("cubic root by bisection of (-10, 10)", np.array([0.5, 3.0], np.float32), wrong=one_percent_too_large)
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


@loop("Sinkhorn", np.abs(normal(4, 4)), wrong=transposed)
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


@loop("largest eigenvalue by power iteration", _positive, wrong=one_percent_too_large)
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


@loop("conjugate gradients, positive definite", _positive, normal(4), wrong=negated)
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


@loop("value iteration, discount < 1", np.float32(0.3), np.abs(normal(4)), wrong=negated)
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


@loop("deep equilibrium, whose rule loops too", 0.2 * normal(4, 4), normal(4), wrong=transposed)
def equilibrium():
    """Z = tanh(W z + x) (Bai, Kolter and Koltun 2019)."""

    def value(w, x):
        return repeat(lambda z: jnp.tanh(w @ z + x), jnp.zeros_like(x), small(x))

    def backward(z_bar, z, w, x):
        slope = 1 - z**2
        u = repeat(lambda u: z_bar + w.T @ (slope * u), z_bar, 4 * small(x) * jnp.max(jnp.abs(z_bar)))
        return jnp.outer(slope * u, z), slope * u

    return value, backward


@loop("gradient descent of a fixed step, a < 20", np.float32(5.0), np.float32(0.7))
def gradient_descent():
    """The x that is best for a (x − b)² / 2 + x²; with a step of 0.1 it diverges beyond."""

    def value(a, b):
        return repeat(lambda x: x - 0.1 * (a * (x - b) + 2 * x), b, small(b))

    return value, lambda y_bar, y, a, b: (y_bar * (b - y) / (a + 2), y_bar * a / (a + 2))


@loop("Richardson iteration of condition exp(a)", np.float32(2.5))
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


@loop("Kepler's equation by Newton, e < 1", np.float32(0.4), np.float32(0.8), wrong=one_percent_too_large)
def kepler():
    """E − e sin E = m."""

    def value(e, m):
        return repeat(lambda y: y - (y - e * jnp.sin(y) - m) / (1 - e * jnp.cos(y)), m, small(m))

    def backward(y_bar, y, e, m):
        m_bar = y_bar / (1 - e * jnp.cos(y))
        return m_bar * jnp.sin(y), m_bar

    return value, backward


@loop("Lambert's W by Newton, x > -1/e", np.float32(-0.2))
def lambert():
    def value(x):
        return repeat(lambda w: w - (w - x * jnp.exp(-w)) / (1 + w), jnp.zeros_like(x), small(x))

    return value, lambda y_bar, w, x: (y_bar * jnp.exp(-w) / (1 + w),)


@loop("elliptic integral by the arithmetic-geometric mean, m < 1", np.float32(0.3))
def elliptic():
    """K(m) = π / (2 agm(1, √(1 − m))) (DLMF 19.8.5), and its slope by the same means in ten rounds."""

    def mean(pair):
        a, b = pair
        return (a + b) / 2, jnp.sqrt(a * b)

    def value(m):
        def apart(pair):
            return ~(jnp.abs(pair[0] - pair[1]) <= small(m))

        return jnp.pi / (2 * lax.while_loop(apart, mean, (jnp.ones_like(m), jnp.sqrt(1 - m)))[0])

    def unrolled(m):
        return jnp.pi / (
            2 * lax.fori_loop(0, 10, lambda _, pair: mean(pair), (m * 0 + 1, jnp.sqrt(1 - m)))[0]
        )

    return value, lambda y_bar, y, m: jax.vjp(unrolled, m)[1](y_bar)


@loop("zeta(s) term by term, s > 1", np.float32(6.0))
def zeta():
    def terms(s, weight):
        def large(state):
            k, _ = state
            return k**-s > 1e-3 * small(s)

        def add(state):
            k, total = state
            return k + 1, total + weight(k) * k**-s

        return lax.while_loop(large, add, (jnp.ones_like(s), jnp.zeros_like(s)))[1]

    return (
        lambda s: terms(s, jnp.ones_like),
        lambda y_bar, y, s: (-y_bar * terms(s, jnp.log),),
    )


@loop("geometric series until it is small, |x| < 1", np.float32(0.4))
def geometric():
    def value(x):
        def large(state):
            return jnp.abs(state[0]) > 1e-3 * small(x)

        def add(state):
            term, total = state
            return term * x, total + term

        return lax.while_loop(large, add, (jnp.ones_like(x), jnp.zeros_like(x)))[1]

    return value, lambda y_bar, y, x: (y_bar * y**2,)


@loop("mantissa by halving and doubling, x > 0", np.float32(5.3))
def mantissa():
    def value(x):
        x = lax.while_loop(lambda y: y < 1, lambda y: 2 * y, x)
        return lax.while_loop(lambda y: y >= 2, lambda y: y / 2, x)

    return value, lambda y_bar, y, x: (y_bar * y / x,)


@loop("logistic map of 40 rounds", np.float32(2.5), np.float32(0.3))
def logistic_map():
    def value(r, x):
        return lax.fori_loop(0, 40, lambda _, x: r * x * (1 - x), x)

    return value, lambda y_bar, y, r, x: jax.vjp(value, r, x)[1](y_bar)


@loop("rejection of normal draws up to 1, with a fixed key", np.float32(2.0))
def rejection():
    """The first σ z above 1; at σ / 8 none comes."""

    def value(sigma):
        def draw(key):
            return sigma * jax.random.normal(key, (), sigma.dtype)

        def again(key):
            return jax.random.split(key)[0]

        return draw(lax.while_loop(lambda key: draw(key) <= 1, again, jax.random.key(3)))

    return value, lambda y_bar, y, sigma: (y_bar * y / sigma,)


@loop("walk to a barrier, drift > 0", np.float32(0.53), np.float32(0.2))
def walk():
    """Where a noisy walk is when it has passed 10; it never does with a drift below 0."""

    def value(drift, noise):
        def below(state):
            return state[1] < 10

        def step(state):
            k, x = state
            key = jax.random.fold_in(jax.random.key(0), k)
            return k + 1, x + drift + noise * jax.random.uniform(key, (), x.dtype, -1, 1)

        return lax.while_loop(below, step, (0, jnp.zeros_like(drift)))

    def backward(y_bar, y, drift, noise):
        (_, x_bar), (k, x) = y_bar, y
        drift_bar = x_bar * k.astype(x.dtype)
        return drift_bar, (x * x_bar - drift * drift_bar) / noise

    return value, backward


@loop("adaptive Runge-Kutta to the end of y' = a y²", np.float32(0.5), np.float32(0.6))
def stepper():
    """Y(1) = y₀ / (1 − a y₀); there is none from a y₀ = 1 on, and the steps shrink for ever."""

    def value(a, y):
        tolerance = jnp.finfo(y.dtype).eps ** 0.75

        def slope(y):
            return a * y * y

        def step(y, h):
            k1 = slope(y)
            k2 = slope(y + h / 2 * k1)
            k3 = slope(y + h / 2 * k2)
            return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(y + h * k3))

        def unfinished(state):
            return state[0] < 1

        def advance(state):
            t, y, h = state
            h = jnp.minimum(h, 1 - t)
            once, twice = step(y, h), step(step(y, h / 2), h / 2)
            error = jnp.abs(twice - once)
            good = error <= tolerance * (1 + jnp.abs(y))
            after = jnp.where(good, twice + (twice - once) / 15, y)
            return jnp.where(good, t + h, t), after, jnp.where(good, 1.5 * h, h / 2)

        return lax.while_loop(unfinished, advance, (jnp.zeros_like(y), y, jnp.full_like(y, 0.1)))[1]

    return value, lambda y_bar, _, a, y: (y_bar * y**2 / (1 - a * y) ** 2, y_bar / (1 - a * y) ** 2)


@loop("scipy's brentq in a callback, x < 30", np.float32(3.0))
def callback():
    """Y³ + y = x, sought in (0, 3): scipy raises where the root is elsewhere."""

    def root(x):
        from scipy.optimize import brentq

        return np.asarray(brentq(lambda y: y**3 + y - float(x), 0, 3, xtol=1e-15, rtol=1e-15), x.dtype)

    def value(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(root, shape, x, vmap_method="sequential")

    return value, lambda y_bar, y, x: (y_bar / (3 * y**2 + 1),)
