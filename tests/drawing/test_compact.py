"""Large graphs: one line a gate, wires bundled and cut, within the width of a page."""

import re
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet.drawing.picture import MANY, PAGE
from funcnet.drawing.render.compact import COLUMNS, FAR, compact_dot, in_short


def tangle(x):
    draws = np.random.default_rng(0).integers(6, size=(170, 3))
    values = [x]
    for op, i, j in draws:
        a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
        values.append((a + b, a - b, a * b, lax.sin(a), lax.cos(b), lax.tanh(a))[op])
    return sum(values)


def layers(params, x):
    for p in params:
        x = jax.nn.relu(x @ p["w"] + p["b"])
    return (x**2).mean()


def twelve():
    return [{"w": jnp.eye(8) * 0.9, "b": jnp.zeros(8)} for _ in range(12)], jnp.ones((4, 8))


def lines(picture):
    """The labels of all nodes, without their markup."""
    labels = dict(
        re.findall(r"(?m)^(\w+) \[label=<(.*?)> (?:tooltip|shape)", picture.dot.replace("&#160;", " "))
    )
    return {name: " ".join(re.sub("<[^>]*>", " ", label).split()) for name, label in labels.items()}


def size(picture):
    width, height = re.search(r'width="(\d+)pt" height="(\d+)pt"', picture._repr_svg_()).groups()
    return int(width), int(height)


@pytest.fixture(scope="module")
def tangled():
    return funcnet.draw(tangle)(jnp.linspace(0, 1, 60).reshape(6, 10))


def test_a_picture_of_many_gates_is_compact_and_others_if_asked():
    few = funcnet.draw(lambda x: jnp.sin(x) * 2)(1.0)
    assert not few.compact
    assert funcnet.draw(lambda x: jnp.sin(x) * 2, compact=True)(1.0).compact

    def many(x):
        for i in range(MANY + 1):
            x = (jnp.sin, jnp.cos, jnp.tanh, lambda x: x + 1)[i * i % 7 % 4](x)
        return x

    assert funcnet.draw(many)(1.0).compact
    assert not funcnet.draw(many, compact=False)(1.0).compact


def test_a_gate_has_one_line_with_name_shape_and_the_norms_of_value_and_gradient():
    picture = funcnet.draw(lambda x: jnp.tanh(x * 2).sum(), compact=True)(jnp.ones((3, 4)))
    found = lines(picture)
    assert found["g0"].startswith("× 2 3×4 ‖6.93‖ ‖")
    assert re.fullmatch(r"tanh 3×4 ‖3.34‖ ‖3.46‖", found["g1"])
    assert "TABLE" not in picture.dot


def test_a_tangle_of_hundreds_of_gates_fits_a_page(tangled):
    assert len(tangled.diagram.gates) > 250
    assert size(tangled)[0] <= PAGE
    assert len(tangled.dot) < 2000 * len(tangled.diagram.gates)


def test_wires_that_run_far_begin_with_the_name_and_number_of_their_gate(tangled):
    found = lines(tangled)
    cut = {name: text for name, text in found.items() if name.startswith("c")}
    assert cut
    for name, text in cut.items():
        target = int(name.rpartition("_")[2])
        origin = re.fullmatch(r"(.*) (\d+)", text)
        if origin:
            assert target - int(origin[2]) > FAR
            assert found[f"g{origin[2]}"].startswith(text)
        else:
            assert text == "x"
        assert f"{name} -> g{target} " in tangled.dot


def test_no_row_has_more_gates_than_columns(tangled):
    text = compact_dot(tangled.diagram)
    shown = [int(n) for n in re.findall(r"(?m)^g(\d+) \[label", text)]
    hidden = set(re.findall(r"g(\d+) -> g(\d+) \[style=invis", text))
    shown.sort()
    assert hidden == {(str(a), str(b)) for a, b in zip(shown, shown[COLUMNS:], strict=False)}


def test_wires_between_the_same_two_gates_are_one_with_their_number():
    picture = funcnet.draw(lambda x: jnp.sin(x) * jnp.sin(x), compact=True)(1.0)
    squared = funcnet.draw(lambda x: (lambda y: y * y)(jnp.sin(x)), compact=True)(1.0)
    assert "×2" not in picture.dot
    assert 'label=" ×2"' in squared.dot


