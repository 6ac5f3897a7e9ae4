"""Whoever executes an agent reads its bases and asks its agents: so who names them must be able to do that."""

from dataclasses import replace

import pytest

from core.ids import new_id
from tests.handlers.house import House, refused


async def test_bases_are_named_by_who_may_read_them(house: House):
    """With the scope, and within what a restricted credential is for."""
    base = await house.create("knowledge", name="Docs")
    blind = replace(house.caller, scopes=house.caller.scopes - {"read:knowledge"})
    error = await refused(house.run("agents.create", blind, name="Ada", knowledge=[str(base.id)]))
    assert error.code == "INSUFFICIENT_SCOPE"
    agent = await house.run("agents.create", blind, name="Ada")
    change = {"id": str(agent.id), "if_match": None, "body": {"knowledge": [str(base.id)]}}
    assert (await refused(house.run("agents.update", blind, **change))).code == "INSUFFICIENT_SCOPE"
    assert (await refused(house.run("agents.update", house.caller_for(agent.id), **change))).code == "FORBIDDEN"
    await house.run("agents.update", house.caller_for(agent.id, base.id), **change)
    # What an agent has already, others may leave to it.
    renamed = {**change, "body": {"name": "Grace"}}
    await house.run("agents.update", house.caller_for(agent.id), **renamed)
    await house.run("agents.update", blind, **renamed)


@pytest.mark.parametrize("named", [["no id"], "none", [7]], ids=["no id", "no list", "no text"])
async def test_delegates_are_named_by_who_may_touch_them(house: House, named: object):
    """What is no id of an agent is none that anybody gets."""
    agent = await house.create("agents", name="Ada")
    caller = house.caller_for(agent.id)
    change = {"id": str(agent.id), "if_match": None, "body": {"config": {"agents": [str(new_id())]}}}
    assert (await refused(house.run("agents.update", caller, **change))).code == "FORBIDDEN"
    await house.run("agents.update", caller, **{**change, "body": {"config": {"agents": named}}})
