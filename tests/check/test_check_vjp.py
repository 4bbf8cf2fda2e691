"""The whole check: what is wrong is refused in words that name it, and what is right is accepted."""

import functools
import subprocess
import sys
import warnings

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import VJPCheckError, check_vjp
from funcnet._errors import FuncnetError, ParameterError
from tests.check.rows import Refused, array, custom

X = array(0.5, -1.25, 2.0, 3.5)
SQUARE_MATRIX = jnp.asarray([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [-0.4, 0.8, 1.2]])
TALL = jnp.asarray([[0.5, -1.0], [1.5, 0.25], [-0.4, 0.8]])


def cube(x):
    return x**3


def cube_times(factor):
    return custom(cube, lambda args, y_bar: (factor * 3 * args[0] ** 2 * y_bar,))


def layer(params, x):
    return jnp.tanh(x @ params["w"]) + params["b"]


def layer_gradient(args, y_bar):
    params, x = args
    inner = y_bar * (1 - jnp.tanh(x @ params["w"]) ** 2)
    return {"w": x.T @ inner, "b": y_bar.sum(0)}, inner @ params["w"].T


def broken_layer(change):
    """The layer with a change to what its rule returns."""
    return custom(layer, lambda args, y_bar: change(*layer_gradient(args, y_bar)))


LAYER = ({"w": 0.3 * SQUARE_MATRIX, "b": array(0.1, 0.2, 0.3)}, SQUARE_MATRIX[::-1] + 0.3)


def spread_sum(x):
    return jnp.broadcast_to(x.sum(0), x.shape)


def spread_mean(x):
    return jnp.broadcast_to(x.mean(0), x.shape)


def product(a, b):
    return a * b


def energy(z):
    return z * z


def two_outputs(x):
    return {"sin": jnp.sin(x), "cos": jnp.cos(x)}


def corner(x):
    return x * x


