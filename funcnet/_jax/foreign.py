"""Primitives of others: who says what one computes, the derivative that came with it, and JAX's hijax.

In hijax an operation is an object, with types for its values and a derivative of its own; it stands in a
program as the primitive `call_hi_primitive`.
"""

import functools
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jax._src.interpreters.ad import NullAccum, ValAccum  # there are no public ones
from jax.interpreters import ad

_ad = jax.ad  # pyright: ignore[reportPrivateImportUsage]
DontWant, NOT_WANTED, IN_REF = _ad.DontWant, _ad.DidntWant(), _ad.GradRef()
"""What a pullback with refs is told, and returns, for a gradient that nobody wants or that a ref has got."""


def rule_name(primitive: Any, params: Mapping[str, Any]) -> str:
    """Under which name to look for the rule of an operation: its primitive's, if that is JAX's own.

    For an operation of hijax without a rule in the table it is the name of its class.
    """
    if is_foreign(primitive):
        return f"{primitive.name} of {author_of(primitive)}"
    kind = type(params["_prim"]).__name__ if primitive.name == "call_hi_primitive" else "Ldexp"
    return primitive.name if kind == "Ldexp" else kind


@functools.lru_cache(maxsize=1024)
def is_foreign(primitive: Any) -> bool:
    """Whether a primitive is not JAX's own: somebody else says what it computes."""
    return bool(author_of(primitive))


def author_of(primitive: Any) -> str:
    """The module that says what a primitive computes; empty for JAX's own."""
    return next(_authors((primitive.abstract_eval, primitive.impl)), "")


def _authors(function: Any) -> Iterator[str]:
    """The modules of the functions, of this and what it is made of, that are not JAX's or ours."""
    pending, seen = [function], set()
    while pending:
        part = pending.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, functools.partial):
            pending += [part.func, *part.args, *part.keywords.values()]
        elif isinstance(part, (tuple, list)):
            pending += part
        elif isinstance(part, types.MethodType):
            pending.append(part.__func__)
        elif isinstance(part, types.FunctionType):
            if not re.match(r"(jax|jaxlib|functools|funcnet)\b", part.__module__):
                yield part.__module__
            pending += [cell.cell_contents for cell in part.__closure__ or () if _is_full(cell)]


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def registered(primitive: Any) -> tuple[Callable | None, Callable | None]:
    """The tangent rule and the transpose that others have registered with JAX for a primitive of theirs."""
    if not is_foreign(primitive):
        return None, None
    return ad.primitive_jvps.get(primitive), ad.primitive_transposes.get(primitive)


def foreign_primitives() -> dict[str, list[str]]:
    """The primitives that others have registered with JAX so far, and the modules that had a hand in each."""
    rules = (ad.primitive_jvps, ad.primitive_transposes)
    primitives = {primitive for table in rules for primitive in table if is_foreign(primitive)}
    parts = {p: (p.abstract_eval, p.impl, *(table.get(p) for table in rules)) for p in primitives}
    return {primitive.name: list(dict.fromkeys(_authors(of))) for primitive, of in parts.items()}


def holds_a_rule(operation: Any) -> bool:
    """Whether an operation of hijax has a derivative that is not that of its program."""
    kind = type(operation)
    return kind.__name__ in HOLDING or not kind.__module__.startswith("jax.")


HOLDING = frozenset(("CustomVJPTraced", "CustomJVPTraced", "CustomRoot", "PrimalLeftTangentRight", "VmapOf"))
"""Those of JAX's own: it is the caller's, by the implicit function theorem, or that of the other operand."""


def expanded(operation: Any) -> Callable[..., list[Any]]:
    """An operation of hijax as a function of flat arguments."""
    return lambda *xs: jax.tree.leaves(operation.expand(*operation.in_tree.unflatten(xs)))


def hijax_forward(
    primitive: Any, xs: Sequence[Any], active: Sequence[bool]
) -> tuple[list[Any], list[Any], Callable]:
    """The forward of an operation of hijax: its results, what it puts aside, and its backward."""
    nonzero, args = primitive.in_tree.unflatten(active), primitive.in_tree.unflatten(xs)
    ys, residuals, *_ = primitive.vjp_fwd(nonzero, *args)
    leaves, tree = jax.tree.flatten(residuals)

    def backward(*operands: Any) -> list[Any]:
        aside, bars = tree.unflatten(operands[: len(leaves)]), operands[len(leaves) :]
        kinds = zip(primitive.in_avals_flat, active, strict=True)
        sums = [(ValAccum if one else NullAccum)(aval.to_ct_aval()) for aval, one in kinds]
        primitive.vjp_bwd(aside, primitive.out_tree.unflatten(bars), *primitive.in_tree.unflatten(sums))
        return [total.freeze() if one else None for total, one in zip(sums, active, strict=True)]

    return jax.tree.leaves(ys), leaves, backward