def test_twelve_equal_layers_fit_a_page():
    picture = funcnet.draw(layers)(*twelve())
    assert picture.compact
    (fold,) = [text for text in lines(picture).values() if "more like" in text]
    assert fold.startswith("9 more like the one before 4×8")
    assert "params/*/w (9 arrays) 9 × float32 8×8" in fold
    width, height = size(picture)
    assert width <= PAGE
    assert height <= PAGE


def test_a_random_dag_is_not_folded_to_boxes_with_dozens_of_wires():
    rng = np.random.default_rng(1)
    before = [sorted({int(i) for i in rng.integers(0, v, 3)}) if v else [] for v in range(32)]

    def dag(ws, x):
        out = [x]
        for v in range(1, 32):
            out.append(jnp.tanh(sum(w * out[i] for w, i in zip(ws[v], before[v], strict=True))))
        return out[-1].sum()

    ws = [[jnp.float32(1 + 0.1 * i) for i in b] for b in before]
    d = funcnet.draw(dag)(ws, jnp.ones(4)).diagram
    assert all(len(gate.inputs) + len(gate.outputs) < 12 for gate in d if gate.name != "copy")


def test_the_many_arguments_of_one_gate_are_one_wire_and_the_diagram_has_all():
    @jax.jit
    def inside(p, x):
        return x * sum(p["layer"].values())

    picture = funcnet.draw(lambda p, x: inside(p, x) + 1)({"layer": dict.fromkeys("abcdef", 1.0)}, 2.0)
    assert "p/<BR/>layer/<BR/>* (6 arrays)" in picture.dot
    assert float(picture.diagram["p/layer/e"].gradient) == 2
    assert "inside(" not in picture.dot


def test_pythons_sum_begins_without_a_zero():
    d = funcnet.draw(lambda x: sum([jnp.sin(x), jnp.cos(x)]))(1.0).diagram
    assert [gate.name for gate in d] == ["copy", "sin", "cos", "add"]
    assert [gate.name for gate in funcnet.draw(lambda x: 1 + x)(1.0).diagram] == ["add"]
    assert [gate.name for gate in funcnet.draw(lambda x: x + 0)(1.0).diagram] == ["add"]


@pytest.mark.parametrize(
    ("value", "shaped", "text"),
    [
        (jnp.float32(0.5), True, "0.5"),
        (jnp.ones((2, 2)), False, "‖2‖"),
        (jnp.arange(3), True, "int32 3"),
        (jnp.array([jnp.nan, 1.0]), True, "2 1 NaN"),
        ((jnp.ones(4), jnp.ones(4)), True, "2 × float32 4 ‖2.83‖"),
        (jax.random.key(0), True, "key<fry>"),
    ],
)
def test_a_value_in_short(value, shaped, text):
    assert in_short(value, shaped=shaped) == text


def wired_nodes(params, x):
    """A flat graph: each node takes the one before and one drawn at random, weighted."""
    draws, values = np.random.default_rng(0), [x]
    for name, p in params.items():
        first, second = values[-1], values[draws.integers(len(values))]
        values.append(jnp.tanh((p["edges"][0] * first + p["edges"][1] * second) @ p["w"]))
        assert name == f"node{len(values) - 2:02}"
    return jnp.sum(values[-1] ** 2)


def node_parameters(count):
    return {f"node{i:02}": {"edges": [0.5, -0.5], "w": jnp.eye(4) * 0.9} for i in range(count)}


def test_a_flat_graph_has_a_box_for_each_part_of_its_arguments():
    params, x = node_parameters(12), jnp.ones((2, 4))
    d = funcnet.draw(wired_nodes)(params, x).diagram
    assert [gate.name for gate in d if gate.name != "copy"] == list(params)
    expected = jax.grad(wired_nodes)(params, x)
    for name in ("node00", "node07"):
        np.testing.assert_allclose(d[f"params/{name}/w"].gradient, expected[name]["w"], rtol=1e-5)
        np.testing.assert_allclose(
            d[f"params/{name}/edges/1"].gradient, expected[name]["edges"][1], rtol=1e-5, atol=1e-6
        )


