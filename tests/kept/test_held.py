"""What XLA's program holds: small programs by hand, and the sum beside XLA's own for whole ones."""

import jax
import jax.numpy as jnp
import pytest

import funcnet
from funcnet.kept.held import BACK, FORWARD, OWN, held
from tests.backprop.programs import PROGRAMS
from tests.benchmarks.bench_stash import grown

HEAD = "HloModule written, is_scheduled=true\n\n"
NAMED = 'metadata={op_name="jit(f)/the forward pass/%s"}'

CHAIN = """
ENTRY %main (x: f32[4,4]) -> f32[] {
  %x = f32[4,4]{1,0} parameter(0)
  %a = f32[4,4]{1,0} dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %b = f32[4,4]{1,0} dot(%a, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %c = f32[2,2]{1,0} slice(%b), slice={[0:2], [0:2]}
  ROOT %d = f32[] reduce(%c), to_apply=%sum
}
"""

IN_PLACE = """
%fused (p: f32[4,4], q: f32[4]) -> f32[4,4] {
  %p = f32[4,4]{1,0} parameter(0)
  %q = f32[4]{0} parameter(1)
  %s = f32[4,4]{1,0} broadcast(%q), dimensions={1}
  ROOT %t = f32[4,4]{1,0} multiply(%p, %s)
}

ENTRY %main (x: f32[4,4], y: f32[4]) -> f32[] {
  %x = f32[4,4]{1,0} parameter(0)
  %y = f32[4]{0} parameter(1)
  %a = f32[4,4]{1,0} dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %b = f32[4,4]{1,0} fusion(%a, %y), kind=kLoop, calls=%fused
  ROOT %d = f32[] reduce(%b), to_apply=%sum
}
"""

LOOP = """
%body (c: (s32[], f32[4,4], f32[9,4,4])) -> (s32[], f32[4,4], f32[9,4,4]) {
  %c = (s32[], f32[4,4]{1,0}, /*index=2*/f32[9,4,4]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %h = f32[4,4]{1,0} get-tuple-element(%c), index=1
  %all = f32[9,4,4]{2,1,0} get-tuple-element(%c), index=2
  %g = f32[4,4]{1,0} dot(%h, %h), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %next = f32[4,4]{1,0} dot(%g, %h), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %row = f32[1,4,4]{2,1,0} bitcast(%next)
  %more = f32[9,4,4]{2,1,0} dynamic-update-slice(%all, %row, %i, %i, %i)
  %one = s32[] constant(1)
  %j = s32[] add(%i, %one)
  ROOT %t = (s32[], f32[4,4]{1,0}, f32[9,4,4]{2,1,0}) tuple(%j, %next, %more)
}

ENTRY %main (x: f32[4,4]) -> f32[] {
  %x = f32[4,4]{1,0} parameter(0)
  %n = s32[] constant(0)
  %zero = f32[] constant(0)
  %k = s32[] copy(%n)
  %h = f32[4,4]{1,0} copy(%x)
  %space = f32[9,4,4]{2,1,0} broadcast(%zero), dimensions={}
  %start = (s32[], f32[4,4]{1,0}, f32[9,4,4]{2,1,0}) tuple(%k, %h, %space)
  %w = (s32[], f32[4,4]{1,0}, f32[9,4,4]{2,1,0}) while(%start), condition=%not_yet, body=%body, WHILE
  %all = f32[9,4,4]{2,1,0} get-tuple-element(%w), index=2
  ROOT %d = f32[] reduce(%all), to_apply=%sum
}

%not_yet (c: (s32[], f32[4,4], f32[9,4,4])) -> pred[] {
  %c = (s32[], f32[4,4]{1,0}, f32[9,4,4]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  ROOT %p = pred[] compare(%i, %i), direction=LT
}
""".replace("WHILE", NAMED % "while")

SQUARE = 4 * 4 * 4


@pytest.mark.parametrize(
    ("program", "bytes_"),
    [
        pytest.param(CHAIN, 2 * SQUARE, id="a and b, as b is made"),
        pytest.param(IN_PLACE, SQUARE, id="b takes the place of a"),
        pytest.param(LOOP, 4 + 9 * SQUARE + 2 * SQUARE, id="what is carried once, and g within a step"),
    ],
)
def test_by_hand(program, bytes_):
    assert sum(one.bytes for one in held(HEAD + program)) == bytes_


def test_a_loop_writes_into_what_was_there_for_it():
    (largest, *_) = held(HEAD + LOOP)
    assert (largest.array, largest.operation, largest.of) == ("f32[9,4,4]", "while", FORWARD)


@pytest.mark.in_turns(8)
@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_the_sum_is_what_xla_takes(program):
    """Buffers in steps of loops may share places in ways that are not told: up to 2.2 % (remat)."""
    stash = funcnet.stash(program.function)(*grown(program))
    assert sum(one.bytes for one in stash.held) == pytest.approx(stash.temporary, rel=0.03)


def test_what_is_kept_is_of_the_forward_pass():
    """h, which tanh reads, its cotangent on the way back, and nothing else; the batch is large."""
    x, w = jax.ShapeDtypeStruct((4096, 16), jnp.float32), jax.ShapeDtypeStruct((16, 16), jnp.float32)
    stash = funcnet.stash(lambda w, x: jnp.sum(jnp.tanh(jnp.tanh(x @ w) @ w)))(w, x)
    of = {of: sum(one.bytes for one in stash.held if one.of == of) for of in (FORWARD, BACK, OWN)}
    assert of[FORWARD] + of[BACK] == pytest.approx(stash.temporary, rel=0.01)
    assert stash.bytes == pytest.approx(2 * 4 * 4096 * 16, rel=0.01)
    assert f"when it holds most, {of[FORWARD] / 1000:.0f} kB of the forward pass, " in str(stash)
