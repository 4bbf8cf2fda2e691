"""shard_map: the same program on every device, each on its own part of the arrays.

The sweeps run inside shard_maps of their own. What the forward one puts aside on each device leaves it
under a new leading axis, one entry for each device among which it differs, and comes back to the same device.

An input that all devices share gets the sum of what they send back. With `check_vma=True` the types
say which values differ between devices, and the program itself holds the step from shared to
different whose gradient is that sum (`pvary`). Without, it is taken here, over the mesh axes that the
input's specification does not name; and the cotangent of an output that all devices share comes in
equal parts from each.
"""

import functools
import math
from collections.abc import Collection, Sequence
from typing import Any

import jax
from jax import lax
from jax.sharding import PartitionSpec

from funcnet import _jax
from funcnet.backprop.activity import Mask
from funcnet.backprop.control import only
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.staging import Staged, stage
from funcnet.backprop.sweep import Engine


def shard_map(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """The sweeps of a shard_map's program, inside shard_maps over the same mesh."""
    params = eqn.params
    jaxpr, consts = _jax.open_jaxpr(params["jaxpr"])
    in_specs, out_specs = list(params["in_specs"]), list(params["out_specs"])
    mesh, axes, checked = params["mesh"], params["newly_manual_axes"], params["check_vma"]
    manual = [name for name in mesh.axis_names if name in axes]
    on_devices = functools.partial(jax.shard_map, mesh=mesh, axis_names=axes, check_vma=checked)
    found: list[Staged] = []

    def staging(*xs: Any) -> list[Any]:
        found.append(stage(engine.kept_plan(jaxpr, asked, given), given))
        return found[-1].forward([*consts, *xs])[0]

    jax.eval_shape(
        on_devices(staging, in_specs=tuple(in_specs), out_specs=out_specs), *(v.aval for v in eqn.invars)
    )
    staged = found[-1]
    reads = staged.reads[len(consts) :]
    apart = [_jax.varying(v.aval) if checked else manual for v in staged.extras]
    aside = [PartitionSpec(tuple(name for name in manual if name in names) or None) for names in apart]

    def ahead(*xs: Any) -> Any:
        ys, extras = staged.forward([*consts, *xs])
        return ys, [lax.expand_dims(extra, [0]) for extra in extras]

    run = on_devices(ahead, in_specs=tuple(in_specs), out_specs=(out_specs, aside))

    def back(xs: Sequence[Any], extras: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
        held, bars = iter(xs), iter(y_bars)
        inputs = [*consts, *(next(held) if one else None for one in reads)]
        bars = [_share(next(bars), spec) if has else None for spec, has in zip(out_specs, given, strict=True)]
        x_bars = staged.backward(inputs, [lax.squeeze(extra, [0]) for extra in extras], bars)
        return [
            _total(x_bar, spec) for x_bar, spec in zip(x_bars, in_specs, strict=True) if x_bar is not None
        ]

    def _share(y_bar: Any, spec: PartitionSpec) -> Any:
        parts = math.prod(mesh.shape[name] for name in _unnamed(spec, axes))
        return y_bar if checked or parts == 1 else y_bar / parts

    def _total(x_bar: Any, spec: PartitionSpec) -> Any:
        names = _unnamed(spec, axes)
        return x_bar if checked or not names else lax.psum(x_bar, names)

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        ys, extras = run(*xs)
        return ys, (only(xs, reads), extras)

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        xs, extras = stash
        held = [(x, spec) for x, spec, one in zip(xs, in_specs, reads, strict=True) if one]
        bars = [(bar, spec) for bar, spec in zip(y_bars, out_specs, strict=True) if bar is not None]
        specs = ([spec for _, spec in held], aside, [spec for _, spec in bars])
        to = [spec for spec, one in zip(in_specs, staged.gives, strict=True) if one]
        run_back = on_devices(back, in_specs=specs, out_specs=to)
        x_bars = iter(run_back([x for x, _ in held], extras, [bar for bar, _ in bars]))
        return [next(x_bars) if one else None for one in staged.gives]

    return Pullback(staged.gives, backward, forward=forward)


def _unnamed(spec: PartitionSpec, axes: Collection[str]) -> tuple[str, ...]:
    """The mesh axes over which an array of this specification is the same everywhere."""
    named = {
        name for part in spec if part is not None for name in (part if isinstance(part, tuple) else (part,))
    }
    return tuple(sorted(set(axes) - named))
