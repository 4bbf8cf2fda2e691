"""What a schedule holds at each of its steps, value by value.

The recurrence counts what lies across a boundary as held until all stages behind it are walked back. A skip
is not held so long: once the first stage that reads it there is walked back, nobody needs it before its own
stage has run again. So the tightest schedule of a net with skips takes less than its limit.
"""

from collections.abc import Iterator

from funcnet import _jax
from funcnet.backprop.budget.chain import Again, Chain, Schedule
from funcnet.backprop.budget.facts import total


def fullest(chain: Chain, schedule: Schedule) -> tuple[int, int, int]:
    """When a schedule holds most: how many bytes, and from which stage up to which it is then."""
    return max(_moments(chain, schedule, 0, frozenset(), 0))


def _moments(
    chain: Chain, schedule: Schedule, s: int, held: frozenset[_jax.Var], beside: int
) -> Iterator[tuple[int, int, int]]:
    """At each step of a schedule from stage s on, forward and back: bytes, and the stages.

    Args:
        chain: the chain.
        schedule: the schedule.
        s: its first stage.
        held: values that are held for what is walked back later.
        beside: bytes of what is held and is no value.
    """
    end = s + sum(part.stages for part in schedule)
    bars = chain.cotangents[end]
    back = []
    for part in schedule:
        r = s + part.stages
        back.append((part, s, r, held, beside))
        if isinstance(part, Again):
            for i in range(s, r):
                yield beside + total(held | chain.read_in(i, end)) + chain.stages[i].ahead + bars, i, i + 1
            held |= chain.read_in(s, r)
        else:
            yield beside + total(held | chain.read_in(s, end)) + part.ahead + bars, s, r
            held, beside = held | part.stash, beside + part.beside
        s = r
    for part, s, r, held, beside in reversed(back):
        if isinstance(part, Again):
            yield from _moments(chain, part.parts, s, held, beside)
        else:
            yield beside + total(held | (part.stash & chain.read_in(s, r))) + part.back, s, r
