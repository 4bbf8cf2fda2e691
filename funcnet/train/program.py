"""A trained function as a program of its own, which needs JAX and no funcnet.

    model.stablehlo    the function, its parameters in it, as StableHLO in JAX's format (`jax.export`)
    predict.py         loads and runs it: `python predict.py inputs.npy outputs.npy`, or `predict(inputs)`

The first axis of the inputs, that of the examples, stays open. The program runs on CPU, GPU and TPU, and on
JAX's later versions for half a year at least, as JAX promises of its exports.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax import export as jax_export
from jax.typing import ArrayLike

from funcnet._errors import MissingPackageError, ParameterError, ShapeError, WriteError, came
from funcnet._files import write_atomically

MODEL_FILE, PROGRAM_FILE = "model.stablehlo", "predict.py"
PROGRAM = f'''\
"""Runs the model in {MODEL_FILE}: python {PROGRAM_FILE} inputs.npy outputs.npy

It needs JAX alone: pip install jax flatbuffers
"""

import sys
from pathlib import Path

import jax
import numpy as np
from jax import export

jax.config.update("jax_enable_x64", True)  # what was trained in float64 is run in it
model = export.deserialize(bytearray(Path(__file__).with_name("{MODEL_FILE}").read_bytes()))


def predict(inputs):
    """What the model computes for examples [examples, ...]."""
    return np.asarray(model.call(np.asarray(inputs, model.in_avals[0].dtype)))


if __name__ == "__main__":
    np.save(sys.argv[2], predict(np.load(sys.argv[1])))
'''


def export(function: Callable[[Any], Any], example: ArrayLike, folder: str | Path) -> None:
    """Writes a function of an array of examples as a program that runs without funcnet.

    Args:
        function: a jittable function; the parameters are what it closes over.
        example: an array as it takes, [examples, …]; its dtype and its other axes are those of the program.
        folder: a new or empty one.

    Raises:
        ParameterError: the function is none, or the example no array.
        ShapeError: the example has no axis.
        WriteError: the folder has files already, or cannot be written.
        MissingPackageError: flatbuffers is not installed, which JAX needs to write its exports.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise WriteError(f"{folder} is not empty, and nothing is overwritten. Choose another folder.")
    if not callable(function):
        raise ParameterError(f"export: got {came(function)}; expected a function of an array of examples")
    try:
        array = jax.numpy.asarray(example)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"export: the example is {came(example)}; expected one array [examples, …], of which "
            f"the function takes its parts"
        ) from error
    if not array.ndim:
        raise ShapeError("export: the example is a number; expected an array [examples, …]")
    axes = jax_export.symbolic_shape(", ".join(["examples", *map(str, array.shape[1:])]))
    inputs = jax.ShapeDtypeStruct(axes, array.dtype)
    exported = jax_export.export(jax.jit(function), platforms=("cpu", "cuda", "tpu"))(inputs)
    try:
        model = exported.serialize()
    except ImportError as error:
        raise MissingPackageError(
            f"export: {error}; expected flatbuffers, which JAX writes with. pip install 'funcnet[export]'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MODEL_FILE, bytes(model))
    write_atomically(folder / PROGRAM_FILE, PROGRAM.encode())