WRONG = [
    Refused(
        "a factor",
        cube_times(1.003),
        (X,),
        "WRONG",
        (
            "WRONG: cube, x: float64[4]: the rule is not the derivative",
            "worst      x[",
            "4 of 4 elements are off",
            "0.003 of the truth",
            "× the rounding noise",
            "autodiff of the primal and differences agree",
            "a factor: the rule is 1.003 × the truth",
            "funcnet.check_vjp(cube, *args, key=0)",
        ),
    ),
    Refused("the sign", cube_times(-1.0), (X,), "WRONG", ("the sign: the rule is −1 × the truth",)),
    Refused(
        "a mean for a sum",
        cube_times(0.25),
        (X,),
        "WRONG",
        ("a factor 1/4: a mean over 4 where a sum belongs",),
    ),
    Refused(
        "transposed, in a tree",
        broken_layer(lambda params, x: (params | {"w": params["w"].T}, x)),
        LAYER,
        "WRONG",
        ("WRONG: layer, params['w']: float64[3,3]: ", "worst      params['w'][", "transposed"),
    ),
    Refused(
        "a mean over the batch in one leaf",
        broken_layer(lambda params, x: (params | {"b": params["b"] / 3}, x)),
        LAYER,
        "WRONG",
        ("params['b']: float64[3]", "3 of 3 elements are off", "a mean over 3 where a sum belongs"),
    ),
    Refused(
        "left out",
        broken_layer(lambda params, x: (params, jnp.zeros_like(x))),
        LAYER,
        "WRONG",
        ("layer, x: float64[3,3]", "rule 0, autodiff", "all zero: the argument is left out of the rule"),
    ),
    Refused(
        "None for a float",
        custom(product, lambda args, y_bar: (y_bar * args[1], None)),
        (X, X[::-1]),
        "WRONG",
        ("product, b: float64[4]", "or its gradient was returned as None"),
    ),
    Refused(
        "swapped arguments",
        custom(product, lambda args, y_bar: (y_bar * args[0], y_bar * args[1])),
        (X, X[::-1] ** 2),
        "WRONG",
        ("product, a: float64[4]", "the gradient of another argument: the two are swapped"),
    ),
    Refused(
        "rolled",
        custom(cube, lambda args, y_bar: (jnp.roll(3 * args[0] ** 2 * y_bar, 1),)),
        (X,),
        "WRONG",
        ("rolled by 1 along axis 0",),
    ),
    Refused(
        "a missing sum",
        custom(spread_sum, lambda args, y_bar: (y_bar,)),
        (TALL,),
        "WRONG",
        ("spread_sum, x: float64[3,2]", "a sum over axis 0 is missing"),
    ),
    Refused(
        "a missing mean",
        custom(spread_mean, lambda args, y_bar: (y_bar,)),
        (TALL,),
        "WRONG",
        ("a mean over axis 0 is missing",),
    ),
    Refused(
        "one element",
        custom(cube, lambda args, y_bar: ((3 * args[0] ** 2 * y_bar).at[2].set(0.0),)),
        (X,),
        "WRONG",
        ("worst      x[2]: rule 0, autodiff ", "1 of 4 elements are off", "one element only, [2]: it is 0"),
    ),
    Refused(
        "through float16",
        custom(cube, lambda args, y_bar: ((3 * args[0] ** 2 * y_bar).astype("float16").astype(y_bar.dtype),)),
        (X,),
        "NONLINEAR",
        ("x̄(α ȳ₁ + β ȳ₂) is not α x̄(ȳ₁) + β x̄(ȳ₂)", "a short dtype on the way"),
    ),
    Refused(
        "a conjugate too many",
        custom(energy, lambda args, y_bar: (2 * args[0].conj() * y_bar,)),
        (array(1 + 2j, 0.5 - 1j, dtype="complex64"),),
        "WRONG",
        ("energy, z: complex128[2]", "2 of 2 elements are off"),
    ),
    Refused(
        "a second output forgotten",
        custom(two_outputs, lambda args, y_bar: (jnp.cos(args[0]) * y_bar["sin"],)),
        (X,),
        "WRONG",
        ("two_outputs, x: float64[4]", "4 of 4 elements are off"),
    ),
    Refused(
        "only beyond the arguments given",
        custom(corner, lambda args, y_bar: (jnp.where(args[0] > 10, 3.0, 2.0) * args[0] * y_bar,)),
        (X,),
        "WRONG",
        (
            "the rule is not the derivative, at 3 × the arguments",
            "worst      x[3]",
            "1 of 4 elements are off",
        ),
    ),
    Refused(
        "stop_gradient in a primal without a rule of its own",
        lambda x: x * lax.stop_gradient(x),
        (X,),
        "WRONG",
        ("is not the slope", "a stop_gradient in the primal", "forward mode"),
    ),
    Refused(
        "a rule that is not a number",
        custom(cube, lambda args, y_bar: (3 * args[0] ** 2 * y_bar * array(1, 1, jnp.nan, 1),)),
        (X,),
        "CONTRACT",
        ("the gradient is not finite where the function is", "x[2]: rule nan, autodiff", "1 of 4"),
    ),
    Refused(
        "an upstream gradient ignored",
        custom(cube, lambda args, y_bar: (3 * args[0] ** 2,)),
        (X,),
        "NONLINEAR",
        ("cube, x: float64[4]", "an upstream gradient of 0 gives one that is not 0", "is ignored"),
    ),
]


@pytest.mark.parametrize("row", WRONG, ids=str)
def test_a_wrong_rule_is_refused_in_words_that_name_the_mistake(row):
    row.test()


@pytest.mark.parametrize("delta", [1e-8, 1e-6, 1e-4])
def test_small_errors_are_refused_in_float64(delta):
    Refused(
        "small", cube_times(1 + delta), (X,), "WRONG", ("4 of 4 elements are off", "hint "), {"dtypes": ()}
    ).test()


def test_the_whole_message():
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(cube_times(1.003), X)
    first, *lines = str(caught.value).splitlines()
    assert first == "WRONG: cube, x: float64[4]: the rule is not the derivative"
    assert [line.split()[0] for line in lines] == ["worst", "error", "oracles", "hint", "reproduce"]
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, FuncnetError)
    assert caught.value.finding.function == "cube"
    assert caught.value.__suppress_context__


def test_the_numbers_in_a_message_are_those_of_the_rule_and_of_the_truth():
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(cube_times(3.0), array(2.0))
    worst = dict(caught.value.finding.details)["worst"].replace(",", "").split()
    rule, autodiff, differences = (
        float(worst[worst.index(word) + 1]) for word in ("rule", "autodiff", "differences")
    )
    assert autodiff == pytest.approx(differences, rel=1e-8)
    assert rule == pytest.approx(3 * autodiff, rel=1e-8)
    assert 0.5 * 12 <= abs(autodiff) <= 1.5 * 12  # 3x² times an upstream gradient of 0.5 to 1.5


