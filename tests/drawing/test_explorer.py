"""The explorer: that nothing is lost in its boxes and its JSON, and that its page works in a real browser."""

import json
import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from funcnet.drawing import Diagram, Gate, Wire, draw
from funcnet.drawing.explorer import explorer
from funcnet.drawing.explorer.data import SHARED, data
from funcnet.drawing.explorer.outline import LONG, Frame, outline
from funcnet.drawing.explorer.texts import brief
from funcnet.drawing.render.nodes import is_copy


def neuron(w0, x0, w1, x1, w2):
    return 1 / (1 + jnp.exp(-(w0 * x0 + w1 * x1 + w2)))


def deep(params, x):
    for w in params:
        with jax.named_scope("layer"):
            x = nn.relu(x @ w) + x
        with jax.named_scope("shift"):
            x = x - 1
    return jnp.sum(x)


def whole(f, *args):
    return draw(f)(*args).whole()


@pytest.fixture(scope="module")
def layers():
    """Thirty layers."""
    ws = jax.random.normal(jax.random.key(0), (30, 4, 4)) / 4
    return whole(deep, list(ws), jnp.ones((2, 4)))


def made(count, reach):
    """A diagram of so many gates, each of which adds two values of the last so many; no function runs."""
    random, value = np.random.default_rng(0), np.arange(16, dtype=np.float32)

    def wire(source, target):
        if source < 0:
            return Wire(value, value, "x", "input", None, target)
        return Wire(value, value, "", "result" if target is None else "", source, target)

    others = random.integers(1, reach + 1, count).tolist()
    inputs = [(wire(i - 1, i), wire(max(i - other, -1), i)) for i, other in enumerate(others)]
    wires = [*(one for pair in inputs for one in pair), wire(count - 1, None)]
    outputs = {i: [] for i in range(count)}
    for one in wires:
        if one.source is not None:
            outputs[one.source].append(one)
    gates = [
        Gate(i, "add", "add", inputs[i], tuple(outputs[i]), (), "", "", "", {}, (), ()) for i in range(count)
    ]
    return Diagram(tuple(gates), tuple(wires), (wires[-1],))


def levels(frame):
    yield frame
    for child in frame.children:
        if isinstance(child, Frame):
            yield from levels(child)


@pytest.mark.parametrize("reach", [1, 30, 2000])
def test_every_gate_stands_in_one_box_and_no_level_is_long(reach):
    shown = outline(made(2000, reach))
    assert [gate.number for gate in shown.gates] == list(range(2000))
    assert max(len(frame.children) for frame in levels(shown)) <= LONG
    assert max(len(frame.children) for frame in levels(shown)) > 1


def test_a_short_level_stays_as_it_is():
    shown = outline(made(LONG, 3))
    assert all(isinstance(child, Gate) for child in shown.children)


def test_equal_layers_are_numbered_in_one_box(layers):
    (repeated,) = [child for child in outline(layers).children if isinstance(child, Frame)]
    assert repeated.name == "30 × layer, shift"
    assert [frame.name for frame in repeated.children][:2] == ["layer, shift 1 … 5", "layer, shift 6 … 10"]
    third = repeated.children[0].children[2]
    assert (third.name, [frame.name for frame in third.children]) == ("layer, shift 3", ["layer", "shift"])


def test_a_box_in_a_box_alone_is_one():
    def f(x):
        with jax.named_scope("outer"), jax.named_scope("inner"):
            y = jnp.sin(x) + 1
        return y * 2

    assert [getattr(child, "children", None) and child.name for child in outline(whole(f, 1.0)).children] == [
        "outer / inner",
        None,
    ]


def test_all_values_and_gradients_are_written_but_for_copies(layers):
    page = data(layers)
    gates = [gate for gate in layers if not is_copy(gate)]
    assert Counter(item["kind"] for item in page["items"])["gate"] == len(gates)
    outputs = [wire for gate in gates for wire in gate.outputs]
    told = Counter(
        flow["value"][0] for flow in page["flows"] if page["items"][flow["from"]]["kind"] == "gate"
    )
    assert told == Counter(brief(wire.value) for wire in outputs)
    x = [flow for flow in page["flows"] if flow["name"] == "x"]
    assert [flow["gradient"][0] for flow in x] == [brief(layers["x"].gradient)]


def test_what_a_use_sends_back_adds_up_to_the_gradient():
    page = data(whole(lambda x: x * x + x, jnp.float32(3)))
    (x,) = [i for i, flow in enumerate(page["flows"]) if flow["name"] == "x"]
    back = [float(wire["back"][0]) for wire in page["wires"] if wire["flow"] == x]
    assert sorted(back) == [1, 3, 3]
    assert page["flows"][x]["gradient"] == ["7", "float32: 7."]


