"""The pytest plugin: in suites of their own where pytest itself is looked at, else in this one."""

import re
import subprocess
import sys

import jax.numpy as jnp
import pytest

import funcnet

RULES = """
import jax
import jax.numpy as jnp


@jax.custom_vjp
def square(x):
    return x * x


square.defvjp(lambda x: (x * x, x), lambda x, y_bar: (2 * x * y_bar,))


@jax.custom_vjp
def cube(x):
    return x * x * x


cube.defvjp(lambda x: (x * x * x, x), lambda x, y_bar: (2 * x * x * y_bar,))
x = jnp.arange(1.0, 5.0)
"""


def run_pytest(folder, *options):
    """Pytest as users start it, with all plugins that are installed; its exit code and output."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", "-W", "error"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_suite_without_it_imports_nothing_and_shows_nothing(tmp_path):
    (tmp_path / "test_plain.py").write_text(
        "import sys\n\n"
        "loaded = {'funcnet', 'jax'} & set(sys.modules)\n\n"
        "def test_plain():\n"
        "    assert 'pytest_funcnet' in sys.modules\n"
        "    assert loaded == {'funcnet', 'jax'} & set(sys.modules) == set()\n"
    )
    code, output = run_pytest(tmp_path)
    assert code == 0, output
    assert "1 passed" in output
    assert "check_vjp" not in output


def test_a_failure_is_the_message_at_the_line_of_the_test(tmp_path):
    (tmp_path / "rules.py").write_text(RULES)
    (tmp_path / "test_rules.py").write_text(
        "import funcnet\n"
        "from rules import cube, square, x\n\n"
        "def test_right(check_vjp):\n"
        "    assert check_vjp(square, x).function == 'square'\n\n"
        "def test_wrong(check_vjp):\n"
        "    check_vjp(cube, x)\n\n"
        "def test_wrong_without_the_fixture():\n"
        "    funcnet.check_vjp(cube, x, key=7)\n"
    )
    code, output = run_pytest(tmp_path, "--check-vjp-seed=7", "--check-vjp-seeds=2")
    assert code == 1
    assert "1 passed" in output
    assert "2 failed" in output
    assert "\ncheck_vjp: --check-vjp-seed=7 --check-vjp-seeds=2\n" in output
    assert re.findall(r"^(\S+:\d+): ", output, re.MULTILINE) == ["test_rules.py:8", "test_rules.py:11"]

    assert "FAILED test_rules.py::test_wrong - WRONG: cube" in output

    namespace = {}
    exec(compile(RULES, "rules.py", "exec"), namespace)
    with pytest.raises(funcnet.VJPCheckError) as failure:
        funcnet.check_vjp(namespace["cube"], namespace["x"], key=7)
    _, first, second = output.split("E       funcnet._errors.VJPCheckError: ")
    for shown in (first, second):
        message, *_ = shown.split("\n\n")
        assert message.replace("\nE       ", "\n") == str(failure.value)


@pytest.mark.parametrize("count", ["0", "many"])
def test_a_number_of_seeds_that_checks_nothing_is_refused(tmp_path, count):
    code, output = run_pytest(tmp_path, f"--check-vjp-seeds={count}")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert f"--check-vjp-seeds: {count}: expected a whole number of seeds, 1 or more" in output


@pytest.fixture
def seeds(request, monkeypatch):
    """The command line of this very run, with `--check-vjp-seed=7 --check-vjp-seeds=3`."""
    monkeypatch.setattr(request.config.option, "check_vjp_seed", 7)
    monkeypatch.setattr(request.config.option, "check_vjp_seeds", 3)


@pytest.fixture
def calls(monkeypatch):
    """The keywords of every call of `funcnet.check_vjp`, which checks nothing and returns their number."""
    found = []

    def record(fun, *args, **keywords):
        assert (fun, args) == (jnp.tanh, (0.5, 1.5))
        found.append(keywords)
        return len(found)

    monkeypatch.setattr(funcnet, "check_vjp", record)
    return found


@pytest.mark.usefixtures("seeds")
def test_a_check_runs_once_for_each_seed_and_returns_the_last_report(check_vjp, calls):
    assert check_vjp(jnp.tanh, 0.5, 1.5, order=2) == 3
    assert calls == [{"key": key, "order": 2} for key in (7, 8, 9)]


@pytest.mark.usefixtures("seeds")
def test_a_key_of_the_call_is_the_only_one(check_vjp, calls):
    check_vjp(jnp.tanh, 0.5, 1.5, key=3)
    assert calls == [{"key": 3}]


@pytest.mark.usefixtures("seeds")
class TestMarker:
    pytestmark = pytest.mark.check_vjp(key=4, slack=10)

    @pytest.mark.check_vjp(dtypes=("bfloat16",), slack=11)
    def test_the_nearest_marker_wins_and_the_call_before_it(self, check_vjp, calls):
        check_vjp(jnp.tanh, 0.5, 1.5)
        check_vjp(jnp.tanh, 0.5, 1.5, slack=12)
        marked = {"key": 4, "dtypes": ("bfloat16",)}
        assert calls == [{**marked, "slack": 11}, {**marked, "slack": 12}]

    def test_a_misspelt_keyword_is_named_with_the_one_that_was_meant(self, check_vjp):
        words = "check_vjp: got dtype=, expected keywords of funcnet.check_vjp; did you mean dtypes=?"
        with pytest.raises(pytest.UsageError, match=re.escape(words)):
            check_vjp(jnp.tanh, 0.5, dtype="float32")

    def test_one_that_is_like_none_is_told_all_of_them(self, check_vjp):
        with pytest.raises(pytest.UsageError, match=r"got rtol=, .*which are argnums, .*, slack\.$"):
            check_vjp(jnp.tanh, 0.5, rtol=1e-3)

    @pytest.mark.check_vjp(slak=9)
    def test_a_misspelt_keyword_of_a_marker_too(self, check_vjp):
        with pytest.raises(pytest.UsageError, match=r"got slak=, .*did you mean slack="):
            check_vjp(jnp.tanh, 0.5)

    @pytest.mark.check_vjp(8)
    def test_a_marker_takes_keywords_only(self, request):
        with pytest.raises(pytest.UsageError, match=r"check_vjp: got \(8,\), expected keywords only"):
            request.getfixturevalue("check_vjp")
