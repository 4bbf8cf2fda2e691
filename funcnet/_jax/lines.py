"""Lines and names: which line of the user's code an equation is of, and which function it calls."""

import functools
import inspect
import itertools
import os
import re
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jaxtyping
from jax.extend import core, source_info_util

from funcnet._jax.jaxprs import Equation, Jaxpr, called, called_by, open_jaxpr, with_programs

_PACKAGE, _JAX = Path(__file__).parents[1], Path(jax.__file__).parent
_LIBRARIES = [_PACKAGE, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "scripts"))]
_NOT_THE_USERS = [
    _PACKAGE / "backprop",
    _PACKAGE / "check",
    _PACKAGE / "rules",
    _PACKAGE / "nonfinite",
    _PACKAGE / "kept",
    _PACKAGE / "nn/_gate.py",
    _PACKAGE / "_jax",
    Path(jaxtyping.__file__).parent,
]
for _place in _NOT_THE_USERS:  # a source line is never one of these: they only pass on what the user wrote
    source_info_util.register_exclusion(str(_place))


def source_line(eqn: Equation) -> str:
    """Where the user's code wrote this equation: `file:line:column (function)`."""
    return _readable(eqn.source_info)


def line_with_library(eqn: Equation, around: str = "") -> str:
    """The innermost line that is in no library, with that of the library that it calls, if it calls one.

    Args:
        eqn: the equation.
        around: such a line of the call of the function in which it stands, for one without own lines.
    """
    lines = source_info_util.summarize(eqn.source_info, 100).splitlines()[::-1]
    if not lines or not _is_in_a_library(lines[0]):
        return readable(lines[0]) if lines else around
    others = [line for line in lines if _package(line) not in ("funcnet", _package(lines[0]))]
    own = next(itertools.filterfalse(_is_in_a_library, lines), "") or around.partition(INSIDE)[0]
    own = own or next(iter(others), "")  # the user's package may be installed too
    return f"{readable(own)}{INSIDE}{_importable(lines[0])}" if own else readable(lines[0])


def with_users_line(line: str) -> str:
    """A line of a library beside that of the user's which runs now and has led to it; any other as it is."""
    running = source_info_util.summarize(source_info_util.current(), 100).splitlines()[::-1]
    own = next(itertools.filterfalse(_is_in_a_library, running), "") if _is_in_a_library(line) else ""
    return f"{readable(own)}{INSIDE}{_importable(line)}" if own else line


INSIDE = ", inside "
"""Between the user's line and that of a library."""


def _package(line: str) -> str:
    """The package that a line of a library is in."""
    return Path(_importable(line)).parts[0]


def _importable(line: str) -> str:
    """A line of a library from the place on from which it is imported: `optax/losses/_regression.py:49`."""
    path = Path(line)
    if path.is_relative_to(_PACKAGE):
        return str(path.relative_to(_PACKAGE.parent))
    return re.sub(r"^.*[/\\](site|dist)-packages[/\\]", "", line)


def _is_in_a_library(line: str) -> bool:
    path = Path(line)
    installed = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    return installed or any(map(path.is_relative_to, _LIBRARIES))


def blamed_line(eqn: Equation) -> str:
    """The user's line of an equation, or of the call that is planned around it if JAX's own code wrote it."""
    return source_line(eqn) or _readable(source_info_util.current())


def _readable(info: Any) -> str:
    return readable(source_info_util.summarize(info))


def readable(line: str) -> str:
    """A source line; a notebook's cell, which is a file that nobody knows, is called that."""
    return re.sub(r"^.*[/\\]ipykernel_\d+[/\\]\d+\.py", "notebook cell", line)


def scope(eqn: Equation) -> str:
    """The `jax.named_scope` names around an equation, joined by slashes."""
    return str(eqn.source_info.name_stack)


def is_scoped(eqn: Equation) -> bool:
    """Whether there is a `jax.named_scope` around an equation."""
    return bool(eqn.source_info.name_stack.stack)


