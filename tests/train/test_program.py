"""What was trained runs in a process that cannot import funcnet, with the same results."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet._errors import MissingPackageError, ParameterError, ShapeError, WriteError
from funcnet.data import load
from funcnet.train import Config, export, fit

pytestmark = pytest.mark.in_turns(2)

SPIRAL = load("spiral")
CONFIG = Config(data="spiral", hidden=(10,), batch_size=100, epochs=3)


@pytest.fixture(autouse=True)
def flatbuffers():
    """What JAX writes its exports with. Where it is not installed these tests skip, but in CI they fail."""
    if "CI" not in os.environ:
        pytest.importorskip("flatbuffers", reason="flatbuffers is not installed: pip install flatbuffers")


def outputs(folder: Path, inputs: np.ndarray) -> np.ndarray:
    """What the program in a folder makes of them, in a process of its own."""
    np.save(folder / "in.npy", inputs)
    code = "import sys, runpy; sys.modules['funcnet'] = None; runpy.run_path('predict.py', {}, '__main__')"
    command = [sys.executable, "-c", code, "in.npy", "out.npy"]
    subprocess.run(command, check=True, cwd=folder)
    return np.load(folder / "out.npy")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_net_runs_without_funcnet(dtype, tmp_path):
    run = fit(replace(CONFIG, dtype=dtype), SPIRAL)
    run.export(tmp_path / "net")
    scores = outputs(tmp_path / "net", SPIRAL.test.x[:7])
    assert scores.dtype == dtype
    # Raw inputs are standardized by XLA here and by numpy there.
    np.testing.assert_allclose(scores, run.scores(SPIRAL.test.x[:7]), rtol=1e-5, atol=1e-6)


def test_any_function_of_examples_runs_without_funcnet(tmp_path):
    kernel = jax.random.normal(jax.random.key(0), (4, 2))

    def model(x):
        return {"tanh": jnp.tanh(x @ kernel)}["tanh"]

    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    export(model, x, tmp_path / "model")
    np.testing.assert_allclose(outputs(tmp_path / "model", x[:2]), model(x[:2]), rtol=1e-6)


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "predict.py").write_text("mine")
    with pytest.raises(WriteError, match="is not empty, and nothing is overwritten"):
        export(jnp.tanh, np.ones(3), tmp_path)
    assert (tmp_path / "predict.py").read_text() == "mine"


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("function", "example", "error", "words"),
    [
        (lambda x: x["a"], {"a": np.ones(3)}, ParameterError, r"the example is a dict; expected one array"),
        (jnp.tanh, "text", ParameterError, "the example is 'text'; expected one array"),
        (jnp.tanh, 3.0, ShapeError, "the example is a number; expected an array"),
        (
            {"w": np.ones(3)},
            np.ones(3),
            ParameterError,
            "export: got a dict; expected a function of an array",
        ),
    ],
)
def test_what_is_no_function_of_an_array_is_not_exported(function, example, error, words, tmp_path):
    with pytest.raises(error, match=words):
        export(function, example, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_without_flatbuffers_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    for name in [name for name in sys.modules if name.startswith("jax._src.export.serialization")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingPackageError, match=r"pip install 'funcnet\[export\]'"):
        export(jnp.tanh, np.ones(3), tmp_path / "model")
    assert not (tmp_path / "model").exists()
