"""The data of a picture: which gates and wires there are, with which values and gradients."""

import re

import equinox
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import nn
from funcnet.drawing.diagram import assemble
from funcnet.drawing.diagram.fold import FOLD_ABOVE, FOLDED
from funcnet.drawing.diagram.record import Options
from funcnet.drawing.diagram.unroll import MOST_STEPS
from funcnet.drawing.render.nodes import gate_tooltip


def diagram(f, *args, y_bar=None, rules=funcnet.RULES, **options):
    return assemble.diagram(f, args, {}, y_bar, Options(rules, **options))


def names(diagram):
    return [gate.name for gate in diagram]


def boxes(gate):
    return [box.name for box in gate.path]


def test_every_wire_has_its_value_and_its_gradient():
    d = diagram(lambda x, y, z: (x + y) * z, -2.0, 5.0, -4.0)
    assert names(d) == ["add", "mul"]
    assert [(w.name, float(w.value), float(w.gradient)) for w in d.inputs] == [
        ("x", -2.0, -4.0),
        ("y", 5.0, -4.0),
        ("z", -4.0, 3.0),
    ]
    (q, z), (f,) = d.gates[1].inputs, d.gates[1].outputs
    assert (float(q.value), float(q.gradient), q.source, q.target) == (3.0, -4.0, 0, 1)
    assert z is d["z"]
    assert (float(f.value), float(f.gradient), f.role, f.target) == (-12.0, 1.0, "result", None)
    assert d.results == (f,)


def test_a_value_used_more_than_once_goes_through_a_copy_gate_whose_gradients_add():
    d = diagram(lambda x: x * x + jnp.sin(x), 2.0)
    (copy,) = d.named("copy")
    assert copy.inputs == (d["x"],)
    sent = [float(wire.gradient) for wire in copy.outputs]
    np.testing.assert_allclose(sent, [2.0, 2.0, np.cos(2.0)], rtol=1e-6)
    np.testing.assert_allclose(d["x"].gradient, 4 + np.cos(2.0), rtol=1e-6)
    assert [wire.target for wire in copy.outputs] == [1, 1, 2]


def test_arguments_are_named_as_paths():
    params = {"layer1": {"w": jnp.ones(2)}, "rest": [jnp.ones(2), 3.0]}
    d = diagram(
        lambda params, x: params["layer1"]["w"] * x + params["rest"][0] * params["rest"][1], params, 1.0
    )
    assert [w.name for w in d.inputs] == ["params/layer1/w", "params/rest/0", "params/rest/1", "x"]


def test_an_unknown_argument_is_an_error_that_lists_the_known():
    with pytest.raises(funcnet._errors.ParameterError, match="'w': no such input; there are x, y"):
        diagram(lambda x, y: x * y, 1.0, 2.0)["w"]


STRAIGHT = [
    ("identity", lambda x: x, ["copy"]),
    ("argument and constant", lambda x: (x, 3.0), ["copy"]),
    ("the same result twice", lambda x: (jnp.sin(x),) * 2, ["sin", "copy"]),
]


@pytest.mark.parametrize(("f", "gates"), [row[1:] for row in STRAIGHT], ids=[row[0] for row in STRAIGHT])
def test_results_without_a_gate_of_their_own(f, gates):
    d = diagram(f, 1.0)
    assert names(d) == gates
    assert len(d.results) == len(jax.tree.leaves(f(1.0)))


def test_results_are_in_their_own_order():
    d = diagram(lambda x: (jnp.cos(x), jnp.sin(x))[::-1], 0.0)
    assert [float(wire.value) for wire in d.results] == [0.0, 1.0]


def test_a_plain_number_is_an_upstream_gradient():
    assert float(diagram(lambda x: x * 2, 1.0, y_bar=3.0)["x"].gradient) == 6.0


def test_an_argument_that_nothing_uses_has_no_target_and_no_gradient():
    wire = diagram(lambda x, y: jnp.sin(x), 1.0, 2.0)["y"]
    assert (wire.target, wire.gradient, float(wire.value)) == (None, None, 2.0)


def test_what_no_argument_reaches_is_a_constant():
    offset = jnp.arange(3.0)
    d = diagram(lambda x: x + jnp.exp(offset) * 2, jnp.ones(3))
    assert names(d) == ["add"]
    (constant,) = (w for w in d.wires if w.role == "constant")
    np.testing.assert_allclose(constant.value, np.exp([0.0, 1.0, 2.0]) * 2, rtol=1e-6)
    assert constant.gradient is None