def function_name(eqn: Equation) -> str:
    """The Python name of the function that an equation calls; empty where there is none."""
    if "name" in eqn.params:
        return str(eqn.params["name"])
    if not any(name in eqn.params for name in ("jaxpr", "call_jaxpr")) or "length" in eqn.params:
        return ""
    body, _ = called(eqn)
    name = body.debug_info.func_name.strip("<>")
    if name == "wrapped_fun":  # that of jax.custom_gradient: the user's own stands in the lines of its body
        name = next(
            (line.rpartition(".")[2].rpartition("(")[2][:-1] for line in map(source_line, body.eqns) if line),
            name,
        )
    return name


def name_of(function: Any) -> str:
    """How a function that JAX has wrapped is called."""
    return function.debug_info.func_name


def function_info(f: Callable) -> str:
    """Name and place of a function, for JAX's messages."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    return f"{f.__name__} at {code.co_filename}:{code.co_firstlineno}" if code else repr(f)


def written(function: Any) -> Any:
    """The function that a user gave to `jax.custom_gradient`, of what that made of it; others as they are."""
    made = getattr(function, "fun", None)
    if inspect.isfunction(made) and made.__module__ == jax.custom_gradient.__module__:
        return inspect.getclosurevars(made).nonlocals.get("fun", function)
    return function


def definition(function: Any) -> str:
    """File and line of a function, of one with a rule those of the rule; "" where Python has none."""
    function = written(function)
    if inspect.isfunction(function) and function.__module__ == jax.custom_jvp.__module__:
        return ""  # what defjvps and custom_gradient make
    for name in ("bwd", "jvp", "func", "fun", "__wrapped__"):
        inner = getattr(function, name, None)
        if callable(inner) and (found := definition(inner)):
            return found
    code = getattr(function, "__code__", None)
    if code is None:
        return definition(type(function).__call__) if hasattr(type(function).__call__, "__code__") else ""
    file = os.path.relpath(code.co_filename) if os.path.exists(code.co_filename) else code.co_filename
    place = code.co_filename if file.startswith("..") else file
    return readable(f"{place}:{code.co_firstlineno}")


def jvp_place(eqn: Equation) -> str:
    """Name, file and line of the jvp that a user wrote for a custom_jvp; empty where nobody knows."""
    function = eqn.params.get("jvp_jaxpr_fun") or eqn.params.get("jvp")
    return getattr(getattr(function, "debug_info", None), "func_src_info", None) or ""


NAMED_CALLS = frozenset({"jit", "custom_jvp_call"})
"""Primitives that call a function of which it is known where that is defined."""


def called_function(primitive: Any, params: Mapping[str, Any]) -> str:
    """Where in JAX, or here, the function of a call is defined, `nn.functions.relu`; empty for all else."""
    if primitive.name not in NAMED_CALLS:
        return ""
    return defined_in(called_by(params)[0].debug_info.func_src_info)


@functools.lru_cache(maxsize=4096)
def defined_in(place: str | None) -> str:
    """The module and the name of a function of JAX's or of ours, from JAX's word for where a function is."""
    name, _, line = (place or "").partition(" at ")
    path = Path(line.rpartition(":")[0])
    for home, package in ((_JAX, ()), (_PACKAGE, ("funcnet",))):
        if path.is_relative_to(home):
            module = path.relative_to(home).with_suffix("").parts
            return ".".join([*package, *module[module[0] == "_src" :], name])
    return ""


def is_of_jax(eqn: Equation) -> bool:
    """Whether an equation calls a function of JAX's own, which may have been traced for another call."""
    names = ("jaxpr", "call_jaxpr")
    infos = [open_jaxpr(eqn.params[name])[0].debug_info for name in names if name in eqn.params]
    places = [defined_in(info.func_src_info) for info in infos]
    return any(place and not place.startswith("funcnet.") for place in places)


def nameless(eqn: Equation) -> Equation:
    """The same call of a function, of which it is no longer known where that is defined."""

    def without_place(jaxpr: Jaxpr, consts: Sequence[Any]) -> Any:
        info = jaxpr.debug_info._replace(func_src_info=jaxpr.debug_info.func_name)
        return core.ClosedJaxpr(jaxpr.replace(debug_info=info), consts)

    return with_programs(eqn, without_place)
