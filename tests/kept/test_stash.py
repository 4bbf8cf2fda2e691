"""What is kept: rows written down by hand from the rules' formulas, sums beside the arrays of a pullback."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import nn
from funcnet._errors import GradientError, MissingRuleError, ParameterError
from tests.backprop.programs import MORE_PROGRAMS, PROGRAMS, mlp

N, D, K, STEPS = 64, 8, 4, 10
X, W = jax.ShapeDtypeStruct((N, D), jnp.float32), jax.ShapeDtypeStruct((D, K), jnp.float32)
H = f"f32[{N},{K}]"
LABELS = np.zeros(N, np.int32)
SQUARE = np.ones((K, K), np.float32)
PRODUCT, CHEAP, STEP = "a product", "elementwise of the rest", "the step before"


@jax.custom_jvp
def sine(x):
    return jnp.sin(x)


sine.defjvp(lambda xs, x_dots: (jnp.sin(xs[0]), jnp.cos(xs[0]) * x_dots[0]))


@jax.custom_vjp
def weighed(x, weights):
    return x * weights


weighed.defvjp(lambda x, w: (x * w, (w * 2,)), lambda stash, y_bar: (y_bar * stash[0] / 2, None))


def looped(h):
    """A step's product is with data, and so reads no carry."""
    return lax.scan(lambda h, _: (jnp.tanh(h @ SQUARE) * h, None), h, length=STEPS)[0]


def counted(h):
    return lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, jnp.sin(s[1])), (0, h))[1]


def chosen(h, k):
    """The second branch keeps two arrays beside the operand; the others find room where these are."""
    branches = [lambda h: 2 * jnp.exp(h), lambda h: jnp.sin(h) * jnp.cos(h), lambda h: h]
    return lax.switch(k, branches, h)


def sum_of_two(h):
    return jnp.sin(h) + jnp.cos(h)


BY_HAND = [  # a function of h = x·w and of the data x; what it keeps beside x: rules, array, why
    ("tanh reads x", lambda h, x: jnp.tanh(h), [("tanh", H, PRODUCT)]),
    ("exp reads y", lambda h, x: 2 * jnp.exp(h), [("exp", H, PRODUCT)]),
    ("but y is the result here, and there anyway", lambda h, x: jnp.exp(h), []),
    ("a sum reads nothing", lambda h, x: (h + 1).sum(), []),
    ("a product reads both factors", lambda h, x: h * (h + 1), [("mul", H, PRODUCT), ("mul", H, CHEAP)]),
    ("of data the factor alone", lambda h, x: h * x[:, :1], [("mul", f"f32[{N},1]", CHEAP)]),
    ("two rules read one array", lambda h, x: sum_of_two(h), [("sin, cos", H, PRODUCT)]),
    ("relu reads its input", lambda h, x: jax.nn.relu(h), [("jax.nn.relu", H, PRODUCT)]),
    ("the gate relu a mask", lambda h, x: nn.relu(h), [("relu", f"bool[{N},{K}]", PRODUCT)]),
    ("a sort reads where each went", lambda h, x: jnp.sort(h), [("sort", f"i32[{N},{K}]", "a sort")]),
    ("a custom_jvp its slope", lambda h, x: sine(h), [("sine", H, PRODUCT)]),
    ("a custom_vjp its residuals", lambda h, x: weighed(h, x[:, :K]), [("weighed", H, CHEAP)]),
    ("in jit", lambda h, x: jax.jit(lambda h: 2 * jnp.tanh(h))(h), [("tanh", H, PRODUCT)]),
    ("in vmap", lambda h, x: jax.vmap(jnp.tanh)(h), [("tanh", H, PRODUCT)]),
    (
        "where reads the draw",
        lambda h, x: jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, h.shape), h, 0),
        [("select_n", f"bool[{N},{K}]", "a random draw")],
    ),
    (
        "a scan each step's arrays",
        lambda h, x: looped(h),
        [
            ("mul", f"f32[{STEPS},{N},{K}]", PRODUCT),
            ("mul", f"f32[{STEPS},{N},{K}]", STEP),
            ("tanh", f"f32[{STEPS},{N},{K}]", PRODUCT),
        ],
    ),
    (
        "a switch what its neediest branch wants",
        lambda h, x: chosen(h, jnp.int32(x[0, 0])),
        [("cond", "i32[]", CHEAP), ("sin, cos", H, PRODUCT), ("mul, exp", H, CHEAP), ("mul", H, CHEAP)],
    ),
    (
        "a while its start and the count",
        lambda h, x: counted(h),
        [("while", H, PRODUCT), ("while", "i32[]", "a loop")],
    ),
    ("a checkpoint its inputs", lambda h, x: jax.checkpoint(jnp.sin)(h), [("checkpoint", H, PRODUCT)]),
    (
        "and what its policy saves",
        lambda h, x: jax.checkpoint(
            lambda h: jnp.sin(jnp.cos(h) @ SQUARE), policy=jax.checkpoint_policies.dots_saveable
        )(h),
        [("checkpoint", H, PRODUCT), ("checkpoint", H, PRODUCT)],
    ),
    (
        "a loss the scores alone",
        lambda h, x: nn.softmax_loss(h, LABELS),
        [("softmax_loss", H, PRODUCT)],
    ),
]