def test_what_no_result_needs_is_left_out():
    def f(x):
        jnp.cos(x) * 3
        return jnp.sin(x)

    assert names(diagram(f, 1.0)) == ["sin"]


def test_an_integer_has_no_gradient():
    d = diagram(lambda x, i: x[i] ** 2, jnp.arange(3.0), jnp.asarray(2))
    assert d["i"].gradient is None
    np.testing.assert_array_equal(d["x"].gradient, [0, 0, 4])


def test_the_upstream_gradient_is_ones_or_what_is_given():
    f = lambda x: {"a": 2 * x, "b": jnp.argmax(x)}  # noqa: E731
    x = jnp.asarray([1.0, 2.0])
    np.testing.assert_array_equal(diagram(f, x)["x"].gradient, [2, 2])
    given = diagram(f, x, y_bar={"a": jnp.asarray([1.0, -1.0]), "b": None})
    np.testing.assert_array_equal(given["x"].gradient, [2, -2])
    with pytest.raises(funcnet._errors.ShapeError, match="y_bar"):
        diagram(f, x, y_bar=1.0)


def test_replaced_rules_are_the_ones_that_are_shown():
    guided = funcnet.rule("sin", formula="x̄ = 7 ȳ")(lambda y_bar, y, x: (7 * y_bar,))
    d = diagram(jnp.sin, 1.0, rules=funcnet.RULES | {"sin": guided})
    assert (d.gates[0].formula, float(d["x"].gradient)) == ("x̄ = 7 ȳ", 7.0)


@jax.jit
def layer(w, x):
    return jnp.tanh(x @ w)


def net(w, x):
    with jax.named_scope("body"):
        h = layer(w, x)
        with jax.named_scope("head"):
            y = h * 2
    return nn.relu(y).sum()


DEPTHS = [
    (0, ["body", "relu", "reduce_sum"]),
    (1, ["layer", "head", "relu", "reduce_sum"]),
    (2, ["dot_general", "tanh", "mul", "relu", "reduce_sum"]),
]


@pytest.mark.parametrize(("depth", "gates"), DEPTHS)
def test_boxes_are_opened_level_by_level(depth, gates, key):
    w, x = jax.random.normal(key, (3, 4)), jnp.ones((2, 3))
    d = diagram(net, w, x, depth=depth)
    shown = [name for name in names(d) if name not in ("max", "maximum", "jit")]
    assert shown[: len(gates) - 2] == gates[:-2]
    np.testing.assert_allclose(d["w"].gradient, jax.grad(net)(w, x), rtol=1e-5, atol=1e-6)


def test_an_opened_function_is_a_box_around_its_gates(key):
    d = diagram(net, jax.random.normal(key, (3, 4)), jnp.ones((2, 3)), depth=2)
    (product,) = d.named("dot_general")
    assert boxes(product) == ["body", "layer"]
    assert [box.line is None for box in product.path] == [True, False]
    assert "test_diagram.py" in product.path[1].line


def test_an_opened_function_of_jax_goes_back_gate_by_gate():
    """Its gates' own gradients, and not those of the rule that the function has as a whole."""
    d = diagram(lambda x: jax.nn.gelu(3 * x), jnp.array([0.5, 1.0]), depth=1)
    (tanh,) = d.named("tanh")
    u = 1.5 + 0.044715 * 1.5**3, 3 + 0.044715 * 27  # Hendrycks and Gimpel 2016: 0.5 x (1 + tanh(√(2/π) u))
    slope = 1 - np.tanh(np.sqrt(2 / np.pi) * np.array(u)) ** 2
    np.testing.assert_allclose(tanh.inputs[0].gradient, np.array([0.75, 1.5]) * slope, rtol=1e-4)
    for gate in d:
        assert gate.name == "reduce_sum" or any(wire.gradient is not None for wire in gate.inputs), gate.name