def test_the_way_back_is_local_times_upstream():
    page = data(whole(neuron, 2.0, -1.0, -3.0, -2.0, -3.0))
    texts = {wire.get("how") for wire in page["wires"]}
    assert {"−1 × 0.197", "2 × 0.197"} <= texts


def test_the_carry_of_a_loop_leads_back():
    page = data(whole(lambda xs: jax.lax.scan(lambda c, x: (jnp.tanh(c * x), None), 1.0, xs)[0], jnp.ones(3)))
    label = [item["label"] for item in page["items"]]
    ends = [(label[page["flows"][wire["flow"]]["from"]], label[wire["to"]]) for wire in page["wires"]]
    assert {("carry", "×"), ("×", "tanh"), ("tanh", "carry")} <= set(ends)


def test_an_argument_of_many_boxes_stands_in_each():
    def f(w, x):
        for i in range(SHARED + 1):
            with jax.named_scope(f"step{i}"):
                x = jnp.tanh(x * w) + w
        return x

    items = data(whole(f, 0.5, 1.0))["items"]
    homes = [items[item["in"]]["label"] for item in items if item["label"] == "w"]
    assert homes == [f"step{i}" for i in range(SHARED + 1)]


def test_many_arguments_and_results_of_one_gate_are_one_item():
    def f(xs):
        y = jax.lax.concatenate(xs, 0).sum()
        return [y] * 5

    shown = Counter((item["kind"], item["label"]) for item in data(whole(f, [jnp.ones(2)] * 6))["items"])
    assert shown["result", "5 results"] == 1
    assert shown["input", "xs/* (6 arrays)"] == 1


def test_values_of_all_kinds_are_told():
    def f(x, mask, key, z, empty):
        return x * 2, mask, key, jnp.abs(z), empty

    numbers = jnp.ones(3, jnp.bfloat16), np.array([True]), jax.random.key(0)
    args = *numbers, jnp.array([1 + 2j]), jnp.zeros((0, 3))
    text = json.dumps(data(whole(f, *args)), ensure_ascii=False)
    for one in ("bfloat16 3", "bool 1", "key<fry>", "complex64 1", "0×3"):
        assert one in text


def test_names_cannot_break_out_of_the_page():
    evil = "</script><script>window.broken = true</script>"

    def f(x):
        with jax.named_scope("a"):
            return jnp.sin(x[evil])

    page = explorer(whole(f, {evil: 1.0}), evil).page
    assert page.count("<script>window.broken") == 0
    assert "%%" not in page


def test_the_page_takes_nothing_from_elsewhere():
    page = draw(neuron)(1.0, 1.0, 1.0, 1.0, 1.0).explorer.page
    assert re.findall(r"<(?:link|img|script)[^>]*(?:src|href)", page) == []
    assert "@import" not in page
    assert set(re.findall(r"https?://[^\"'\s]*", page)) == {"http://www.w3.org/2000/svg"}
    assert "Permission is hereby granted" in page  # dagre's licence asks for that


