"""What a delivery costs, step by step: the stacks of a flame graph, summed by the step that they are in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.flame_svg import Stacks

BEGIN, END = "<!-- steps -->", "<!-- /steps -->"


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a message's way. A stack is of the first step one of whose `frames` stands in it, by how they begin."""

    what: str
    how_often: str
    frames: tuple[str, ...]


# The innermost first: a write is a write, whoever has asked for it.
STEPS = (
    Step(
        "the kernel's `write()`, on loopback with the receiver's side",
        "a member and write",
        ("write (libc", "writev ("),
    ),
    Step("uvloop's transport", "a member and write", ("write (loop.c)", "writelines (loop.c)", "UVStream")),
    Step("going through the members, and their outbound queues", "a member and write", ("_write", "Outbound.")),
    Step("one frame for all", "a message, room and form", ("_frames_by_room",)),
    Step("choosing rooms and members", "a read of the feed", ("Fanout.", "Backlog.")),
    Step("reading the message's place", "a message", ("decode_",)),
    Step("order, and the ends kept in memory", "a message", ("SequenceFeed.", "LiveFeed.", "OrgFeed.", "Ring.")),
    Step(
        "Redis' protocol, and whom the message is for",
        "a read of the feed",
        ("Link.", "Switch.", "Reader_", "read (libc"),
    ),
    Step("waiting for the network", "a turn of the loop", ("epoll_",)),
    Step("all else: the loop, timers, other tasks", "a turn of the loop", ("",)),
)


def shares(stacks: Stacks, steps: Sequence[Step] = STEPS) -> Mapping[Step, float]:
    """Return which part of the looks each step has; they add up to 1. The last step takes what no other does."""
    counts = dict.fromkeys(steps, 0)
    for stack, count in stacks.items():
        counts[_step_of(stack, steps)] += count
    total = max(1, sum(counts.values()))
    return {step: count / total for step, count in counts.items()}


def table(by_load: Mapping[str, Stacks]) -> str:
    """Return the Markdown of the shares, a column for each load."""
    columns = {load: shares(stacks) for load, stacks in by_load.items()}
    head = f"| step | once for | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}\n"
    rows = [
        f"| {step.what} | {step.how_often} | {' | '.join(f'{column[step]:.1%}' for column in columns.values())} |"
        for step in STEPS
    ]
    return head + "\n".join(rows) + "\n"


def _step_of(stack: tuple[str, ...], steps: Sequence[Step]) -> Step:
    return next((step for step in steps[:-1] if any(frame.startswith(step.frames) for frame in stack)), steps[-1])