@pytest.mark.parametrize("depth", [0, 1])
def test_a_gate_knows_what_it_keeps_for_the_way_back(depth):
    """Without arguments; a scan's gates that of all steps, and a gate of one step that of this."""

    def net(w, x):
        h = jax.nn.relu(x @ w)
        return jax.lax.scan(lambda h, _: (jnp.tanh(h @ w), None), h, length=5)[0].sum()

    d = diagram(net, jnp.ones((4, 4)), jnp.ones((3, 4)), depth=depth)
    kept = {gate.name: gate.kept for gate in d}
    array = 4 * 3 * 4
    loop = {"scan × 5": 10 * array} if depth == 0 else {"dot_general": 5 * array, "tanh": 5 * array}
    assert {name: count for name, count in kept.items() if count} == {"relu": array} | loop
    assert "keeps 48 bytes for the way back" in gate_tooltip(d.named("relu")[0])


def test_a_box_around_everything_is_open():
    assert names(diagram(jax.jit(lambda x: jnp.sin(x) * 2), 1.0)) == ["sin", "mul"]


def test_a_value_that_a_closed_box_uses_twice_gets_both_gradients():
    """y = 3 x sin x with the product closed: ȳ sin x from one use and ȳ x cos x from the other."""

    def f(x):
        with jax.named_scope("inside"):
            product = x * jnp.sin(x)
        return -(3 * product)

    d = diagram(f, 2.0)
    assert names(d) == ["inside", "mul", "neg"]
    np.testing.assert_allclose(d["x"].gradient, -3 * (np.sin(2.0) + 2 * np.cos(2.0)), rtol=1e-6)


def test_two_calls_of_one_function_are_two_boxes():
    f = jax.jit(lambda x: jnp.sin(x) * 2)
    d = diagram(lambda x: f(f(x)), 1.0, depth=1)
    first, second = d.named("sin")
    assert first.path[0] is not second.path[0]


def test_a_gate_of_funcnet_is_one_gate_with_its_formula_and_source():
    (gate,) = diagram(nn.sigmoid, jnp.zeros(2)).gates
    assert (gate.name, gate.formula, gate.source) == ("sigmoid", nn.sigmoid.formula, nn.sigmoid.source)


def test_a_gate_of_the_user_is_found_at_the_line_that_calls_it():
    square = funcnet.gate(formula="x̄ = ȳ · 2x", source="Leibniz 1684")(lambda x: x * x)
    square.forward(lambda x: (x * x, x))
    square.backward(lambda x, y_bar: (2 * x * y_bar,))
    (gate,) = diagram(lambda x: square(x), 3.0).gates
    assert gate.formula == "x̄ = ȳ · 2x"
    assert "test_diagram.py" in gate.line


def test_a_cond_opens_to_the_branch_that_ran():
    f = lambda x: lax.cond(x > 0, jnp.sin, jnp.exp, x)  # noqa: E731
    assert names(diagram(f, -1.0)) == ["copy", "gt", "convert_element_type", "cond"]
    assert "exp" in names(diagram(f, -1.0, depth=1))
    assert "sin" in names(diagram(f, 1.0, depth=1))


def scanned(x):
    return lax.scan(lambda c, a: (jnp.tanh(c + a), c * a), 0.5, x, reverse=True)


def test_a_scan_is_one_gate_or_all_its_steps():
    x = jnp.asarray([1.0, 2.0, 3.0])
    (rolled,) = diagram(scanned, x).gates
    unrolled = diagram(scanned, x, unroll=True)
    assert rolled.name == "scan × 3"
    assert [boxes(g)[1] for g in unrolled.named("tanh")] == ["step 2", "step 1", "step 0"]
    expected = jax.grad(lambda x: sum(jax.tree.leaves(jax.tree.map(jnp.sum, scanned(x)))))(x)
    np.testing.assert_allclose(unrolled["x"].gradient, expected, rtol=1e-6)
    for one, all_steps in zip(rolled.outputs, unrolled.results, strict=True):
        np.testing.assert_allclose(one.value, all_steps.value, rtol=1e-6)


def test_an_opened_scan_is_its_body_once_with_its_carry_as_a_loop():
    x = jnp.asarray([1.0, 2.0, 3.0])
    rolled, unrolled = diagram(scanned, x, depth=1), diagram(scanned, x, unroll=True)
    for name in ("tanh", "add", "mul"):
        (once,), every = rolled.named(name), unrolled.named(name)
        for i, wire in enumerate(once.outputs):
            for t, gate in enumerate(every):
                np.testing.assert_array_equal(wire.value[t], gate.outputs[i].value)
                np.testing.assert_array_equal(wire.gradient[t], gate.outputs[i].gradient)
        assert boxes(once) == ["scan × 3"]
    (carry,) = rolled.named("carry")
    begin, following = carry.inputs
    assert float(begin.value) == 0.5
    assert following.source > carry.number == following.target
    np.testing.assert_array_equal(rolled["x"].gradient, unrolled["x"].gradient)
    for one, other in zip(rolled.results, unrolled.results, strict=True):
        np.testing.assert_array_equal(one.value, other.value)
    assert [rolled.gates[wire.source].name for wire in rolled.results] == ["last", "stack"]