# Right functions: name, function, args, options.

sine = custom(jnp.sin, lambda args, y_bar: (y_bar * jnp.cos(args[0]),))


@jax.custom_jvp
def log1pexp(x):
    return jnp.logaddexp(x, 0.0)


log1pexp.defjvps(lambda x_dot, y, x: jax.nn.sigmoid(x) * x_dot)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def applied(f, x, power):
    return f(x) ** power


def applied_forward(f, x, power):
    return applied(f, x, power), x


def applied_backward(f, power, x, y_bar):
    return (y_bar * power * f(x) ** (power - 1) * jnp.cos(x),)


applied.defvjp(applied_forward, applied_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def reduced(x, kind="sum"):
    return {"sum": jnp.sum, "mean": jnp.mean}[kind](x)


reduced.defvjp(
    lambda x, kind: (reduced(x, kind), x),
    lambda kind, x, y_bar: (jnp.full_like(x, y_bar / (x.size if kind == "mean" else 1)),),
)


def taken(table, rows):
    return table[rows]


take = custom(taken, lambda args, y_bar: (jnp.zeros_like(args[0]).at[args[1]].add(y_bar), None))


def masked(x, key, rate):
    return jnp.where(jax.random.bernoulli(key, rate, x.shape), x / rate, 0.0)


def masked_gradient(args, y_bar):
    x, key, rate = args
    keep = jax.random.bernoulli(key, rate, x.shape)
    return jnp.where(keep, y_bar / rate, 0), None, -jnp.where(keep, y_bar * x, 0).sum() / rate**2


def ranked(x):
    order = jnp.argsort(x)
    return {"values": (x[order], [x.sum()]), "order": order}


class Scaled(equinox.Module):
    """A callable with an array inside."""

    weight: jax.Array

    def __call__(self, x):
        return sine(self.weight * x)


def fixed_point(w, x):
    """z = tanh(w z + x), by iteration."""
    return lax.fori_loop(0, 60, lambda _, z: jnp.tanh(w @ z + x), jnp.zeros_like(x))


def implicit_gradient(args, y_bar):
    """z̄ = ȳ + z̄ · ∂z/∂z, the adjoint fixed point (Bai et al. 2019, equation 10)."""
    w, x = args
    z = fixed_point(w, x)
    _, back = jax.vjp(lambda z, w, x: jnp.tanh(w @ z + x), z, w, x)
    adjoint = lax.fori_loop(0, 60, lambda _, z_bar: y_bar + back(z_bar)[0], y_bar)
    return back(adjoint)[1:]


BF16, F16 = (jnp.asarray(X, dtype) for dtype in ("bfloat16", "float16"))
KEY = jax.random.key(3)
bias = np.asarray([1.0, 2.0, 3.0, 4.0], "float32")

FULL = {"transforms": ("jit", "vmap"), "dtypes": None}
SHORT_DTYPES = {"dtypes": None}

RIGHT = [
    ("no rule of its own", jnp.sin, (X,), {}),
    ("a custom_vjp", sine, (X,), FULL),
    ("a custom_jvp", log1pexp, (X,), SHORT_DTYPES),
    ("a pytree", custom(layer, layer_gradient), LAYER, FULL),
    (
        "complex numbers",
        custom(energy, lambda args, y_bar: (2 * args[0] * y_bar,)),
        (array(1 + 2j, 0.5, -1j, dtype="complex64"),),
        SHORT_DTYPES,
    ),
    ("complex to real", lambda z: (z * z.conj()).real, (array(1 + 2j, -1j, dtype="complex64"),), {}),
    ("integers", take, (TALL, jnp.asarray([2, 0, 2])), FULL),
    ("a typed key", custom(masked, masked_gradient), (X, KEY, 0.5), FULL),
    ("a raw key", custom(masked, masked_gradient), (X, jax.random.key_data(KEY), 0.5), {}),
    (
        "Python numbers",
        custom(product, lambda args, y_bar: (y_bar * args[1], y_bar * args[0])),
        (2.0, 3.0),
        SHORT_DTYPES,
    ),
    ("numpy arrays", sine, (np.array([0.5, 1.0]),), {}),
    ("a zero-size array beside another", lambda x, y: sine(jnp.concatenate([x, y])), (X, X[:0]), {}),
    ("only a zero-size array", sine, (jnp.zeros((0, 3)),), SHORT_DTYPES),
    ("rank 0", sine, (jnp.float32(0.3),), {}),
    ("rank 0, at 0", sine, (0.0,), {}),
    ("bfloat16", sine, (BF16,), SHORT_DTYPES),
    ("float16", sine, (F16,), SHORT_DTYPES),
    ("short dtypes asked for", sine, (X,), {"dtypes": ("float32", "bfloat16", jnp.float16)}),
    ("float64 without x64", sine, (np.linspace(-2.0, 2.0, 5),), SHORT_DTYPES),
    ("a string and a default", reduced, (X, "mean"), {}),
    ("a static argument left to its default", reduced, (X,), {}),
    ("a function and an int, static", applied, (jnp.sin, X, 3), {}),
    ("under jit", jax.jit(sine), (X,), {}),
    ("under vmap", jax.vmap(sine), (SQUARE_MATRIX,), {}),
    ("under remat", jax.checkpoint(sine), (X,), {}),
    ("in scan", lambda x: lax.scan(lambda c, _: (sine(c), c), x, length=3), (X,), {}),
    ("in cond", lambda x: lax.cond(x[0] > 0, sine, jnp.tanh, x), (X,), {}),
    (
        "a solver with a loop of unknown length",
        custom(
            lambda x: lax.while_loop(
                lambda r: (
                    (abs(r * r - x) > 1e-14 * x).any() & (r.dtype == "float64")
                    | (abs(r * r - x) > 1e-6 * x).any()
                ),
                lambda r: (r + x / r) / 2,
                x,
            ),
            lambda args, y_bar: (y_bar / (2 * jnp.sqrt(args[0])),),
        ),
        (X[2:],),
        {"reference": jnp.sqrt},
    ),
    (
        "a fixed point by its adjoint",
        custom(fixed_point, implicit_gradient),
        (0.2 * SQUARE_MATRIX, X[:3]),
        {},
    ),
    ("a gate", funcnet.nn.affine, (SQUARE_MATRIX, SQUARE_MATRIX, X[:3]), {}),
    ("a gate with a parameter", functools.partial(funcnet.nn.leaky_relu, slope=0.2), (X,), {}),
    ("an array closed over", lambda x: sine(x + bias), (X,), {}),
    ("an array bound by partial", functools.partial(product, X), (X,), {}),
    ("a callable module", Scaled(X), (X,), {}),
    ("nested results, integers among them", ranked, (X,), SHORT_DTYPES),
    ("a gather and a maximum", lambda x: x[jnp.array([0, 0, 2])].max(), (X,), {}),
    ("a reference", sine, (X,), {"reference": lambda x: (jnp.exp(1j * x)).imag}),
    ("a key of jax.random", sine, (X,), {"key": KEY}),
    ("a raw key of jax.random", sine, (X,), {"key": jax.random.key_data(KEY)}),
]


@pytest.mark.parametrize(
    ("function", "args", "options"), [row[1:] for row in RIGHT], ids=[row[0] for row in RIGHT]
)
def test_a_right_gradient_is_accepted(function, args, options):
    report = check_vjp(function, *args, **{"transforms": (), "dtypes": (), **options})
    assert all(row.error <= 8 for row in report.rows)
    assert report.calls <= 15


@pytest.mark.parametrize("n", [4, 1024])
def test_a_check_takes_a_dozen_compiled_calls_at_most(n):
    x = jnp.asarray(np.random.default_rng(0).normal(size=n), "float32")
    report = check_vjp(sine, x)
    assert report.calls <= 12
    assert report.own_rules == 1
    assert report.probes > 50


def symmetric_solve(a, b):
    return jnp.linalg.solve(a, b)


def symmetric_solve_gradient(args, y_bar):
    """a is its own transpose."""
    a, b = args
    adjoint = jnp.linalg.solve(a, y_bar)
    return -jnp.outer(adjoint, jnp.linalg.solve(a, b)), adjoint


def test_a_rule_may_rely_on_the_structure_of_its_arguments():
    symmetric = jnp.asarray([[4.0, -1.0, 0.5], [-1.0, 3.0, -0.3], [0.5, -0.3, 5.0]])
    check_vjp(custom(symmetric_solve, symmetric_solve_gradient), symmetric, X[:3], transforms=())


def test_a_wrapped_function_has_a_signature_of_its_own():
    @functools.wraps(product)
    def doubled(a):
        return product(a, 2.0)

    check_vjp(doubled, X, transforms=(), dtypes=())


# Where autodiff of the primal is wrong, and the differences decide.


def root(x):
    """√x where that is real, else 0: autodiff is 0 · ∞ = NaN there (JAX FAQ, "gradients contain NaN")."""
    return jnp.where(x > 0, jnp.sqrt(x), 0.0)


def root_of_positives(x):
    """The same, with the second where that autodiff needs."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def root_gradient(args, y_bar, elsewhere=0.0):
    (x,) = args
    return (jnp.where(x > 0, y_bar / (2 * jnp.sqrt(jnp.where(x > 0, x, 1.0))), elsewhere * y_bar),)


NEGATIVE = array(-1.0, 0.5, 2.0)


def test_a_rule_that_is_right_where_autodiff_is_nan_is_accepted_with_a_note():
    report = check_vjp(custom(root, root_gradient), NEGATIVE)
    assert "x: autodiff of the primal is off at x[0]; the differences side with the rule" in report.notes


def test_a_where_inside_of_where_needs_no_note():
    assert check_vjp(custom(root_of_positives, root_gradient), NEGATIVE).notes == ()


NAN = [
    Refused(
        "rule and autodiff are both NaN",
        root,
        (NEGATIVE,),
        "CONTRACT",
        (
            "root, x: float64[3]: the gradient is not finite where the function is",
            "x[0]: rule nan, autodiff nan, differences 0 ± ",
            "1 of 3 elements are not finite",
        ),
    ),
    Refused(
        "the rule is wrong where autodiff is NaN",
        custom(root, functools.partial(root_gradient, elsewhere=1.0)),
        (NEGATIVE,),
        "WRONG",
        ("x[0]: rule ", "autodiff nan, differences 0 ± ", "1 of 3 elements are off"),
    ),
]


@pytest.mark.parametrize("row", NAN, ids=str)
def test_a_wrong_rule_is_refused_where_autodiff_is_nan(row):
    row.test()


# Nothing to see.


VACUOUS = [
    Refused(
        "the gradient vanishes",
        cube_times(2.0),
        (array(0.0, 0.0),),
        "VACUOUS",
        ("cube, x: float64[2]: nothing to see", "so a wrong rule would pass", "where the function changes"),
    ),
    Refused(
        "an empty batch",
        custom(layer, layer_gradient),
        (LAYER[0], jnp.zeros((0, 3))),
        "VACUOUS",
        ("layer, params['b']: float64[3]: nothing to see",),
    ),
    Refused(
        "not finite",
        jnp.log,
        (array(-1.0, 2.0),),
        "VACUOUS",
        ("log: the function is not finite", "check it at others"),
    ),
]


@pytest.mark.parametrize("row", VACUOUS, ids=str)
def test_a_check_that_would_see_nothing_is_refused(row):
    row.test()


@pytest.mark.parametrize("x", [array(0.0, 1.0), array(4.0, np.inf)])
def test_where_the_true_gradient_is_not_finite_nothing_else_is_raised(x):
    with pytest.raises(VJPCheckError):
        check_vjp(custom(jnp.sqrt, lambda args, y_bar: (2 * y_bar,)), x)


# Functions of one dtype.


def float32_kernel(x):
    """As a kernel that exists in one dtype."""
    if x.dtype != jnp.float32:
        raise TypeError(f"expected float32, got {x.dtype}")
    return jnp.tanh(x)


def tanh_gradient(args, y_bar, factor=1.0):
    return (factor * y_bar * 4 / (jnp.exp(args[0]) + jnp.exp(-args[0])) ** 2,)


def test_a_function_that_does_not_run_in_float64_is_checked_in_its_own_dtype():
    report = check_vjp(custom(float32_kernel, tanh_gradient), X, reference=jnp.tanh)
    assert [row.dtype for row in report.rows] == ["float32"]
    assert any(
        note.startswith(
            "not checked in float64, where it does not run: TypeError: expected float32, got float64"
        )
        for note in report.notes
    )


SHORT = [
    Refused(
        "1 % off in float32 alone",
        custom(float32_kernel, functools.partial(tanh_gradient, factor=1.01)),
        (X,),
        "WRONG",
        ("float32_kernel, x: float32[4]", "a factor: the rule is 1.01 × the truth"),
        {"reference": jnp.tanh},
    ),
    Refused(
        "not its reference",
        custom(cube, lambda args, y_bar: (3 * args[0] ** 2 * y_bar,)),
        (X,),
        "CONTRACT",
        ("the function returns another result than its reference", "y["),
        {"reference": lambda x: x**3 * 1.001},
    ),
]


@pytest.mark.parametrize("row", SHORT, ids=str)
def test_a_reference_is_held_against_the_function(row):
    row.test()


def test_the_line_that_reproduces_a_failure_has_its_options():
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(cube_times(2.0), X, key=7, dtypes=("bfloat16",), slack=4)
    line = dict(caught.value.finding.details)["reproduce"]
    for option in ("key=7", "bfloat16", "slack=4"):
        assert option in line


def test_a_key_of_jax_random_stands_on_one_line():
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(cube_times(2.0), X, key=KEY)
    assert "\n" not in dict(caught.value.finding.details)["reproduce"]


def test_a_primal_that_does_not_run_in_float64_needs_a_reference():
    with pytest.raises(
        ParameterError, match=r"float32_kernel: its primal does not run in float64.*Pass reference="
    ):
        check_vjp(custom(float32_kernel, tanh_gradient), X)


# Second order.


def hiding(args, y_bar):
    """3x² as a number that backward does not know to depend on x."""
    return (lax.stop_gradient(3 * args[0] ** 2) * y_bar,)


def test_second_order():
    check_vjp(cube_times(1.0), X, order=2)


def test_a_gradient_that_hides_its_dependence_is_wrong_at_second_order_only():
    check_vjp(custom(cube, hiding), X)
    with pytest.raises(VJPCheckError, match="all zero") as caught:
        check_vjp(custom(cube, hiding), X, order=2)
    assert caught.value.verdict == "WRONG"


# Nothing outside changes.


@pytest.mark.parametrize("function", [sine, cube_times(2.0)], ids=["right", "wrong"])
@pytest.mark.parametrize("wide", [False, True], ids=["x64 off", "x64 on"])
def test_no_setting_is_changed(function, wide):
    with jax.enable_x64(wide):
        before = dict(jax.config.values)
        try:
            check_vjp(function, X)
        except VJPCheckError:
            assert function is not sine
        assert dict(jax.config.values) == before
        assert jnp.zeros(()).dtype == (jnp.float64 if wide else jnp.float32)


def test_the_warnings_of_others_pass_through():
    def noisy(x):
        warnings.warn("an old function", FutureWarning, stacklevel=1)
        return jnp.sin(x)

    with pytest.warns(FutureWarning, match="an old function"):
        check_vjp(noisy, X)


# Compiled programs.

COMPILATIONS = """
import jax, jax.numpy as jnp
from funcnet import VJPCheckError, check_vjp

compiled = []

def listen(event, *args, **kwargs):
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(event)

jax.monitoring.register_event_duration_secs_listener(listen)

def count():
    n = len(compiled)
    compiled.clear()
    return n

FACTOR = 1.0

def primal(x, w):
    return jnp.sin(x) @ w

@jax.custom_vjp
def f(x, w):
    return primal(x, w)

f.defvjp(lambda x, w: (primal(x, w), (x, w)),
         lambda stash, y_bar: (FACTOR * y_bar @ stash[1].T * jnp.cos(stash[0]), jnp.sin(stash[0]).T @ y_bar))

a, b = (jax.random.normal(jax.random.key(i), (3, 3)) for i in (0, 1))
count()
check_vjp(f, a, b)
print("first", count())
check_vjp(f, a, b)
print("again", count())
check_vjp(f, a, b, key=7)
print("key", count())
c, d = a + 0.5, 2 * b
count()
check_vjp(f, c, d)
print("values", count())
FACTOR = 1.01
try:
    check_vjp(f, a, b)
except VJPCheckError as error:
    print("edited", error.verdict)
FACTOR = 1.0
check_vjp(f, a, b)
print("back", "right")
"""


def test_a_second_check_compiles_nothing_and_sees_a_rule_that_was_edited():
    done = subprocess.run([sys.executable, "-c", COMPILATIONS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = dict(line.split() for line in done.stdout.splitlines())
    assert 5 <= int(seen.pop("first")) <= 25
    assert seen == {"again": "0", "key": "0", "values": "0", "edited": "WRONG", "back": "right"}


def of_the_first(a, b):
    return jnp.sin(a)


def of_the_second(a, b):
    return jnp.sin(b)


def test_functions_that_differ_in_the_argument_they_use_alone_are_not_mistaken():
    """Their programs read the same once unused inputs are dropped."""
    check_vjp(sine, X)
    check_vjp(custom(of_the_first, lambda args, y_bar: (jnp.cos(args[0]) * y_bar, None)), X, X[::-1])
    check_vjp(custom(of_the_second, lambda args, y_bar: (None, jnp.cos(args[1]) * y_bar)), X, X[::-1])
    with pytest.raises(VJPCheckError, match="of_the_second, b"):
        check_vjp(custom(of_the_second, lambda args, y_bar: (None, jnp.cos(args[0]) * y_bar)), X, X[::-1])


# What cannot be checked.


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def newton(a, tolerance):
    """√a by Newton's method."""
    return lax.while_loop(lambda y: abs(y * y - a) > tolerance, lambda y: (y + a / y) / 2, 1.5 + a)


newton.defvjp(lambda a, tolerance: (newton(a, tolerance), a), lambda _, a, y_bar: (y_bar / (2 * a**0.5),))


def test_a_solver_that_stops_early_is_told_from_a_wrong_rule():
    assert check_vjp(lambda a: newton(a, 1e-12), 2.0, dtypes=())
    with pytest.raises(VJPCheckError, match=r"stops at a tolerance .* a tighter tolerance"):
        check_vjp(lambda a: newton(a, 1e-2), 2.0, dtypes=())


BAD = [
    ("no function", 3.0, (X,), {}, "got 3.0, expected a function; write check_vjp"),
    (
        "no floats",
        lambda i: i * 1.5,
        (jnp.arange(3),),
        {},
        "none of its 1 arguments is a float, expected one",
    ),
    ("no arguments", lambda: jnp.ones(3), (), {}, "none of its 0 arguments is a float"),
    ("an integer result", jnp.argmax, (X,), {}, "argmax: its result has no floats, expected one at least"),
    (
        "a dtype alone",
        jnp.sin,
        (X,),
        {"dtypes": "float32"},
        "dtypes='float32', expected float dtypes; write dtypes=",
    ),
    (
        "a Python branch",
        lambda x, rate: x * 2 if rate > 0 else x,
        (X, 0.5),
        {},
        "<lambda>: it needs the value of an argument.*Bind numbers that are settings",
    ),
    ("an integer dtype", jnp.sin, (X,), {"dtypes": ("int32",)}, "dtypes=.*'int32'.*expected float dtypes"),
    ("no dtype", jnp.sin, (X,), {"dtypes": ("float33",)}, "float33.*expected float dtypes"),
    ("order 0", jnp.sin, (X,), {"order": 0}, "order=0, expected 1 for the gradient, 2 for its gradient"),
    ("order 1.5", jnp.sin, (X,), {"order": 1.5}, "order=1.5, expected 1"),
    (
        "an unknown transform",
        jnp.sin,
        (X,),
        {"transforms": ("pmap",)},
        "transforms=.*pmap.*expected some of .*'jit', 'vmap'",
    ),
    ("a transform alone", jnp.sin, (X,), {"transforms": "jit"}, "transforms='jit', expected some of"),
    (
        "a kink beyond 1",
        jnp.sin,
        (X,),
        {"kinks": 2},
        "kinks=2, expected a number from 0, left, to 1, right, or None",
    ),
    ("a kink in words", jnp.sin, (X,), {"kinks": "left"}, "kinks='left', expected a number"),
    ("no slack", jnp.sin, (X,), {"slack": 0}, "slack=0, expected a positive number"),
    (
        "a negative key",
        jnp.sin,
        (X,),
        {"key": -1},
        "key=-1: expected a number, 0 or more, or a key of jax.random",
    ),
    ("a key in words", jnp.sin, (X,), {"key": "seed"}, "key='seed': expected a number"),
]


@pytest.mark.parametrize(
    ("function", "args", "options", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_what_cannot_be_checked_is_an_error_that_says_what_to_do(function, args, options, words):
    with pytest.raises(ParameterError, match=words):
        check_vjp(function, *args, **options)
