"""The background tasks of one owner end with it."""

import asyncio

from rooms.tasks import Tasks


async def test_close_ends_what_runs_and_what_that_begins():
    """Also what a task begins while it is ended; what has ended in this very turn is nothing to wait for."""
    tasks = Tasks()
    ended: list[str] = []

    async def run(name: str, then: str = "") -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)
            if then:
                tasks.spawn(run(then))

    tasks.spawn(asyncio.sleep(0))
    tasks.spawn(run("first", then="second"))
    tasks.spawn(asyncio.sleep(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await tasks.close()
    assert ended[0] == "first"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_close_does_not_spin_on_what_has_just_ended():
    """A task that is done is told off in the next turn of the loop, which a close that never yields would keep from coming."""
    tasks = Tasks()
    ending = tasks.spawn(nothing())
    await asyncio.sleep(0)
    assert ending.done()
    await tasks.close()


async def test_nothing_begins_after_the_close():
    """What it would use may be closed as well."""
    tasks = Tasks()
    await tasks.close()
    begun: list[bool] = []

    async def begin() -> None:
        begun.append(True)

    task = tasks.spawn(begin())
    await asyncio.wait({task})
    assert task.cancelled()
    assert not begun


async def nothing() -> None:
    """End at once."""
