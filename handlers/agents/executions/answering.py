"""Bringing what an execution waits for. When nothing is missing any more it goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from core.errors import Detail, HubError
from core.jobs.jobs import Jobs
from core.operations.context import Context
from core.operations.results import Document
from handlers.agents.executions.ending import KIND
from handlers.agents.executions.models import AnswerCalls, CallAnswer
from handlers.agents.executions.store import SQL, document, find
from handlers.agents.tools.tool import LONGEST_OUTPUT

_REFUSED = "A person has said no to this call"


class Answering:
    """Takes answers, in the transaction of an operation."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def answer(self, ctx: Context, brought: AnswerCalls) -> Document:
        """Take answers; each call that is waited for is answered once. Returns the execution.

        Raises HubError: RESOURCE_CONFLICT where it waits for nothing, VALIDATION_ERROR for an answer that fits no call.
        """
        held = await find(ctx.db, ctx.caller, brought.id, hold=True)
        if held["status"] != "requires_action":
            raise HubError("RESOURCE_CONFLICT", f"The execution is {held['status']}; it waits for nothing")
        calls: dict[str, Any] = {each["call_id"]: each for each in orjson.loads(held["action"])["calls"]}
        wrong = list(_problems(brought.results, calls))
        if wrong:
            raise HubError("VALIDATION_ERROR", details=wrong)
        steps = {each["call_id"]: each for each in await ctx.db.fetch(SQL["waiting_steps"], held["id"])}
        for each in brought.results:
            await self._take(ctx, held, steps[each.call_id]["ordinal"], each)
            del calls[each.call_id]
        return document(await self._go_on(ctx, held, list(calls.values())))

    async def _go_on(self, ctx: Context, held: Any, left: Sequence[Any]) -> Any:
        if left:
            return await ctx.db.fetchrow(SQL["ask_less"], held["id"], orjson.dumps({"calls": left}).decode())
        row = await ctx.db.fetchrow(SQL["resume"], held["id"])
        key = str(held["id"])
        await self._jobs.enqueue(ctx.db, ctx.caller.org_id, KIND, {"execution": key}, key=key)
        ctx.after_commit(self._jobs.poke)
        return row

    async def _take(self, ctx: Context, held: Any, ordinal: int, answer: CallAnswer) -> None:
        if answer.approved:
            await ctx.db.fetchrow(SQL["approve_step"], held["id"], ordinal)
            return
        error = _REFUSED if answer.approved is False else answer.error
        told = None if error is None else orjson.dumps({"code": "TOOL_FAILED", "message": error}).decode()
        output = None if told is not None else _text(answer.output)
        status = "completed" if told is None else "failed"
        await ctx.db.fetchrow(SQL["answer_step"], held["id"], ordinal, status, output, told, "[]", ctx.now)


def _problems(results: Sequence[CallAnswer], calls: Mapping[str, Any]) -> Sequence[Detail]:
    wrong: list[Detail] = []
    seen: set[str] = set()
    for number, each in enumerate(results):
        place = f"results[{number}]"
        call = calls.get(each.call_id)
        if call is None or each.call_id in seen:
            wrong.append(Detail(f"{place}.call_id", "INVALID_FORMAT", "The execution waits for no such call"))
            continue
        seen.add(each.call_id)
        given = each.model_fields_set - {"call_id"}
        if call["needs"] == "approval" and given != {"approved"}:
            wrong.append(Detail(place, "INVALID_FORMAT", "This call waits for `approved`, true or false"))
        elif call["needs"] == "result" and (len(given) != 1 or "approved" in given):
            wrong.append(Detail(place, "INVALID_FORMAT", "This call waits for its `output`, or an `error`"))
        elif len(_text(each.output)) > LONGEST_OUTPUT:
            most = f"An output has at most {LONGEST_OUTPUT} characters"
            wrong.append(Detail(f"{place}.output", "VALUE_OUT_OF_RANGE", most))
    return wrong


def _text(output: Any) -> str:
    text = output if isinstance(output, str) else orjson.dumps(output).decode()
    return text.replace("\x00", "")
