"""Short dtypes: forms that lose digits are refused, and forms of the same function that do not are accepted.

What to expect is known without the checker: the error of each unstable form at these numbers, worked out in
the reason beside it, is far above what the rounding of its inputs explains.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import VJPCheckError, check_vjp
from tests.check.functions import FAST
from tests.check.rows import Refused, array, custom

pytestmark = pytest.mark.in_turns(2)


def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))


def tanh(x):
    return jnp.tanh(x)


def logsumexp(x):
    m = x.max()
    return m + jnp.log(jnp.exp(x - m).sum())


def normalize(x):
    centered = x - x.mean()
    return centered / jnp.sqrt((centered**2).mean())


def from_output(primal, local):
    """A rule that is written in terms of the output: x̄ = ȳ · local(y)."""
    function = jax.custom_vjp(primal)
    function.defvjp(lambda x: (primal(x),) * 2, lambda y, y_bar: (y_bar * local(y),))
    return function


def normalize_gradient(mean_of_squares):
    def backward(args, y_bar):
        (x,) = args
        deviation = jnp.sqrt(mean_of_squares(x))
        y = (x - x.mean()) / deviation
        return ((y_bar - y_bar.mean() - y * (y_bar * y).mean()) / deviation,)

    return backward


def softplus(x):
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def log1mexp(x):
    """log(1 − e⁻ˣ), for x > 0."""
    return jnp.log(-jnp.expm1(-x))


LARGE = array(-1.0, 0.5, 12.0)
FAR = array(100.1, 99.7, 101.3, 100.4, 98.9, 100.8)

RIGHT_IN_FLOAT64 = "right in float64, but off by more than rounding explains in "

UNSTABLE = [
    # At 20, 1 − y = 2e-9: eight digits are left of it in float64, none in float32.
    (
        "σ: y (1 − y)",
        from_output(sigmoid, lambda y: y * (1 - y)),
        LARGE,
        "float32",
        ("worst      x[2]: rule ", "1 of 3 elements", "a difference of nearly equal numbers"),
    ),
    (
        "tanh: 1 − y²",
        from_output(tanh, lambda y: 1 - y * y),
        array(0.5, 9.0),
        "float32",
        ("worst      x[1]: rule ", "a difference of nearly equal numbers"),
    ),
    # At 5, 1 − y = 7e-3: float64 has digits to spare, float32 has lost two.
    (
        "σ: y (1 − y), at 7",
        from_output(sigmoid, lambda y: y * (1 - y)),
        array(-1.0, 0.5, 7.0),
        "float32",
        (RIGHT_IN_FLOAT64 + "float32", "x[2]: rule ", "1 of 3 elements"),
    ),
    (
        "σ: y (1 − y) in bfloat16",
        from_output(sigmoid, lambda y: y * (1 - y)),
        array(-1.0, 7.0),
        "bfloat16",
        ("x: bfloat16[2]", RIGHT_IN_FLOAT64 + "bfloat16"),
    ),
    # Mean of squares 1e4, variance 0.6: 1e4 · 6e-8 / 0.6 = 1e-3, where the inputs' rounding gives 1e-5.
    (
        "a variance as E[x²] − E[x]²",
        custom(normalize, normalize_gradient(lambda x: (x * x).mean() - x.mean() ** 2)),
        FAR,
        "float32",
        (RIGHT_IN_FLOAT64 + "float32", "allowed are 8 × the noise"),
    ),
    # 1 − e⁻ˣ at 1e-4 has 3 of 7 digits left; the derivative 1/(eˣ − 1) needs them all.
    (
        "1 − exp(−x)",
        custom(log1mexp, lambda args, y_bar: (y_bar * jnp.exp(-args[0]) / (1 - jnp.exp(-args[0])),)),
        array(1.3e-4, 2.7e-5, 1.0),
        "float32",
        (RIGHT_IN_FLOAT64 + "float32", "nearly equal numbers"),
    ),
    # x⁴ is beyond float16's 65504 at 30, and the gradient, 512 · 30 / 901² = 0.02, is not.
    (
        "an intermediate beyond float16",
        custom(
            lambda x: 256 / (1 + x * x),
            lambda args, y_bar: (-512 * args[0] * y_bar / (1 + 2 * args[0] ** 2 + args[0] ** 4),),
        ),
        array(0.5, 30.0),
        "float16",
        (RIGHT_IN_FLOAT64 + "float16", "x[1]: rule ", "1 of 2 elements"),
    ),
]


@pytest.mark.parametrize(
    ("name", "function", "x", "dtype", "words"), UNSTABLE, ids=[row[0] for row in UNSTABLE]
)
def test_a_form_that_loses_digits_is_refused(name, function, x, dtype, words):
    Refused(name, function, (x,), "UNSTABLE", (*words, "hint ", "reproduce "), {"dtypes": (dtype,)}).test()


def test_an_exponential_that_overflows_is_refused():
    """exp(100) is beyond float32, and at eight times the arguments beyond float64."""
    naive = custom(logsumexp, lambda args, y_bar: (y_bar * jnp.exp(args[0]) / jnp.exp(args[0]).sum(),))
    Refused(
        "",
        naive,
        (array(100.0, 99.0, 98.0),),
        "CONTRACT",
        ("the gradient is not finite where the function is",),
    ).test()


STABLE = [
    (
        "σ(x) σ(−x)",
        custom(sigmoid, lambda args, y_bar: (y_bar * sigmoid(args[0]) * sigmoid(-args[0]),)),
        LARGE,
    ),
    (
        "4 e / (1 + e)², e = exp(−2|x|)",
        custom(
            tanh,
            lambda args, y_bar: (
                y_bar * 4 * jnp.exp(-2 * abs(args[0])) / (1 + jnp.exp(-2 * abs(args[0]))) ** 2,
            ),
        ),
        array(0.5, 9.0),
    ),
    (
        "softmax",
        custom(logsumexp, lambda args, y_bar: (y_bar * jnp.exp(args[0] - logsumexp(args[0])),)),
        array(100.0, 99.0, 98.0),
    ),
    (
        "a variance of what is centered",
        custom(normalize, normalize_gradient(lambda x: ((x - x.mean()) ** 2).mean())),
        FAR,
    ),
    (
        "expm1",
        custom(log1mexp, lambda args, y_bar: (y_bar / jnp.expm1(args[0]),)),
        array(1.3e-4, 2.7e-5, 1.0),
    ),
    (
        "softplus",
        custom(softplus, lambda args, y_bar: (y_bar * sigmoid(args[0]),)),
        array(-30.0, -1.0, 2.0, 30.0),
    ),
]


@pytest.mark.parametrize(("function", "x"), [row[1:] for row in STABLE], ids=[row[0] for row in STABLE])
def test_a_form_that_does_not_is_accepted(function, x):
    report = check_vjp(function, x, transforms=())
    assert {row.dtype for row in report.rows} == {"float64", "float32"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_stable_rule_is_accepted_in_short_dtypes(dtype):
    rule = STABLE[0][1]
    report = check_vjp(rule, array(-1.0, 0.5, 6.0, dtype=dtype), transforms=())
    assert [row.dtype for row in report.rows] == ["float64", dtype]


# Functions that compute in another dtype than their arguments'.


def dense(x, w):
    """As on hardware: short inputs, sums in float32."""
    return jnp.dot(x, w, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32)).astype(x.dtype)


def dense_gradient(args, y_bar):
    x, w = args
    return dense(y_bar, w.T), dense(x.T, y_bar)


def squared_in_float32(x):
    return (x.astype(jnp.float32) ** 2).astype(x.dtype)


def squared_gradient(factor):
    return lambda args, y_bar: (
        (factor * 2 * args[0].astype(jnp.float32) * y_bar.astype(jnp.float32)).astype(args[0].dtype),
    )


rng = np.random.default_rng(5)
LEFT, RIGHT = (jnp.asarray(rng.normal(size=(8, 8)), "bfloat16") for _ in range(2))

MIXED = [
    ("sums in float32", custom(dense, dense_gradient), (LEFT, RIGHT)),
    ("float32 inside", custom(squared_in_float32, squared_gradient(1.0)), (LARGE,)),
    (
        "float32 inside, without a rule",
        lambda x: jnp.tanh(x.astype(jnp.float32)).astype(x.dtype),
        (LARGE[:2],),
    ),
    ("bfloat16 inside", lambda x: (x.astype(jnp.bfloat16) * 2).astype(x.dtype), (LARGE,)),
    (
        "a float32 softmax inside",
        lambda x: jax.nn.softmax(x.astype(jnp.float32)).astype(x.dtype),
        (LARGE[:2],),
    ),
]


@pytest.mark.parametrize(("function", "args"), [row[1:] for row in MIXED], ids=[row[0] for row in MIXED])
def test_mixed_precision_is_accepted(function, args):
    check_vjp(function, *args, transforms=())


def matmul(a, b):
    return a @ b


def test_long_dot_products_round_their_partial_sums_too():
    a, b = (jnp.asarray(rng.normal(size=(400, 400)), "float32") for _ in range(2))
    rule = custom(matmul, lambda args, y_bar: (y_bar @ args[1].T, args[0].T @ y_bar))
    check_vjp(rule, a, b, transforms=(), elsewhere=())


def test_rows_that_are_taken_a_thousand_times_add_as_many_gradients():
    rows = jnp.asarray(rng.integers(0, 4, 4096))
    for key in range(3):
        table = jnp.asarray(rng.normal(size=(4, 16)), "float32")
        check_vjp(lambda table: table[rows], table, transforms=(), elsewhere=(), key=key)


def test_a_gradient_is_summed_in_the_dtype_of_its_argument(x64):
    """The table makes the result float64; the two gradients of x that nearly cancel are float32."""
    table, x = np.random.default_rng(0).normal(size=(2, 64)), jnp.ones(64, "float32")
    check_vjp(lambda x: jnp.stack([x, x]) * table, x, transforms=())


def test_a_wrong_factor_is_seen_through_float32_inside():
    Refused(
        "1 % off",
        custom(squared_in_float32, squared_gradient(1.01)),
        (LARGE,),
        "WRONG",
        ("the rule is 1.01 × the truth",),
    ).test()


def test_slack_is_how_many_units_of_noise_are_allowed():
    """One element is moved by 5 units in the last place of float32, about ten roundings."""
    u = 2.0**-24

    def backward(args, y_bar):
        off = 1 if args[0].dtype != jnp.float32 else 1 + 20 * u
        return (y_bar * 2 * args[0] * off,)

    rule = custom(lambda x: x * x, backward)
    check_vjp(rule, array(0.5, 1.5), slack=16)
    Refused("slack", rule, (array(0.5, 1.5),), "UNSTABLE", ("allowed are 2",), {"slack": 2}).test()


def spectrum(a):
    return jnp.linalg.eigvalsh(a)


def spectrum_gradient(error_in_float32):
    def backward(args, y_bar):
        (a,) = args
        _, v = jnp.linalg.eigh(a)
        return ((1 + error_in_float32 * (a.dtype == "float32")) * (v * y_bar) @ v.T,)

    return backward


def test_eigenvalues_are_known_to_roundings_of_the_norm():
    """They are those of a matrix that is so close, whatever the size of its smallest elements."""
    graded = jnp.asarray([[4.0, 3e-3, 1.5], [3e-3, 5e-6, 1.3e-3], [1.5, 1.3e-3, 2.0]])

    def rule(error):
        return custom(spectrum, spectrum_gradient(error))

    check_vjp(spectrum, graded, transforms=())
    check_vjp(rule(0.0), graded, transforms=())
    Refused("", rule(1e-4), (graded,), "UNSTABLE", ("off by more than rounding explains in float32",)).test()


def exponential(a):
    w, v = jax.lax.linalg.eig(a, compute_left_eigenvectors=False, enable_eigvec_derivs=True)
    return (v * jnp.exp(w)) @ jnp.linalg.inv(v)


def test_eigenvectors_of_a_matrix_that_is_not_normal_round_by_its_norm():
    rng = np.random.default_rng(4)
    a = jnp.asarray(rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)), "complex64")
    check_vjp(exponential, a, transforms=(), elsewhere=())


def test_random_numbers_that_differ_between_dtypes_are_a_note_not_a_failure():
    report = check_vjp(
        lambda x, key: x * jax.random.normal(key, x.shape), array(1.0, 2.0, 3.0), jax.random.key(0)
    )
    assert "not checked in float32: the function draws other random numbers there" in report.notes


def test_a_dtype_in_which_the_function_overflows_is_a_note_not_a_failure():
    report = check_vjp(jnp.exp, array(1.0, 20.0), dtypes=("float16",))
    assert "not checked in float16: the function overflows there" in report.notes


def call_option(spot, volatility, key):
    """Its price by draws in float32, whatever the arguments are, which each program rounds in its own way."""
    z = jax.random.normal(key, (16,), "float32").astype(spot.dtype)
    return jnp.maximum(spot * jnp.exp(volatility * z - volatility**2 / 2) - 1, 0).mean()


def option_gradient(factor):
    def backward(args, y_bar):
        delta, vega = jax.grad(call_option, (0, 1))(*args)
        return factor * y_bar * delta, y_bar * vega, None

    return custom(call_option, backward)


def test_what_is_float32_and_of_no_argument_is_known_to_that():
    args = jnp.float32(1.05), jnp.float32(0.2), jax.random.key(1)
    assert check_vjp(option_gradient(1.0), *args, **FAST).rows
    with pytest.raises(VJPCheckError, match=r"a factor: the rule is 1\.00001 × the truth"):
        check_vjp(option_gradient(1.00001), *args, **FAST)


def test_a_few_roundings_more_than_allowed_may_be_a_long_sum():
    def backward(args, y_bar):
        error = jnp.where((args[0] > 0.015) & (y_bar.dtype == "float32"), 1e-6, 0).astype(y_bar.dtype)
        return (y_bar * jnp.cos(args[0]) * (1 + error),)

    with pytest.raises(VJPCheckError, match=r"UNSTABLE(?s:.*)hint.*slack= allows more"):
        check_vjp(custom(jnp.sin, backward), array(0.01, 0.02, 0.03), **FAST)
