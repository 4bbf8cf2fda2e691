"""The page in a real browser: every control does what it says, and its numbers are the library's."""

import re
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import nn
from funcnet.demo.session import started
from funcnet.demo.settings import Settings

SMALL = "hidden=3&data=simple&test=0"
IDLE = "() => demo.page?.frame && !demo.page.talk.outstanding && !demo.page.stale"


@pytest.fixture
def opened(browser, served):
    """Opens the page at a state; what goes wrong in it, or asks for another place, fails the test."""
    wrong, contexts = [], []

    def open_page(state=SMALL, **options):
        # waiting for a condition evaluates text, which the page's own policy forbids
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "bypass_csp": True, **options}
        )
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.on("pageerror", lambda error: wrong.append(error))
        tab.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        here = f"http://127.0.0.1:{served.port}/"
        tab.on(
            "request", lambda request: request.url.startswith((here, "data:")) or wrong.append(request.url)
        )
        tab.goto(f"{served.address}#{state}")
        if options.get("bypass_csp", True):
            tab.wait_for_function(IDLE)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def settled(tab):
    tab.wait_for_function(IDLE)
    return SimpleNamespace(
        **tab.evaluate(
            "() => { const { step, count, sizes } = demo.page.frame; return { step, count, sizes }; }"
        )
    )


def act(tab, name):
    tab.click(f"[data-act={name}]")
    return settled(tab)


def at(tab, x, y):
    """A place of the plane on the screen."""
    box = tab.locator(".plane").bounding_box()
    return box["x"] + box["width"] * (x + 6) / 12, box["y"] + box["height"] * (6 - y) / 12


def test_the_page_obeys_its_own_policy(opened):
    tab = opened(bypass_csp=False)
    tab.locator("[data-show=step]").filter(has_text="0").wait_for()
    tab.locator(".layers button").first.wait_for()


def test_the_numbers_are_those_of_funcnet_grad(opened):
    """Every weight, bias and gradient that the page shows for the point that one hovers."""
    tab = opened()
    for _ in range(3):
        act(tab, "step")
    points = tab.evaluate("() => demo.page.state.points")
    tab.click(".numbers summary")
    tab.wait_for_selector(".numbers tbody tr")
    tab.mouse.move(*at(tab, *points[7][:2]))
    tab.wait_for_function("() => demo.page.frame.example === 7")
    settled(tab)
    rows = tab.evaluate(
        "() => [...demo.querySelectorAll('.numbers tbody tr')].map((row) => "
        "[...row.cells].map((cell) => cell.textContent))"
    )

    net = started(Settings(hidden=(3,), data="simple", test=0)).ran(3)
    params, x, y = net.state.params, net.points.x[7], net.points.y[7]
    grads = funcnet.grad(lambda p: nn.softmax_loss(nn.mlp(p, jnp.asarray(x), activation=nn.tanh), y))(params)
    shown = {name: (float(value), float(gradient)) for name, value, gradient in rows}
    expected = {
        f"{layer} {name}[{','.join(map(str, place))}]": (
            float(params[layer][name][place]),
            float(grads[layer][name][place]),
        )
        for layer in params
        for name in ("w", "b")
        for place in np.ndindex(np.shape(params[layer][name]))
    }
    assert shown.keys() == expected.keys()
    for name, pair in expected.items():
        assert shown[name] == pytest.approx(pair, rel=1e-5, abs=1e-7), name


def test_it_plays_pauses_steps_forward_and_back(opened):
    tab = opened()
    tab.click("[data-act=play]")
    tab.wait_for_function("() => demo.page.frame.step > 50")
    step = act(tab, "play").step
    weights = tab.evaluate("() => [...demo.page.frame.parameters]")
    assert act(tab, "step").step == step + 1
    assert act(tab, "back").step == step
    assert tab.evaluate("() => [...demo.page.frame.parameters]") == weights
    assert act(tab, "back").step == step - 1
    assert tab.locator("[data-show=step]").inner_text() == str(step - 1)
    assert act(tab, "restart").step == 0
    act(tab, "back")
    assert "no earlier step to go back to" in tab.locator(".message").inner_text()


