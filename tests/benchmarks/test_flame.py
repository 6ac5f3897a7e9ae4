"""The flame graph: shares are kept, what is drawn is well-formed, and nothing tells of the machine that it was made on."""

from xml.etree import ElementTree

from benchmarks import flame_rest
from benchmarks.flame_steps import STEPS, shares, table
from benchmarks.flame_svg import LEAST, WIDTH, drawn, read_stacks, shown
from benchmarks.generator import Answers

RAW = """\
main (/home/me/hub/__main__.py:3);0x7f00 (libc.so.6);uv_run (core.c:1);send (/home/me/hub/stream/fanout.py:7);write (libc.so.6) 70
main (/home/me/hub/__main__.py:3);uv_run (core.c:1);send (/home/me/hub/stream/fanout.py:9);write (libc.so.6) 10
main (/home/me/hub/__main__.py:3);uv_run (core.c:2);Py_DECREF (object.h:4);<lambda> (/opt/lib/python3/json/a&b.py:1) 20
run (/usr/lib/python3/threading.py:1);wait (libc.so.6) 500
"""
SVG = "{http://www.w3.org/2000/svg}"


def test_stacks_begin_at_the_loop_and_differ_by_function():
    """Other threads are left out, and so are lines, and what has no name."""
    assert read_stacks(RAW) == {
        ("uv_run (core.c)", "send (hub/stream/fanout.py)", "write (libc.so.6)"): 80,
        ("uv_run (core.c)", "<lambda> (a&b.py)"): 20,
    }


def test_steps_add_up_and_a_write_is_the_kernels():
    """Whoever asked for it; what belongs to no step is the rest."""
    found = {step.what: share for step, share in shares(read_stacks(RAW)).items() if share}
    assert found == {STEPS[0].what: 0.8, STEPS[-1].what: 0.2}
    assert table({"a load": read_stacks(RAW)}).count("| 0.0% |") == len(STEPS) - 2


def test_cost_of_a_request_is_told_by_step():
    """SQL is no part of the common path; what belongs to no step is."""
    answers = Answers(requests=1000, seconds=1.0, cpu_seconds=0.1, p50_us=1, p99_us=1)
    stacks = {
        ("uv_run (core.c)", "LookUps.row (core/store/reads.py)", "write (libc.so.6)"): 30,
        ("uv_run (core.c)",): 70,
    }
    said = flame_rest.table(answers, stacks)
    assert "| **the common path** | a request | **70.0** |" in said
    assert "| the whole | a request | 100.0 |" in said
    assert "| all else: the loop, timers, other tasks | a turn of the loop | 70.0 |" in said


def test_paths_are_those_of_the_repository_or_none():
    """Whatever stands before them."""
    assert shown("f (/x/y/core/store/pubsub_link.py:12)") == "f (core/store/pubsub_link.py)"
    assert shown("f (rooms/live.py:12)") == "f (rooms/live.py)"
    assert shown("f (/usr/lib/python3.11/asyncio/events.py)") == "f (events.py)"
    assert shown("/usr/bin/python") == "python"


def test_drawing_is_as_wide_as_what_was_seen():
    """Each level adds up to its share, no box leaves the one below it, and there is no path in it."""
    picture = drawn(read_stacks(RAW), "a <title>")
    assert "/home" not in picture
    assert "/opt" not in picture
    root = ElementTree.fromstring(picture)  # noqa: S314 - made here
    boxes = [
        (group.findtext(f"{SVG}title"), rect)
        for group in root.iter(f"{SVG}g")
        if (rect := group.find(f"{SVG}rect")) is not None
    ]
    wide = {title: float(rect.get("width", "0")) + 0.5 for title, rect in boxes}
    assert wide["uv_run (core.c): 100.0%"] == WIDTH
    assert wide["send (hub/stream/fanout.py): 80.0%"] == wide["write (libc.so.6): 80.0%"] == WIDTH * 0.8
    assert wide["<lambda> (a&b.py): 20.0%"] == WIDTH * 0.2


def test_what_nobody_could_point_at_is_left_out():
    """A box of less than some pixels."""
    many = {("uv_run (core.c)", "often"): 10_000, ("uv_run (core.c)", "once"): 1}
    assert LEAST > WIDTH / 10_001
    assert "once" not in drawn(many, "")
    assert "often" in drawn(many, "")
