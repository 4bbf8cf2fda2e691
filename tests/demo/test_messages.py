"""What a page may ask: every kind is answered, and what is malformed or hostile is told what is wrong."""

import json

import numpy as np
import pytest

from funcnet.demo.client import Client
from funcnet.demo.messages import KINDS, LONGEST, answer, read
from tests.demo.conftest import read as decoded

MANY = [[0.0, 0.0, 0, 1]] * 401

HOSTILE = {
    "": "not JSON",
    "nonsense": "not JSON",
    "{": "not JSON",
    "\x00": "not JSON",
    "[" * 60_000: "not JSON",
    "[]": "no object",
    "3": "no object",
    "null": "no object",
    "{}": "kind is None; expected one of hello",
    '{"kind": 3}': "kind is 3; expected one of",
    '{"kind": ["run"]}': "kind is a list of 1",
    '{"kind": "eval", "code": "1"}': "kind is 'eval'",
    '{"kind": "__class__"}': "kind is '__class__'",
    '{"kind": "run"}': "run has no field 'steps'",
    '{"kind": "run", "steps": -1}': "steps is -1; expected a whole number from 0 to 2000",
    '{"kind": "run", "steps": 1e9}': "steps is 1000000000.0; expected a whole number",
    '{"kind": "run", "steps": 9999999999999999999999}': "steps is a number of many digits",
    '{"kind": "run", "steps": true}': "steps is True",
    '{"kind": "run", "steps": "5"}': "steps is '5'",
    '{"kind": "run", "steps": NaN}': "steps is nan",
    '{"kind": "run", "steps": 1, "code": "x"}': "a field of run is 'code'; expected one of these: steps",
    '{"kind": "run", "steps": 1, "example": 400}': "example is 400; expected a whole number from 0 to 399",
    '{"kind": "run", "steps": 1, "units": [0]}': "units is a list of 1; expected a list of 2 values",
    '{"kind": "run", "steps": 1, "net": 3}': "net is 3; expected a whole number from 0 to 2",
    '{"kind": "points", "points": [[0, 0, 0]]}': r"points\[0\] is a list of 3; expected a list of 4",
    '{"kind": "points", "points": [[NaN, 0, 0, 1]]}': r"points\[0\]\[0\] is nan; expected a number from",
    '{"kind": "points", "points": [[1e999, 0, 0, 1]]}': r"points\[0\]\[0\] is inf",
    '{"kind": "points", "points": [[0, 0, 4, 1]]}': "a point has class 4; expected 0 to 1",
    '{"kind": "points", "points": {"0": 1}}': "points is an object of 1",
    json.dumps({"kind": "points", "points": MANY}): "points is a list of 401; expected a list of 0 to 400",
    '{"kind": "settings", "settings": []}': "settings is a list of 0; expected an object",
    '{"kind": "settings", "settings": {"hidden": [1000000]}}': r"hidden\[0\] is 1000000; expected a whole",
    '{"kind": "settings", "settings": {"hidden": [1, 1, 1, 1, 1, 1, 1]}}': "hidden is a list of 7",
    '{"kind": "settings", "settings": {"data": "../../etc/passwd"}}': "data is '../../etc/passwd'",
    '{"kind": "settings", "settings": {"activation": "exp"}}': "activation is 'exp'",
    '{"kind": "settings", "settings": {"inputs": []}}': "inputs is a list of 0",
    '{"kind": "settings", "settings": {"rate": Infinity}}': "rate is inf",
    '{"kind": "settings", "settings": {"rate": -1}}': "rate is -1",
    '{"kind": "settings", "settings": {"seed": 1.5}}': "seed is 1.5",
    '{"kind": "settings", "settings": {"__init__": 1}}': "a field of settings is '__init__'",
    '{"kind": "settings", "settings": {"data": "' + "x" * 9000 + '"}}': f"data is '{'x' * 40}'; expected",
    " " * (LONGEST + 1): f"a message of {LONGEST + 1} bytes came; expected at most {LONGEST}",
}


@pytest.fixture(scope="module")
def page():
    return Client()


@pytest.mark.parametrize(("text", "said"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_what_is_malformed_is_told_what_is_wrong(text, said, page):
    import re

    found = decoded(page.answer(text))
    assert found["kind"] == "error"
    assert re.search(said, found["text"])
    assert len(found["text"]) < 400


def test_bytes_are_read_as_text():
    assert read(b'{"kind": "hello"}').kind == "hello"
    assert decoded(Client().answer(b"\xff\xfe\x00"))["text"].startswith("a message came that is not JSON")


def test_a_page_goes_on_after_an_error(ask):
    ask("settings", settings={"hidden": [3]})
    ask("run", steps=5)
    assert ask("run", steps=-5)["kind"] == "error"
    assert ask("settings", settings={"hidden": [0]})["kind"] == "error"
    assert ask("run", steps=1)["step"] == 6


def test_every_kind_of_question_has_an_answer(ask):
    fields = {"settings": {"settings": {"hidden": [3]}}, "points": {"points": []}, "run": {"steps": 1}}
    for kind in ("hello", "settings", "run", "back", "restart", "check", "landscape", "points", "close"):
        found = ask(kind, **fields.get(kind, {}))
        assert (
            found["kind"]
            == {kind: kind, **dict.fromkeys(("settings", "points", "run", "back", "restart"), "frame")}[kind]
        )
    assert {*KINDS} == {
        "hello",
        "settings",
        "run",
        "back",
        "restart",
        "check",
        "landscape",
        "points",
        "close",
    }


def test_a_net_that_nobody_has_chosen_is_the_lectures(ask):
    assert ask("run", steps=0)["sizes"] == [2, 6, 2, 2]


def test_nets_side_by_side_are_apart(ask):
    for net, units in enumerate((3, 4)):
        assert ask("settings", net=net, settings={"hidden": [units]})["sizes"] == [2, units, 2]
    ask("run", net=1, steps=5)
    assert [ask("run", net=net, steps=0)["step"] for net in (0, 1)] == [0, 5]
    ask("close", net=1)
    assert [*ask.client.nets] == [0]


def test_the_answer_to_a_change_has_the_points_and_settings(ask):
    found = ask("settings", settings={"hidden": [3], "data": "simple"})
    assert len(found["points"]) == found["count"] == 13
    again = ask("points", points=found["points"][:4])
    assert again["points"] == found["points"][:4]
    assert found["settings"]["hidden"] == [3]
    assert "points" not in ask("run", steps=1)


def test_an_example_that_is_no_more_is_the_last_one(ask):
    ask("settings", settings={"hidden": [3], "data": "simple"})
    assert ask("run", steps=0, example=399)["example"] == 12
    assert ask("points", points=[])["example"] == -1


def test_a_number_that_is_not_finite_is_null():
    told = {"loss": float("nan"), "all": [np.float32("inf"), 1, "x"], "one": np.int32(3)}
    found = decoded(answer("frame", 0, told, {"x": np.arange(3, dtype=np.uint8), "y": np.float32([1.5])}))
    assert (found["loss"], found["all"], found["one"]) == (None, [None, 1, "x"], 3)
    assert found["x"].tolist() == [0, 1, 2]
    assert found["y"].tolist() == [1.5]


def test_hello_says_what_can_be_chosen(ask):
    found = ask("hello")
    assert "spiral3" in found["choices"]["data"]
    assert found["formulas"]["tanh"]["formula"] == "x̄ = ȳ · sech²(x)"