def test_points_are_added_moved_removed_and_brought_back(opened):
    tab = opened()
    tab.keyboard.press("2")
    tab.mouse.click(*at(tab, -4, -4))
    assert settled(tab).count == 14
    assert tab.evaluate("() => demo.page.state.points[13].slice(2)") == [1, 1]
    tab.mouse.move(*at(tab, -4, -4))
    tab.mouse.down()
    tab.mouse.move(*at(tab, -2, -3), steps=5)
    tab.mouse.up()
    settled(tab)
    assert tab.evaluate("() => demo.page.state.points[13]")[:2] == pytest.approx([-2, -3], abs=0.1)
    tab.mouse.click(*at(tab, -2, -3), button="right")
    assert settled(tab).count == 13
    for expected in (14, 14, 13):
        tab.keyboard.press("Control+z")
        assert settled(tab).count == expected
    act(tab, "clear")
    assert settled(tab).count == 0
    tab.click("[data-act=backward]")
    assert "Add a point first" in tab.locator(".message").inner_text()


def test_layers_and_units_are_added_and_removed(opened):
    tab = opened()
    sizes = []
    for does in ("more 0", "add", "fewer 1", "drop 0"):
        tab.click(f"[data-does='{does}']")
        sizes.append(settled(tab).sizes)
    assert sizes == [[2, 4, 2], [2, 4, 4, 2], [2, 4, 3, 2], [2, 3, 2]]


def test_quick_changes_all_count(opened):
    """A choice that is made while the one before it is compiled begins from that, not from what is seen."""
    tab = opened()
    for _ in range(3):
        tab.click("[data-does='more 0']")
    assert settled(tab).sizes == [2, 6, 2]
    assert "hidden=6" in tab.evaluate("() => location.hash")


def test_a_link_shows_the_same_net(opened):
    tab = opened()
    tab.mouse.click(*at(tab, -4, -4))
    settled(tab)
    for name, value in {"activation": "sigmoid", "optimizer": "adam"}.items():
        tab.select_option(f"[name={name}]", value)
    tab.fill("[name=rate]", "0.05")
    tab.press("[name=rate]", "Enter")
    settled(tab)
    link = tab.evaluate("() => location.hash.slice(1)")
    assert {"activation=sigmoid", "optimizer=adam", "rate=0.05"} < {*link.split("&")}
    other = opened(link)
    for one in (tab, other):
        act(one, "restart")
        act(one, "step")
    seen = [
        one.evaluate("() => [[...demo.page.frame.parameters], demo.page.state.points]")
        for one in (tab, other)
    ]
    assert seen[0] == seen[1]
    assert settled(other).count == 14


def test_a_wrong_link_says_so_and_shows_the_usual_net(opened):
    tab = opened("hidden=99&nonsense=1")
    assert "hidden[0] is 99; expected a whole number from 1 to 20" in tab.locator(".message").inner_text()
    assert settled(tab).sizes == [2, 6, 2, 2]
    tab = opened(f"{SMALL}&points=0,0,7,1")
    assert "points[0][2] is 7; expected a whole number from 0 to 4" in tab.locator(".message").inner_text()
    assert settled(tab).count == 13


def test_a_wrong_number_is_told_and_taken_back(opened):
    tab = opened()
    for text, said in {
        "-1": "rate is -1; expected a number from 0 to 100",
        "quick": "rate is “quick”; expected a number.",
    }.items():
        tab.fill("[name=rate]", text)
        tab.press("[name=rate]", "Enter")
        tab.locator(".message").filter(has_text=said).wait_for()
    tab.click("[name=inputs][value=x]")
    tab.click("[name=inputs][value=y]")
    assert "at least one input" in tab.locator(".message").inner_text()


def test_one_backward_pass_is_written_out(opened):
    tab = opened()
    act(tab, "step")
    tab.click("[data-act=backward]")
    slow, titles = tab.locator(".slow"), []
    tab.get_by_role("button", name="Pause").last.click()
    for _ in range(6):
        titles.append(slow.locator(".gate").inner_text().partition(" · ")[2].partition(":")[0])
        for line in slow.locator("li").all_inner_texts():
            product = re.search(r"= (\S+) × (\S+) = (\S+)$", line)
            if product:
                a, b, c = (float(text.replace("−", "-")) for text in product.groups())
                assert a * b == pytest.approx(c, rel=0.011, abs=1e-7), line
        slow.get_by_role("button", name="Next gate").click()
    assert titles[1:] == [
        "weights of layer2",
        "back to the units of layer1",
        "tanh of layer1",
        "weights of layer1",
        "back to the inputs",
    ]
    assert tab.evaluate("() => demo.page.net.lit !== null")
    slow.get_by_role("button", name="close").click()
    tab.wait_for_function("() => demo.page.net.lit === null")