def own(stash):
    """What a stash keeps, without what is there anyway."""
    return [
        (", ".join(row.rules), jax.core.ShapedArray(row.shape, row.dtype).str_short(True), row.why)
        for row in stash.rows
        if not row.there
    ]


@pytest.mark.in_turns(2)
@pytest.mark.parametrize(
    ("function", "expected"), [row[1:] for row in BY_HAND], ids=[row[0] for row in BY_HAND]
)
def test_it_keeps_what_the_rules_read(function, expected):
    found = funcnet.stash(lambda w, x: function(x @ w, x))(W, X)
    assert own(found) == expected


def arrays_of_the_pullback(f, *args):
    """The arrays that `funcnet.vjp` hands to its pullback under jit and that are no arguments, each once."""
    run = lambda *args: jax.tree.leaves(funcnet.vjp(lambda a: f(a, *args[1:]), args[0])[1])  # noqa: E731
    program = jax.make_jaxpr(run)(*args).jaxpr
    return {v for v in program.outvars if isinstance(v, type(program.invars[0])) and v not in program.invars}


@pytest.mark.in_turns(4)
@pytest.mark.parametrize("program", [*PROGRAMS, *MORE_PROGRAMS], ids=str)
def test_the_sum_is_that_of_the_arrays_that_a_pullback_holds(program):
    arguments = program.sample()
    held = arrays_of_the_pullback(program.function, *arguments)
    found = funcnet.stash(program.function)(*arguments)
    assert found.bytes == sum(v.aval.size * v.aval.dtype.itemsize for v in held)
    assert len([row for row in found.rows if not row.there]) == len(held)
    assert all(row.rules and row.line for row in found.rows)


def test_arguments_and_constants_are_there_anyway():
    constant = jnp.ones((N, K))
    found = funcnet.stash(lambda params, x: ((x @ params["w"]) * constant).sum())({"w": W}, X)
    assert [(row.made, row.why, row.there) for row in found.rows] == [
        ("x", "an argument", True),
        ("", "a constant", True),
    ]
    assert found.bytes == found.cheap == 0


def test_a_row_says_where_the_rule_is_used_and_what_has_made_the_array():
    (_, row) = funcnet.stash(lambda w, x: jnp.tanh(x @ w))(W, X).rows
    assert re.search(r"test_stash.py:\d+:\d+ \(\S*<lambda>\)$", row.line)
    assert (row.made, row.bytes, row.cheap) == ("dot_general", 4 * N * K, False)


def test_it_is_asked_of_the_arguments_that_are_differentiated():
    product = lambda a, b: 2 * (jnp.sin(a) * jnp.cos(b))  # noqa: E731
    rules = [[row.rules for row in funcnet.stash(product, n)(1.0, 2.0).rows] for n in (0, 1, (0, 1))]
    assert rules == [
        [("sin",), ("mul",)],
        [("cos",), ("mul",)],
        [("sin",), ("cos",), ("mul",), ("mul",)],
    ]


def test_it_takes_what_grad_takes():
    def loss(w, x, labels, *, activation, scale):
        return (activation(x @ w)[jnp.arange(N), labels] * scale).sum(), "beside"

    labels = jnp.zeros(N, jnp.int32)
    found = funcnet.stash(loss, has_aux=True)(W, X, labels, activation=jnp.tanh, scale=2)
    assert ("tanh", H, PRODUCT) in own(found)
    assert found.temporary >= 0


def test_rules_of_the_users_are_read_as_well():
    frugal = funcnet.RULES | {"tanh": lambda y_bar, y, x: (y_bar * (1 - y * y),)}
    found = funcnet.stash(lambda w, x: 2 * jnp.tanh(x @ w), rules=frugal)(W, X)
    assert [(row.rules, row.made) for row in found.rows if not row.there] == [(("tanh",), "tanh")]


def test_a_budget_keeps_less_and_has_second_runs():
    def deep(weights, x):
        for w in weights:
            x = jnp.tanh(x @ w)
        return jnp.mean(x**2)

    arguments = [jax.ShapeDtypeStruct((K, K), jnp.float32)] * 8, jax.ShapeDtypeStruct((4096, K), jnp.float32)
    plain, within = (funcnet.stash(deep, budget=budget)(*arguments) for budget in (None, 0.5))
    assert within.bytes <= 0.6 * plain.bytes
    assert within.peak <= 0.6 * plain.peak
    assert "second run" in {rule for row in within.rows for rule in row.rules}