def test_a_tooltip_is_no_longer_than_graphviz_reads():
    """A closed box tells of each argument; 500 of them are some 30,000 characters."""

    def net(params, x):
        for scope in ("first", "second"):
            with jax.named_scope(scope):
                for p in params[scope]:
                    x = x * p
        return jnp.sin(x)

    params = {scope: list(jnp.linspace(0.99, 1.01, 500)) for scope in ("first", "second")}
    picture = funcnet.draw(net, compact=True)(params, 1.0)
    assert [gate.name for gate in picture.diagram] == ["first", "second", "sin"]
    assert "params/first/* (500 arrays)" in picture.dot
    assert ElementTree.fromstring(picture._repr_svg_()).tag.endswith("svg")


def test_such_boxes_open_as_others_do_and_the_explorer_has_them():
    picture = funcnet.draw(wired_nodes, depth=1)(node_parameters(12), jnp.ones((2, 4)))
    for d in (picture.diagram, picture.whole()):
        (product,) = [gate for gate in d.named("dot_general") if gate.path[0].name == "node05"]
        assert product.inputs[1].name == "params/node05/w"


def test_few_gates_or_named_scopes_need_no_boxes_of_arguments():
    def scoped(params, x):
        with jax.named_scope("first"):
            y = wired_nodes(params, x)
        with jax.named_scope("second"):
            z = wired_nodes(params, 2 * x)
        return jnp.sin(y * z)

    few = funcnet.draw(wired_nodes)(node_parameters(3), jnp.ones((2, 4))).diagram
    assert "dot_general" in [gate.name for gate in few]
    named = funcnet.draw(scoped)(node_parameters(12), jnp.ones((2, 4))).diagram
    assert [gate.name for gate in named if gate.name != "copy"] == ["first", "second", "mul", "sin"]


def test_in_a_box_arguments_go_without_the_names_of_the_boxes_around():
    found = lines(funcnet.draw(wired_nodes)(node_parameters(12), jnp.ones((2, 4))))
    assert re.search(r"edges/0 0\.5 \S+ edges/1 −0\.5 \S+ w 4×4 ‖1\.8‖", " ".join(found.values()))


def test_an_argument_that_many_read_stands_in_each_gate_with_what_that_use_sends_back():
    def f(w, x):
        for _ in range(3):
            x = jnp.tanh(w * x)
        return x

    picture = funcnet.draw(f, compact=True)(0.5, 1.0)
    found = lines(picture)
    assert found["shared"].startswith("read in several places w 0.5 ")
    total = float(found["shared"].split()[-1])
    uses = [float(text.split(" w ")[1]) for text in found.values() if text.startswith("×")]
    assert len(uses) == 3
    assert sum(uses) == pytest.approx(total, abs=0.002)  # three digits of each are shown


def test_an_unrolled_loop_is_no_wider_than_a_page():
    def f(w, xs):
        def step(c, x):
            with jax.named_scope("cell"):
                c = jnp.tanh(w["in"] @ x + w["again"] @ c)
            with jax.named_scope("read"):
                return c, w["out"] @ c + w["shift"]

        return jax.lax.scan(step, jnp.zeros(6), xs)[1]

    shapes = {"in": (6, 5), "again": (6, 6), "out": (3, 6), "shift": (3,)}
    w = {name: jnp.full(shape, 0.1) for name, shape in shapes.items()}
    picture = funcnet.draw(f, unroll=True, depth=9)(w, jnp.ones((4, 5)))
    assert size(picture)[0] <= PAGE
    assert picture.compact


def test_what_is_wider_than_a_page_with_tables_is_compact():
    def f(*xs):
        return sum(jnp.sin(x) for x in xs).sum()

    args = [jnp.linspace(i, i + 1, 24).reshape(4, 6) for i in range(12)]
    assert funcnet.draw(f)(*args[:2]).compact is False
    wide = funcnet.draw(f)(*args)
    assert wide.compact is True
    assert size(wide)[0] <= PAGE
    assert funcnet.draw(f, compact=False)(*args).compact is False