def test_the_gradient_is_checked_and_the_landscape_drawn(opened):
    tab = opened()
    tab.click("[data-act=check]")
    rows = tab.locator(".check tbody tr")
    rows.first.wait_for()
    assert [text.split()[:2] for text in rows.all_inner_texts()] == [
        ["layer1", "w"],
        ["layer1", "b"],
        ["layer2", "w"],
        ["layer2", "b"],
    ]
    assert all("good" in text for text in rows.all_inner_texts())
    tab.click("[data-act=landscape]")
    label = tab.locator(".landscape .line").get_attribute("aria-label")
    assert "here" in label
    painted = tab.evaluate(
        "() => new Set(demo.querySelector('.hills').getContext('2d').getImageData(0, 0, 200, 200).data).size"
    )
    assert painted > 20


@pytest.mark.in_turns(2)
@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("hidden", ["3 hidden units", "6 hidden units", "20 hidden units"]),
        ("strength", ["λ = 0.001", "λ = 0.01", "λ = 0.1"]),
    ],
)
def test_nets_stand_side_by_side(by, told, opened):
    tab = opened()
    tab.select_option("[name=compare]", by)
    tab.wait_for_function("() => demo.page.frames.length === 3")
    settled(tab)
    act(tab, "step")
    assert tab.locator(".card b").all_inner_texts() == told
    assert tab.evaluate("() => demo.page.frames.map(({ step }) => step)") == [1, 1, 1]
    tab.locator(".card").nth(2).click()
    settled(tab)
    assert tab.evaluate("() => demo.page.state.shown") == 2
    tab.select_option("[name=compare]", "")
    settled(tab)
    assert tab.locator(".strip").is_hidden()


def test_keys_work(opened):
    tab = opened()
    for key, step in {"ArrowRight": 1, "ArrowLeft": 0}.items():
        tab.keyboard.press(key)
        tab.wait_for_function("(step) => demo.page.frame.step === step", arg=step)
    tab.keyboard.press("]")
    tab.wait_for_function("() => demo.page.frame.example === 1")
    tab.keyboard.press("t")
    assert tab.evaluate("() => demo.dataset.theme") == "dark"
    tab.keyboard.press("?")
    assert tab.locator(".help").is_visible()
    tab.keyboard.press("Escape")
    tab.focus(".plane")
    for key in ("ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft", "Enter"):
        tab.keyboard.press(key)
    assert settled(tab).count == 14
    tab.keyboard.press("Delete")
    assert settled(tab).count == 13


def test_fingers_do_what_the_mouse_does(opened):
    tab = opened(viewport={"width": 390, "height": 844}, has_touch=True)
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= 390
    tab.locator(".plane").scroll_into_view_if_needed()
    tab.touchscreen.tap(*at(tab, -4, -4))
    assert settled(tab).count == 14


NAMELESS = """() =>
  [...demo.querySelectorAll("button, input, select, canvas, [role]")]
    .filter((one) => !["status", "alert"].includes(one.getAttribute("role")))
    .filter((one) => !one.getAttribute("aria-label") && !one.labels?.length && !one.textContent.trim())
    .map((one) => one.outerHTML)"""

FAINT = """() => {
  const straight = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((c) => straight(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const behind = (one) => {
    const colour = getComputedStyle(one).backgroundColor;
    return /, 0\\)$/.test(colour) ? behind(one.parentElement) : colour;
  };
  const written = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...demo.querySelectorAll("*")]
    .filter((one) => written(one) && one.checkVisibility() && !one.disabled)
    .map((one) => [one.textContent.trim(), light(getComputedStyle(one).color), light(behind(one))])
    .filter(([, a, b]) => Math.max(a, b) / Math.min(a, b) < 4.5);
}"""


@pytest.mark.in_turns(2)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_controls_have_names_and_text_can_be_read(scheme, opened):
    """Names for screen readers, and a contrast of 4.5 to 1 (WCAG 2.2, success criterion 1.4.3)."""
    tab = opened(color_scheme=scheme)
    assert tab.evaluate(NAMELESS) == []
    assert tab.evaluate(FAINT) == []


def test_the_end_of_the_server_is_told(opened):
    tab = opened()
    tab.evaluate("() => demo.page.ended('The server has ended.')")
    tab.click("[data-act=play]")
    assert tab.locator(".message").inner_text() == "The server has ended."
    assert tab.locator("[data-act=play]").inner_text() == "▶ Play"