def test_on_a_mesh_it_is_what_the_devices_make_of_their_shards():
    mesh = jax.make_mesh((1,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
    each = lambda w, x: jnp.tanh(x @ w)  # noqa: E731
    spread = jax.shard_map(each, mesh=mesh, in_specs=(jax.P(), jax.P("devices")), out_specs=jax.P("devices"))
    assert funcnet.stash(spread)(W, X).bytes == funcnet.stash(each)(W, X).bytes == 4 * N * K


def test_what_does_not_fit_into_memory_can_be_asked_for():
    x = jax.ShapeDtypeStruct((10**12, D), jnp.bfloat16)
    found = funcnet.stash(lambda w, x: jnp.tanh(x @ w).sum())(jax.ShapeDtypeStruct((D, K), jnp.bfloat16), x)
    assert found.bytes == 2 * K * 10**12


WIDTH = 16
LAYERS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "gelu": jax.nn.gelu}


@pytest.mark.parametrize("activation", LAYERS)
def test_the_peak_is_what_xla_takes(activation):
    """Within 10 % where XLA fuses as it says it does; the batch is much larger than the width."""
    types = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)  # noqa: E731
    layers = [*[(types(WIDTH, WIDTH), types(WIDTH))] * 3, (types(WIDTH, 4), types(4))]
    labels = jax.ShapeDtypeStruct((4096,), jnp.int32)
    found = funcnet.stash(mlp(LAYERS[activation]))(layers, types(4096, WIDTH), labels)
    assert found.peak == pytest.approx(found.temporary, rel=0.1)
    assert found.bytes - found.cheap >= 3 * 4 * 4096 * WIDTH


def test_the_table_fits_a_terminal_and_its_sums_are_those_of_the_rows():
    def a_function_with_rather_a_long_name(params, x):
        for w in params:
            x = jax.nn.log_softmax(jax.nn.softplus(x @ w))
        return x.sum()

    square = jax.ShapeDtypeStruct((D, D), jnp.float32)
    found = funcnet.stash(a_function_with_rather_a_long_name)([square] * 30, X)
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["bytes", "array", "read", "by", "line", "why", "it", "is", "kept"]
    assert sum(line.count("30 × f32[64,8]") for line in lines) >= 2
    assert f"kept in {len([row for row in found.rows if not row.there])} arrays" in str(found)
    html = found._repr_html_()
    assert html.count("<tr>") == lines.index("")
    assert "&lt;" not in html
    assert "a_function_with_rather_a_long_name: " in repr(found)


def test_the_picture_grows_to_the_sum_and_goes_to_nothing():
    found = funcnet.stash(lambda w, x: jnp.exp(jnp.tanh(jnp.sin(x @ w))).sum())(W, X)
    figure = found.picture()
    (axes,) = figure.axes
    tops = np.sum([[bar.get_height() for bar in bars] for bars in axes.containers], axis=0)
    assert tops.max() == found.bytes
    assert tops[len(found.forward) - 1] == found.bytes
    assert tops[-1] <= tops[len(found.forward)]
    figure.savefig("/dev/null", format="png")


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (
            lambda: funcnet.stash(3),
            GradientError,
            r"stash: got 3, expected a function; write stash\(f\)\(x\)",
        ),
        (
            lambda: funcnet.stash(jnp.sum)(jnp.arange(3)),
            GradientError,
            "asked for of int32\\[3\\], expected floats",
        ),
        (lambda: funcnet.stash(jnp.sum)("x"), GradientError, "argument \\[0\\] is str, expected an array"),
        (lambda: funcnet.stash(jnp.sum, 2)(1.0), GradientError, "argnums=2 .* got 1 positional arguments"),
        (lambda: funcnet.stash(lambda x: "no")(1.0), GradientError, "returned str 'no', expected arrays"),
        (
            lambda: funcnet.stash(called_back)(1.0),
            MissingRuleError,
            "'pure_callback' has no gradient, used at",
        ),
        (lambda: funcnet.stash(jnp.sum, rules={})(1.0), ParameterError, "rules: got dict, expected a table"),
    ],
)
def test_a_question_without_an_answer_is_told_so(ask, error, words, no_shape_checks):
    with pytest.raises(error, match=words):
        ask()


def called_back(x):
    return jax.pure_callback(lambda x: x, x, x)


def test_a_branch_on_a_value_is_told_how_to_be_written():
    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        funcnet.stash(lambda x: x if x > 0 else -x)(1.0)
    assert "jax.lax.cond or jnp.where" in "".join(caught.value.__notes__)
