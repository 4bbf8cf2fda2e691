"""config.json: what a run was begun with. Nothing here needs JAX."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from funcnet._errors import CheckpointError

CONFIG_FILE = "config.json"

T = TypeVar("T")


def read_settings(folder: str | Path) -> dict[str, Any]:
    """What the config.json in a folder says, of any run; an error as of `read_as`."""
    return read_as(as_object, folder)


def read_as(meaning: Callable[[str], T], folder: str | Path) -> T:
    """What the text of the config.json in a folder means; a CheckpointError if there is none."""
    path = Path(folder) / CONFIG_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{folder} holds no run: cannot read {path} ({error})") from error
    try:
        return meaning(text)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def as_object(text: str) -> dict[str, Any]:
    """A JSON object by its names; a CheckpointError if it is none.

    >>> as_object('{"optimizer": "adam"}')
    {'optimizer': 'adam'}
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"the configuration is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"the configuration is a JSON {type(values).__name__}; expected an object")
    return values
