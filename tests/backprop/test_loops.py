"""Loops beside JAX's scan: what is carried, stacked, summed and kept, and while loops that JAX refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet.backprop.loops import PLACES
from tests.backprop.compare import Row, assert_close, check, check_eager

X = np.array([0.3, -0.7, 1.1])
Y = np.array([0.9, 0.4, -0.2])
KEY = jax.random.key(3)


def chain(x, w, length):
    """A pytree for a carry, an integer in it, a result at each step and a weight for all of them."""

    def body(carry, _):
        h = jnp.tanh(w * carry["h"] + carry["n"])
        return {"h": h, "n": carry["n"] + 1}, {"h": h, "twice": (2 * h, carry["n"])}

    return lax.scan(body, {"h": x, "n": 0}, length=length)


def late(x):
    """x reaches the last carry only in the third step."""
    return lax.scan(lambda c, _: ((c[1], c[2], c[2] * x), c[0]), (1.0, 2.0, 3.0), length=5)


def noisy(x, key):
    def body(carry, _):
        key, c = carry
        key, sub = jax.random.split(key)
        return (key, jnp.sin(c) + jax.random.normal(sub, c.shape)), sub

    return lax.scan(body, (key, x), length=4)[0][1]


def nested(x, w):
    inner = lambda c, y: (jnp.sin(c * w + y), c)  # noqa: E731
    return lax.scan(lambda c, x: lax.scan(inner, c, x * X), 1.0, x)


def constant_in_every_step(w, x):
    """What depends on w alone is computed once; its cotangent is the sum over the steps."""
    return lax.scan(lambda c, x: (jnp.exp(w) * c + jnp.sin(jnp.exp(w)) * x, None), 0.5, x)[0]


def fori(x, w):
    return lax.fori_loop(2, 7, lambda i, c: jnp.sin(c * w) + i, x)


def rotation(x, y):
    """Two carries that change places."""
    return lax.scan(lambda c, _: ((c[1], c[0] * c[1]), c[0]), (x, y), length=3)


SCANS = [
    Row("carry only", lambda x: lax.scan(lambda c, _: (jnp.sin(c), None), x, length=4)[0], (X,)),
    Row("xs and ys only", lambda x: lax.scan(lambda _, x: (None, x * jnp.exp(x)), None, x)[1], (X,)),
    Row("xs only, to the carry", lambda x: lax.scan(lambda c, x: (c + x**3, None), 0.0, x)[0], (X,)),
    Row(
        "constants only",
        lambda w: lax.scan(lambda c, _: (c * 2 + w**2, None), jnp.zeros(3), length=3)[0],
        (X,),
    ),
    Row(
        "a constant, a carry, xs and ys",
        lambda c, w, x: lax.scan(lambda c, x: (jnp.tanh(c * w + x), c * x), c, x),
        (X, Y, np.stack([X, Y])),
    ),
    Row("reverse", lambda c, x: lax.scan(lambda c, x: (jnp.tanh(c * x), c), c, x, reverse=True), (0.5, X)),
    Row(
        "unrolled by 2 of 3",
        lambda c, x: lax.scan(lambda c, x: (jnp.tanh(c * x), c), c, x, unroll=2),
        (0.5, X),
    ),
    Row(
        "unrolled wholly",
        lambda c, x: lax.scan(lambda c, x: (jnp.tanh(c * x), c), c, x, unroll=True),
        (0.5, X),
    ),
    Row("pytrees, an integer in the carry", lambda x, w: chain(x, w, 3), (X, Y)),
    Row(
        "no step",
        lambda x, w: lax.scan(lambda c, _: (jnp.sin(c * w), c), x, length=0)[0],
        (X, Y),
        False,
        "linear",
    ),
    Row(
        "no step, xs of length 0",
        lambda x, w: lax.scan(lambda c, x: (c * x * w, c), w, x)[0] ** 2,
        (np.zeros((0, 3)), Y),
    ),
    Row("a single step", lambda x, w: chain(x, w, 1), (X, Y)),
    Row("a carry that becomes active later", late, (1.3,)),
    Row("a carry that does not change", lambda x, w: lax.scan(lambda c, x: (c, c * x), w, x), (X, 0.3)),
    Row(
        "a carry that is dropped",
        lambda x: lax.scan(lambda c, _: (0.0 * c + X, jnp.sin(c)), x, length=2)[1],
        (X,),
    ),
    Row("two carries that change places", rotation, (X, Y)),
    Row("a random key in the carry", noisy, (X, KEY)),
    Row(
        "random keys as xs",
        lambda x, k: lax.scan(
            lambda c, k: (jnp.sin(c) * jax.random.normal(k), None), x, jax.random.split(k, 3)
        )[0],
        (X, KEY),
    ),
    Row("the last carry unused", lambda x: lax.scan(lambda c, x: (c * x, c**2), 1.5, x)[1], (X,)),
    Row("the stack unused", lambda x: lax.scan(lambda c, x: (c * x, c**2), 1.5, x)[0], (X,)),
    Row(
        "one of two stacks unused",
        lambda x: lax.scan(lambda c, x: (c * x, (c**2, jnp.exp(c))), 1.5, x)[1][1],
        (X,),
    ),
    Row("scan in scan", nested, (X, 0.8)),
    Row("a constant in every step", constant_in_every_step, (0.4, X)),
    Row(
        "a captured array and a captured argument",
        lambda w: lax.scan(lambda c, y: (c * w + y, c), X, np.stack([X, Y])),
        (Y,),
    ),
    Row(
        "the same array as constant, carry and xs",
        lambda x: lax.scan(lambda c, y: (c * x + y, c), x, jnp.stack([x, x])),
        (X,),
    ),
    Row("under vmap", lambda x, w: jax.vmap(lambda x: chain(x, w, 3))(x), (X, 0.7)),
    Row("complex carry", lambda x: lax.scan(lambda c, x: (c * x * 1j, jnp.abs(c)), 1.0 + 1j, x), (X,)),
    Row("fori_loop", fori, (X, Y)),
    Row(
        "fori_loop, unrolled",
        lambda x: lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * (i + 1), x, unroll=True),
        (X,),
    ),
    Row(
        "a table indexed by the counter",
        lambda x: lax.fori_loop(0, 3, lambda i, c: c * jnp.sin(x[i]), 1.0),
        (X,),
    ),
    Row(
        "an array filled step by step",
        lambda x: lax.fori_loop(1, 3, lambda i, a: a.at[i].set(jnp.sin(a[i - 1] * x[i])), x),
        (X,),
    ),
]

EAGER = [
    "a constant, a carry, xs and ys",
    "pytrees, an integer in the carry",
    "a random key in the carry",
    "scan in scan",
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", SCANS, ids=str)
def test_scan(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", EAGER)
def test_scan_without_jit(name):
    check_eager(next(row for row in SCANS if row.name == name))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_a_short_dtype_stays(dtype):
    f = lambda x, w: lax.scan(lambda c, _: (jnp.tanh(c * w), None), x, length=3)[0].sum()  # noqa: E731
    ours, theirs = (library.grad(f, (0, 1))(X.astype(dtype), Y.astype(dtype)) for library in (funcnet, jax))
    assert [x_bar.dtype for x_bar in ours] == [dtype, dtype]
    # A sum of products in a short dtype depends on their order: a few roundings.
    assert_close(
        [x.astype(np.float32) for x in ours], [x.astype(np.float32) for x in theirs], 4 * jnp.finfo(dtype).eps
    )


def test_a_weight_of_all_steps_is_not_stacked():
    def loss(w, x):
        return jnp.sum(lax.scan(lambda c, _: (jnp.tanh(c @ w + c @ jnp.exp(w)), None), x, length=64)[0])

    w, x = 0.1 * jnp.ones((50, 50)), jnp.ones((2, 50))
    ours, theirs = (temporary_bytes(jax.jit(library.grad(loss)), w, x) for library in (funcnet, jax))
    assert ours < theirs + w.nbytes  # not one copy more
    assert ours < 64 * w.nbytes / 4


def test_a_body_with_an_effect_runs_as_often_as_the_loop():
    ran = []

    def body(c, x):
        jax.debug.callback(lambda i: ran.append(int(i)), x)
        return c * jnp.sin(c) * jnp.exp(2.0), None

    funcnet.grad(lambda c: lax.scan(body, c, jnp.arange(5))[0])(1.0)
    jax.effects_barrier()
    assert sorted(ran) == list(range(5))


def run(x, w, steps):
    """x goes through a map, steps times, in a loop that JAX cannot reverse."""
    goes_on = lambda state: state[0] < steps  # noqa: E731
    return lax.while_loop(goes_on, lambda state: (state[0] + 1, advance(state[1], w)), (0, x))[1]


def advance(x, w):
    return jnp.sin(x * w) + x[::-1] * 0.1


@pytest.fixture(scope="module")
def compiled():
    """Gradients in the carry and in a constant of a while loop, for any number of steps: funcnet's and JAX's.

    Forward mode goes through a while loop, so that is the mode of JAX's.
    """
    loss = lambda *xs: weighted(run(*xs))  # noqa: E731
    return jax.jit(funcnet.grad(loss, (0, 1))), jax.jit(jax.jacfwd(loss, (0, 1)))


def weighted(y):
    return jnp.sum(y * np.array([1.0, 0.7, -1.3]))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 31, 32, 33, 34, 560, 561, 562, 3000, 6546])
def test_while_with_steps_counted_at_run_time(steps, compiled):
    ours, theirs = (gradient(X, Y + 1, steps) for gradient in compiled)
    assert_close(ours, theirs, 1e-11)  # 6546 steps, each with its roundings


@pytest.mark.usefixtures("x64")
def test_while_beside_the_scan_of_as_many_steps():
    ours = funcnet.value_and_grad(lambda x, w: weighted(run(x, w, 50)), (0, 1))(X, Y)
    unrolled = lambda x, w: lax.scan(lambda x, _: (advance(x, w), None), x, length=50)[0]  # noqa: E731
    assert_close(ours, jax.value_and_grad(lambda x, w: weighted(unrolled(x, w)), (0, 1))(X, Y), 1e-12)


def test_while_is_compiled_once_for_any_number_of_steps():
    traces = []
    x, y = np.float32(X), np.float32(Y)  # of its own: newer JAX takes what it has made of X for float64 later

    @jax.jit
    def gradient(x, n):
        traces.append(n)
        return funcnet.grad(lambda x: weighted(run(x, y, n)))(x)

    for n in (0, 3, 40):
        gradient(x, n)
    assert len(traces) == 1


@pytest.mark.usefixtures("x64")
def test_while_to_the_second_order():
    loss = lambda x, w, n: weighted(run(x, w, n))  # noqa: E731
    ours = jax.jit(funcnet.hessian(loss, (0, 1)))
    theirs = jax.jit(jax.jacfwd(jax.jacfwd(loss, (0, 1)), (0, 1)))
    for steps in (0, 1, 5, 40):
        assert_close(ours(X, Y, steps), theirs(X, Y, steps), 1e-11)


def newton(a):
    """√a, by iteration until it stands still: the number of steps depends on a."""
    moves = lambda state: jnp.abs(state[0] - state[1]) > 1e-12 * state[0]  # noqa: E731
    return lax.while_loop(moves, lambda state: ((state[0] + a / state[0]) / 2, state[0]), (a, 0.0))[0]


def collatz(x, n):
    """As many steps as the Collatz sequence of n has, each with the product of its number."""
    step = lambda s: (jnp.where(s[0] % 2 == 0, s[0] // 2, 3 * s[0] + 1), jnp.sin(s[1] * x) + s[0] % 3)  # noqa: E731
    return lax.while_loop(lambda s: s[0] != 1, step, (n, x))[1]


def collatz_by_hand(x, n):
    y = x
    while n != 1:
        n, y = (n // 2 if n % 2 == 0 else 3 * n + 1), jnp.sin(y * x) + n % 3
    return y


@pytest.mark.usefixtures("x64")
def test_while_that_stops_by_the_value_that_it_carries():
    a = np.array([0.3, 2.0, 700.0])
    slopes = jax.vmap(funcnet.grad(newton))(a)
    np.testing.assert_allclose(slopes, 0.5 / np.sqrt(a), rtol=1e-12)
    np.testing.assert_allclose(funcnet.grad(funcnet.grad(newton))(2.0), -0.25 * 2.0**-1.5, rtol=1e-12)
    assert_close(funcnet.grad(newton)(2.0), jax.jit(funcnet.grad(newton))(2.0), 1e-14)


@pytest.mark.usefixtures("x64")
def test_while_under_vmap_with_different_numbers_of_steps():
    numbers = np.array([1, 2, 27, 6])
    slopes = jax.jit(jax.vmap(funcnet.grad(collatz), (None, 0)))(0.9, numbers)
    of_the_batch = jax.jit(funcnet.jacobian(lambda x: jax.vmap(collatz, (None, 0))(x, numbers)))(0.9)
    for n, slope, of_batch in zip(numbers.tolist(), slopes, of_the_batch, strict=True):
        expected = jax.grad(collatz_by_hand)(0.9, n)
        np.testing.assert_allclose(slope, expected, rtol=1e-12)
        np.testing.assert_allclose(of_batch, expected, rtol=1e-12)


def while_in_scan(x, n):
    return lax.scan(lambda c, n: (run(c, X, n), c), x, n)


def scan_in_while(x, n):
    body = lambda s: (s[0] + 1, lax.scan(lambda c, y: (jnp.sin(c * y), None), s[1], jnp.stack([x, X]))[0])  # noqa: E731
    return lax.while_loop(lambda s: s[0] < n, body, (0, x))[1]


def while_in_while(x, n):
    return lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, run(s[1], X, s[0])), (0, x))[1]


def while_in_cond_in_remat(x, n):
    return jax.checkpoint(lambda x: lax.cond(n > 1, lambda: run(x, X, n), lambda: x))(x)


def with_constants(x, n):
    """Constants in the condition and in the body, one of them differentiated and in both."""
    limit = jnp.sum(x**2) + 40
    body = lambda s: (s[0] + n, s[1] * jnp.sin(x) + X, KEY)  # noqa: E731
    return lax.while_loop(lambda s: s[0] < limit, body, (0, x, KEY))[1]


def with_a_key(x, n):
    def body(state):
        i, key, x = state
        key, sub = jax.random.split(key)
        return i + 1, key, jnp.sin(x) * jax.random.normal(sub)

    return lax.while_loop(lambda state: state[0] < n, body, (0, KEY, x))[2]


def dynamic_fori(x, n):
    return lax.fori_loop(1, n, lambda i, c: jnp.sin(c * x) + i, x)


def a_carry_that_becomes_active(x, n):
    body = lambda s: (s[0] + 1, s[2], s[2] * x)  # noqa: E731
    return lax.while_loop(lambda s: s[0] < n, body, (0, X, X))[1]


def an_integer_alone(x, n):
    return x**2 * lax.while_loop(lambda i: i * i < n, lambda i: i + 1, 0)


def the_condition_alone(x, n):
    return jnp.sin(x) * lax.while_loop(lambda i: i < jnp.sum(x) + n, lambda i: i + 1.0, 0.0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("f", "numbers"),
    [
        (while_in_scan, [np.array([2, 0, 3])]),
        (scan_in_while, [3]),
        (while_in_while, [4]),
        (while_in_cond_in_remat, [3, 1]),
        (with_constants, [9]),
        (with_a_key, [3]),
        (dynamic_fori, [4, 0]),
        (a_carry_that_becomes_active, [4, 1]),
        (an_integer_alone, [12]),
        (the_condition_alone, [3]),
    ],
)
def test_while_among_other_things(f, numbers):
    """Beside JAX's forward mode, which goes through a while loop."""
    loss = lambda x, n: sum(weighted(y) for y in jax.tree.leaves(f(x, n)))  # noqa: E731
    both = jax.jit(lambda x, n: (funcnet.value_and_grad(loss)(x, n), (loss(x, n), jax.jacfwd(loss)(x, n))))
    for n in numbers:
        assert_close(*both(X, n), 1e-12)
    assert np.any(both(X, numbers[0])[0][1])