def test_a_scan_whose_steps_take_different_branches_is_opened_step_by_step():
    def f(x):
        return lax.scan(lambda c, a: (lax.cond(a > 0, jnp.sin, lambda c: c * c * a, c), None), x[0], x)[0]

    d = diagram(f, jnp.asarray([1.0, -1.0]), depth=2)
    assert {"sin", "mul"} <= set(names(d))
    assert not d.named("carry")


def test_a_while_loop_is_one_gate_or_the_steps_that_it_takes():
    f = lambda x: lax.while_loop(lambda c: c < 100, lambda c: c * c + 1, x)  # noqa: E731
    assert names(diagram(f, 2.0)) == ["while"]
    d = diagram(f, 2.0, unroll=True)
    assert [float(g.outputs[0].value) for g in d.named("add")] == [5.0, 26.0, 677.0]
    assert float(d["x"].gradient) == 2 * 2 * 2 * 5 * 2 * 26


@pytest.mark.parametrize("loop", ["scan", "while"])
def test_a_loop_that_is_too_long_to_unroll_is_an_error(loop):
    loops = {
        "scan": lambda x: lax.scan(lambda c, _: (c * 0.5, None), x, length=MOST_STEPS + 1)[0],
        "while": lambda x: lax.while_loop(lambda c: c > -MOST_STEPS, lambda c: c - 1, x),
    }
    with pytest.raises(funcnet._errors.ParameterError, match=f"at most {MOST_STEPS} are drawn"):
        diagram(loops[loop], 1.0, unroll=True)


LOCAL = [
    ("unary", jnp.tanh, (0.5,), (1 - np.tanh(0.5) ** 2,)),
    ("binary", jnp.multiply, (2.0, 3.0), (3.0, 2.0)),
    ("vector", nn.relu, (np.array([1.0, -2.0]),), (np.array([1.0, 0.0]),)),
    ("scalar result", jnp.sum, (np.ones((2, 3)),), (np.ones((2, 3)),)),
    ("matrix product", jnp.matmul, (np.ones((2, 3)), np.ones((3, 2))), (None, None)),
    ("other elements are read", jnp.cumsum, (np.ones(3),), (None,)),
    ("scalar and vector", lambda x, y: x * y, (2.0, np.ones(3)), None),
]


@pytest.mark.parametrize(
    ("f", "args", "expected"), [r[1:] for r in LOCAL if r[3]], ids=[r[0] for r in LOCAL if r[3]]
)
def test_local_gradients_are_what_the_upstream_gradient_is_multiplied_with(f, args, expected):
    gate = diagram(f, *args, local=True).gates[-1]
    for local, one in zip(gate.local, expected, strict=True):
        if one is None:
            assert local is None
        else:
            np.testing.assert_allclose(local, one, rtol=1e-6)


def test_local_times_upstream_is_downstream(key):
    x = jax.random.normal(key, (4,))
    y_bar = jnp.asarray([1.0, -2.0, 0.5, 3.0])
    (gate,) = diagram(nn.sigmoid, x, y_bar=y_bar, local=True).gates
    np.testing.assert_allclose(gate.local[0] * y_bar, gate.inputs[0].gradient, rtol=1e-6)


def test_local_gradients_are_computed_on_request_only():
    assert diagram(jnp.tanh, 0.5).gates[0].local == ()


def deep(ws, x):
    for w in ws:
        x = jnp.tanh(x @ w)
    return x.sum()


def test_repeated_layers_are_folded(key):
    ws = list(jax.random.normal(key, (100, 3, 3)))
    d = diagram(deep, ws, jnp.ones((2, 3)))
    assert len(d.gates) < 12
    (fold,) = (gate for gate in d if "more like" in gate.name)
    assert fold.name == "97 more like the one before"
    (bundle,) = (w for w in fold.inputs if isinstance(w.value, tuple))
    assert bundle.name == "ws/* (97 arrays)"
    expected = jax.grad(deep)(ws, jnp.ones((2, 3)))
    shown = [w for w in d.inputs if w.name.startswith("ws/") and not isinstance(w.value, tuple)]
    folded = expected[2:99]
    for got, want in zip(bundle.gradient, folded, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-30)
    assert [w.name for w in shown] == ["ws/0", "ws/1", "ws/99"]