def test_a_notebook_shows_it_in_a_frame():
    shown = draw(neuron)(1.0, 1.0, 1.0, 1.0, 1.0).explorer
    assert shown._repr_html_().startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert len(repr(shown)) < 60


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page; what goes wrong in it, or asks for the network, fails the test."""
    wrong, context = [], browser.new_context(viewport={"width": 1200, "height": 800})

    def open_page(page, **media):
        path = tmp_path / "graph.html"
        path.write_text(page, "utf-8")
        tab = context.new_page()
        tab.set_default_timeout(10_000)
        tab.emulate_media(**media)
        tab.on("pageerror", lambda error: wrong.append(error))
        tab.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        tab.on("request", lambda request: request.url.startswith("file:") or wrong.append(request.url))
        tab.goto(path.as_uri())
        return tab

    yield open_page
    context.close()
    assert wrong == []


def item(tab, label):
    """The gate, box, argument or result of this name that is on the screen."""
    return tab.locator(".item").filter(has=tab.locator(f'xpath=./*[local-name()="text"][.="{label}"]')).first


def test_a_small_graph_opens_with_its_numbers(opened):
    tab = opened(draw(neuron)(2.0, -1.0, -3.0, -2.0, -3.0).explorer.page)
    texts = (tab.locator(f"#canvas .{kind}").all_text_contents() for kind in ("value", "gradient"))
    values, gradients = map(set, texts)
    assert {"−2", "6", "4", "1", "−1", "0.368", "1.37", "0.731"} <= values
    assert {"−0.197", "0.393", "−0.393", "−0.59", "0.197", "−0.534", "1"} == gradients
    assert tab.locator(".item.gate").count() == 8


def test_a_gate_tells_all_that_is_known_of_it(opened):
    tab = opened(draw(neuron)(2.0, -1.0, -3.0, -2.0, -3.0).explorer.page)
    item(tab, "exp").click()
    told = tab.locator("#details").inner_text()
    for text in ("exp(", "x̄ = ȳ · y", "0.368 × −0.534", "local gradient", "test_explorer.py", "(neuron)"):
        assert text in told
    item(tab, "× −1").hover()
    assert "x̄ = −ȳ" in tab.locator("#tooltip").inner_text()


def test_a_box_opens_and_closes_by_mouse_and_by_key(opened, layers):
    tab = opened(explorer(layers, "deep").page)
    box = item(tab, "layer, shift 26 … 30")
    assert item(tab, "layer, shift 28").count() == 0
    box.dblclick()
    assert item(tab, "layer, shift 28").count() == 1
    tab.keyboard.press("Enter")
    assert item(tab, "layer, shift 28").count() == 0
    tab.keyboard.press("Shift+Enter")
    assert tab.evaluate("picked.children.filter((child) => child.open).length") == 5
    tab.keyboard.press("c")
    assert item(tab, "layer, shift 28").count() == 0


def test_search_opens_the_way_to_what_it_finds(opened, layers):
    tab = opened(explorer(layers, "deep").page)
    tab.keyboard.press("/")
    tab.keyboard.type("params/17")
    assert tab.locator("#found li").first.inner_text().startswith("params/17")
    tab.keyboard.press("Enter")
    picked = tab.locator(".item.picked")
    assert picked.locator("text").text_content() == "params/17"
    assert "layer, shift 18" in tab.locator("#details").inner_text()
    frame = picked.bounding_box()
    assert 0 < frame["x"] < 1200
    assert 0 < frame["y"] < 800
    tab.locator("#search").fill("nothing like that")
    assert tab.locator("#found").inner_text() == "nothing"


def test_arrow_keys_walk_along_the_wires(opened):
    tab = opened(draw(lambda x: jnp.sin(jnp.exp(x)))(0.5).explorer.page)
    walked = []
    for key in ["ArrowDown"] * 4 + ["ArrowUp"]:
        tab.keyboard.press(key)
        walked.append(tab.locator(".item.picked text").first.text_content())
    assert walked == ["x", "exp", "sin", "result", "sin"]
    assert tab.locator(".wire.lit").count() == 2


def test_it_pans_and_zooms(opened):
    tab = opened(draw(neuron)(2.0, -1.0, -3.0, -2.0, -3.0).explorer.page)
    gate = item(tab, "exp")
    before = gate.bounding_box()
    tab.mouse.move(100, 400)
    tab.mouse.down()
    tab.mouse.move(160, 430, steps=4)
    tab.mouse.up()
    after = gate.bounding_box()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((60, 30), abs=1)
    tab.mouse.wheel(0, -300)
    tab.wait_for_function("view.k > 1.3")
    assert gate.bounding_box()["width"] > after["width"]
    tab.keyboard.press("0")
    tab.wait_for_function("view.k <= 1.25")


def test_what_is_wrong_is_found(opened):
    tab = opened(draw(lambda x: jnp.sum(nn.relu(x - 5) * 2))(jnp.ones(4)).explorer.page)
    assert tab.locator("#warnings").inner_text() == "⚠ 1"
    tab.locator("#warnings").click()
    tab.locator("#details .warning").wait_for()
    assert "no gradient passes" in tab.locator("#details").inner_text()
    assert tab.locator(".wire.dead").count() > 0


def test_it_is_light_or_dark_as_the_system_is(opened):
    page = draw(neuron)(2.0, -1.0, -3.0, -2.0, -3.0).explorer.page
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = (opened(page, color_scheme=scheme).evaluate(paper) for scheme in ("light", "dark"))
    assert light == "rgb(255, 255, 255)"
    assert sum(map(int, re.findall(r"\d+", dark))) < 100


def test_ten_thousand_gates_are_few_elements_until_they_are_opened(opened):
    tab = opened(explorer(made(10_000, 40), "many").page)
    assert tab.locator("#details").inner_text().endswith("10000 gates: 10000 +")
    assert tab.locator("#canvas *").count() < 500
    tab.evaluate("visit(items.filter((item) => item.kind === 'gate')[7777])")
    tab.locator(".item.picked").wait_for()
    assert tab.locator("#canvas *").count() < 2000
