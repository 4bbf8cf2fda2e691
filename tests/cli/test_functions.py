"""`funcnet check`, `draw` and `stash` on functions in other people's files, and what goes wrong in these."""

import re
import sys

import pytest

from funcnet.__main__ import main

pytestmark = pytest.mark.in_turns(2)


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("name", ["rules.py:right", "./rules.py:right", "rules:right", "rules:Home.rule"])
def test_check_prints_the_report_of_a_right_rule(name, capsys):
    assert main(["check", name, "--args", "f32[4, 3]"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("right: right")
    assert re.search(r"^ *x\[4,3\] +float32 ", out, re.MULTILINE)
    assert "bfloat16" not in out


@pytest.mark.usefixtures("rules")
def test_check_ends_a_wrong_rule_with_its_message_and_exit_code_1(capsys):
    def message(seed):
        assert main(["check", "rules.py:wrong", "--args", "f32[3]", "--seed", str(seed)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        return err

    assert re.match(r"WRONG: wrong, x: float64\[3\].*\n(?s:.*)hint .* 0\.5 .*\n(?s:.*)key=0", message(0))
    assert message(0) == message(0)
    numbers = [re.search("worst.*", message(seed))[0] for seed in (0, 1)]
    assert numbers[0] != numbers[1]


@pytest.mark.usefixtures("rules")
def test_the_flags_of_check_reach_the_check(capsys):
    assert main(["check", "rules.py:once", "--args", "f32[3]", "--dtypes", "float16", "bfloat16"]) == 0
    dtypes = re.findall(r"^ *x\[3\] +(\S+) ", capsys.readouterr().out, re.MULTILINE)
    assert dtypes == ["float64", "float16", "bfloat16"]
    assert main(["check", "rules.py:right", "--args", "f32[3]", "--order", "2"]) == 0
    assert main(["check", "rules.py:once", "--args", "f32[3]", "--order", "2"]) == 1
    assert capsys.readouterr().err.startswith("WRONG: ")


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("out", ["g.svg", "g.png", "g.pdf", "g.dot", None])
def test_draw_writes_the_picture_and_says_what_is_marked(workplace, out, capsys):
    line = ["draw", "rules.py:saturated", "--args", "f32[3], 0.5", "--depth", "1", "--local", "--unroll"]
    assert main([*line, *(("--out", out) if out else ())]) == 0
    file = out or "saturated.svg"
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph"}
    assert (workplace / file).read_bytes().startswith(starts[file[-3:]])
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"wrote {file}: 5 gates"
    assert re.fullmatch(r"tanh: no gradient passes .*rules\.py:\d+:\d+ \(saturated\)", printed[0])


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("out", ["kept.png", "kept.svg", "kept.pdf", None])
def test_stash_prints_what_is_kept_and_writes_the_picture(workplace, out, capsys):
    line = ["stash", "rules.py:saturated", "--args", "f32[300,4], f32[4]"]
    assert main([*line, *(("--out", out) if out else ())]) == 0
    head, row, *printed = capsys.readouterr().out.splitlines()
    assert head.split() == ["bytes", "array", "read", "by", "line", "why", "it", "is", "kept"]
    assert re.fullmatch(r" *4\.8 kB +f32\[300,4\] +tanh +rules\.py:\d+ \(saturated\) +elementwise .*", row)
    assert any(re.search("XLA's program takes", line) for line in printed)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    if out:
        assert (workplace / out).read_bytes().startswith(starts[out[-3:]])
        assert printed[-1] == f"wrote {out}"


# what bad.py holds, and words of the last line on stderr
THEIRS = {
    "raises": ("1 / 0", "py, while it was imported, raised ZeroDivisionError: division by zero"),
    "recurses": (
        "def f():\n    f()\n\n\nf()",
        "py, while it was imported, raised RecursionError: maximum recursion",
    ),
    "is no Python": ("def f(:", r"raised SyntaxError: invalid syntax \(bad.py, line 1\)"),
    "is no text": ("\0", "raised SyntaxError: source code .*null bytes"),
    "raises no Exception": ("raise BaseException('odd')", "raised BaseException: odd"),
    "imports what is missing": (
        "import no_such_package",
        "raised ModuleNotFoundError: No module named 'no_such",
    ),
    "imports from nowhere": ("from . import f", "raised ImportError: attempted relative import"),
    "asserts": (
        "def f(x):\n    assert len(x) == 9, 'nine'",
        "py:f, while it was called, raised AssertionError: nine",
    ),
    "calls itself": ("def f(x):\n    return f(x)", "py:f, while it was called, raised RecursionError"),
    "does not fit": ("def f(x):\n    return x @ x.reshape(1, 3)", "called, raised TypeError"),
}
NUMPY = "import numpy\n\n\ndef f(x):\n    return numpy.sin(x)"
COMMANDS = ["check", "draw", "stash"]
BOTH = {f"{command}, {name}": (command, *of) for command in COMMANDS for name, of in THEIRS.items()} | {
    f"{command}, needs NumPy": (command, NUMPY, "raised TracerArrayConversionError")
    for command in COMMANDS[1:]
}


@pytest.mark.parametrize(("command", "code", "words"), BOTH.values(), ids=BOTH)
def test_the_users_own_error_shows_its_own_lines(command, code, words, workplace, monkeypatch, capsys):
    """It starts at the user's first line, is not too long, and the last line says whose it is."""
    (workplace / "bad.py").write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "bad", raising=False)
    assert main([command, "bad.py:f", "--args", "f32[3]"]) == 2
    *shown, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"funcnet: bad.*{words}.* Its own traceback, not one of funcnet's, is above.", last)
    assert "bad.py" in "".join([*shown, last][:2])
    assert not re.search("foreign.py|importlib|lookup.py", "".join(shown))
    assert len(shown) < 60


def test_what_needs_numpy_cannot_be_checked(workplace, monkeypatch, capsys):
    (workplace / "bad.py").write_text(NUMPY)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "bad", raising=False)
    assert main(["check", "bad.py:f", "--args", "f32[3]"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch("funcnet: check of f: it needs the value of an argument.* write jnp for np, .*", last)


def test_a_module_that_imports_what_is_missing_is_not_taken_for_missing(workplace, monkeypatch, capsys):
    (workplace / "needy.py").write_text("import no_such_package")
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["check", "needy:f", "--args", "f32[3]"]) == 2
    assert "needy, while it was imported, raised ModuleNotFoundError: No" in capsys.readouterr().err


def test_a_function_of_a_library_that_does_not_fit_is_announced_too(workplace, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["check", "jax.numpy:matmul", "--args", "f32[3,4], f32[3,4]"]) == 2
    assert "jax.numpy:matmul, while it was called, raised TypeError: dot_general" in capsys.readouterr().err