def test_few_layers_are_all_shown(key):
    ws = list(jax.random.normal(key, (FOLD_ABOVE // 2 - 1, 3, 3)))
    assert len(diagram(deep, ws, jnp.ones((2, 3))).named("tanh")) == len(ws)


def test_many_different_gates_are_all_shown():
    def f(x):
        values, rng = [x], np.random.default_rng(0)
        for _ in range(2 * FOLD_ABOVE):
            other = values[rng.integers(len(values))]
            values.append(rng.choice([lax.add, lax.sub, lax.atan2])(values[-1], other))
        return values[-1]

    d = diagram(f, 0.5)
    np.testing.assert_allclose(d["x"].gradient, jax.grad(f)(0.5), rtol=1e-4)
    assert not any("more like" in name for name in names(d))


MARKS = [
    (
        "dead units",
        lambda x: nn.relu(x - 5).sum(),
        (np.ones((2, 3)),),
        "relu",
        "zero",
        True,
        "no gradient passes",
    ),
    (
        "half dead",
        lambda x: nn.relu(x).sum(),
        (np.array([1.0, -1.0]),),
        "relu",
        "zero",
        False,
        "1 of 2 pass no",
    ),
    (
        "one unit dead",
        nn.relu,
        (np.array([[1.0, -1], [1, -1]]),),
        "relu",
        "zero",
        False,
        "1 of 2 units are dead",
    ),
    ("saturated", nn.tanh, (10.0,), "tanh", "shrinks", True, r"shrinks by 1\.2e\+08"),
    (
        "half saturated",
        nn.tanh,
        (np.array([0.1, 9.0]),),
        "tanh",
        "shrinks",
        False,
        "1 of 2 shrink the gradient by",
    ),
    ("explodes", lambda x: x * 1e4, (1.0,), "mul", "grows", True, r"gradient to x grows by 1\.0e\+04"),
    ("stopped", lambda x: jnp.floor(x) * 2, (1.5,), "floor", "zero", False, "no gradient passes"),
    ("on purpose", lambda x: lax.stop_gradient(x) * x, (1.5,), "stop_gradient", "zero", False, "no gradient"),
    ("NaN", lambda x: jnp.log(x) * 2, (-1.0,), "log", "non-finite value", True, "makes the first NaN"),
    ("inf", lambda x: jnp.exp(x) + 1, (1e3,), "exp", "non-finite value", True, "makes the first inf"),
    (
        "inf back",
        lambda x: jnp.sqrt(x) * 2,
        (0.0,),
        "sqrt",
        "non-finite gradient",
        True,
        "back the first inf",
    ),
]


@pytest.mark.parametrize(
    ("f", "args", "name", "kind", "severe", "text"), [r[1:] for r in MARKS], ids=[r[0] for r in MARKS]
)
def test_a_gate_where_something_goes_wrong_is_marked(f, args, name, kind, severe, text):
    d = diagram(f, *args)
    (gate,) = d.named(name)
    found = [mark for mark in gate.marks if mark.kind == kind]
    assert any(re.search(text, mark.text) and mark.severe == severe for mark in found)


def test_only_the_first_gate_that_makes_a_nan_is_marked():
    d = diagram(lambda x: jnp.exp(jnp.log(x) * 2), -1.0)
    made = [gate.name for gate in d for mark in gate.marks if mark.text == "makes the first NaN"]
    assert made == ["log"]


def test_rounding_that_is_left_of_a_sum_is_no_gradient_that_shrinks(key):
    """Scores that are all moved by one bias have the same softmax: its gradient is 0 but for rounding."""

    def f(b, x):
        return jax.nn.softmax(jnp.outer(x, jnp.ones(5)) + b[0] + x[:5])[:, 1].sum()

    d = diagram(f, jnp.asarray([0.3]), jax.random.normal(key, (5,)))
    assert abs(float(d["b"].gradient[0])) < 1e-6
    assert not [mark for gate in d for mark in gate.marks if mark.kind == "shrinks"]


def test_half_of_an_untrained_nets_units_are_off_and_none_is_dead(key):
    w, x = (jax.random.normal(k, (32, 32)) for k in jax.random.split(key))
    assert not diagram(lambda w, x: nn.relu(x[:8] @ w).sum(), w, x).named("relu")[0].marks
    dead = diagram(lambda w, x: nn.relu(jnp.vstack([x, x]) @ w - 5 * jnp.eye(32)[0]).sum(), w, x)
    assert not dead.named("relu")[0].marks or "units" in dead.named("relu")[0].marks[0].text


def test_a_healthy_graph_has_no_marks(key):
    x = jax.random.normal(key, (4, 3))
    assert not any(gate.marks for gate in diagram(lambda x: jnp.tanh(x).sum(), x))


class Perceptron(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        hidden = flax.linen.Dense(3)(x)
        return flax.linen.Dense(1)(jax.nn.relu(hidden))


def test_a_model_of_flax_is_opened_to_its_layers(key):
    model, x = Perceptron(), jnp.ones((2, 4))
    params = model.init(key, x)
    f = lambda params, x: model.apply(params, x).sum()  # noqa: E731
    d = diagram(f, params, x)
    assert names(d) == ["Dense_0", "relu", "Dense_1", "reduce_sum"]
    expected = jax.grad(f)(params, x)["params"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(d["params/params/Dense_0/kernel"].gradient, expected, rtol=1e-5)


class Masked(flax.linen.Module):
    blocks: int

    @flax.linen.compact
    def __call__(self, x):
        for _ in range(self.blocks):
            mask = jnp.tril(jnp.ones((4, 4))) > 0  # each block makes its own, all alike
            x = x + flax.linen.MultiHeadDotProductAttention(2)(x, mask=mask)
        return flax.linen.Dense(3)(x)


@pytest.mark.parametrize(("blocks", "shown"), [(2, 2), (40, 3)])
def test_under_a_loss_a_model_shows_its_blocks_and_of_many_the_outer_ones(blocks, shown, key):
    """It has most of the steps, so its own scope is no box; what the loss does stands beside the blocks."""
    model, x = Masked(blocks), jnp.ones((2, 4, 8))
    params = model.init(key, x)
    loss = lambda params, x: -jnp.mean(jax.nn.log_softmax(model.apply(params, x))[..., 0])  # noqa: E731
    d = diagram(loss, params, x)
    assert len([name for name in names(d) if name.startswith("MultiHead")]) == shown
    assert {"Dense_0", "log_softmax", "neg"} < set(names(d))
    folded = [gate for gate in d if gate.name.endswith(FOLDED)]
    assert [gate.name for gate in folded] == [f"{blocks - shown}{FOLDED}"] * (blocks > 4)
    masks = [wire for gate in folded for wire in gate.inputs if np.shape(wire.value)[-2:] == (4, 4)]
    assert len(masks) == len(folded)


def test_a_scope_around_most_is_left_alone_where_levels_are_asked_for(key):
    model, x = Perceptron(), jnp.ones((2, 4))
    params = model.init(key, x)
    d = diagram(lambda params, x: model.apply(params, x).sum(), params, x, depth=1)
    assert boxes(d.named("relu")[0]) == ["Perceptron"]


def test_a_model_without_a_loss_is_opened_to_its_layers_too(key):
    model, x = Masked(2), jnp.ones((2, 4, 8))
    d = diagram(model.apply, model.init(key, x), x)
    attention = "MultiHeadDotProductAttention"
    assert {f"{attention}_0", f"{attention}_1", "Dense_0"} < set(names(d))


def test_a_model_of_equinox_names_its_leaves(key):
    model = equinox.nn.MLP(4, 1, 3, 1, key=key)
    arrays, static = equinox.partition(model, equinox.is_array)
    f = lambda arrays, x: equinox.combine(arrays, static)(x).sum()  # noqa: E731
    d = diagram(f, arrays, jnp.ones(4))
    expected = jax.grad(f)(arrays, jnp.ones(4)).layers[0].weight
    np.testing.assert_allclose(d["arrays/layers/0/weight"].gradient, expected, rtol=1e-5)


def test_data_is_drawn_gate_by_gate_on_demand():
    f = lambda x: jnp.sum(x * jnp.sin(jnp.linspace(0.0, 1.0, 3)))  # noqa: E731
    folded, whole = (funcnet.draw(f, data=data)(jnp.ones(3)).diagram for data in (False, True))
    assert len(folded.gates) == 2 < len(whole.gates)