@pytest.mark.parametrize(
    ("steps", "again"),
    [
        (0, 0),
        (1, 0),
        (2, 1),
        (32, 31),
        (33, 33 - 1),
        (34, 2 * 34 - 34),
        (500, 2 * 500 - 34),
        (561, 2 * 561 - 34),
        (562, 3 * 562 - 595),
        (3000, 3 * 3000 - 595),
    ],
)
def test_how_often_a_body_runs(steps, again):
    """Forward once, once to be reversed, and what binomial checkpointing needs to come back to each step.

    With c places and B(c + r − 1, c) < ℓ ≤ B(c + r, c), those are r·ℓ − B(c + r, c + 1) steps
    (Griewank and Walther 2000, Algorithm 799, proposition 1).
    """
    ran = []

    def body(state):
        jax.debug.callback(lambda: ran.append(1))
        return state[0] + 1, jnp.sin(state[1])

    loop = lambda x, n: lax.while_loop(lambda state: state[0] < n, body, (0, x))[1]  # noqa: E731
    jax.jit(funcnet.grad(loop))(1.0, steps)
    jax.effects_barrier()
    assert PLACES == 32
    assert len(ran) == 2 * steps + again


def test_the_memory_of_a_while_loop_does_not_depend_on_its_steps():
    x = jnp.ones(1000)
    gradient = jax.jit(funcnet.grad(lambda x, n: jnp.sum(run(x, 1.1, n))))
    bytes_of = temporary_bytes(gradient, x, 10)
    assert bytes_of == temporary_bytes(gradient, x, 10_000_000)
    assert bytes_of < (2 * PLACES + 10) * x.nbytes
    assert np.isfinite(gradient(x, 2000)).all()


def temporary_bytes(f, *xs):
    return f.lower(*xs).compile().memory_analysis().temp_size_in_bytes
