"""What a node knows of namespaces, and the rules that come of settings. No I/O."""

import random
import time
from uuid import UUID, uuid4

import pytest

from core.errors import HubError
from handlers.namespaces.checking import check
from rooms.live_rules import DAY, LIVE, LOG_WILDCARDS, TELEMETRY
from rooms.namespace_rules import RESERVED, may_be_made, ruled, settings_of, tables_of
from rooms.namespaces import Namespaces

ORG, OTHER = uuid4(), uuid4()


def codes(error: HubError) -> list[tuple[str, str]]:
    return [(each.field, each.code) for each in error.details]


class TestTable:
    """Whose rules hold."""

    def test_what_is_set_for_one_organisation_holds_for_no_other(self):
        table = Namespaces()
        heard: list[object] = []
        table.when_changed(heard.append)
        table.settle(
            ORG, *tables_of(table.base, table.log, {"chat": {"presence": False}, "agents": {"wildcard": False}})
        )
        assert heard == [ORG]
        assert (table.has_presence(ORG, "chat:a"), table.has_presence(OTHER, "chat:a")) == (False, True)
        assert (table.may_wildcard(ORG, "agents"), table.may_wildcard(OTHER, "agents")) == (False, True)
        table.settle(ORG, None)
        assert table.has_presence(ORG, "chat:a")
        assert table.may_wildcard(ORG, "agents")

    def test_channels_of_an_own_namespace_are_there_for_its_organisation(self):
        table = Namespaces()
        table.settle(ORG, *tables_of(table.base, table.log, {"prices": {"delivery": "latest", "key": "symbol"}}))
        rules = table.channel(ORG, "prices:nyse").live
        assert rules is not None
        assert (rules.delivery, rules.key, rules.is_own, rules.kind) == ("latest", "symbol", True, "prices")
        for org_id, name in ((OTHER, "prices:nyse"), (ORG, "prices:a b"), (ORG, "prices:"), (ORG, "price:nyse")):
            with pytest.raises(HubError, match="CHANNEL_NOT_FOUND"):
                table.channel(org_id, name)

    def test_a_wildcard_that_is_not_allowed_is_refused(self):
        table = Namespaces()
        assert table.channel(ORG, "agents:*").namespace == "agents"
        table.settle(ORG, *tables_of(table.base, table.log, {"agents": {"wildcard": False}}))
        with pytest.raises(HubError, match="FORBIDDEN"):
            table.channel(ORG, "agents:*")
        assert table.channel(ORG, "agents").name == "agents"
        assert table.channel(ORG, "twins:*").namespace == "twins"
        assert table.channel(OTHER, "agents:*").namespace == "agents"

    def test_there_is_no_presence_and_no_wildcard_of_what_is_not_there(self):
        table = Namespaces()
        assert not table.has_presence(ORG, "nothing:a")
        assert not table.has_presence(ORG, "agents")
        assert not table.may_wildcard(ORG, "nothing")
        assert not table.may_wildcard(ORG, "chat")

    def test_a_look_costs_a_dictionarys(self):
        """Settings of 10,000 organisations make no look slower: it takes under a microsecond or two, as it did."""
        table = Namespaces()
        organisations = [uuid4() for _ in range(10_000)]
        for org_id in organisations:
            table.settle(org_id, *tables_of(table.base, table.log, {"chat": {"history_entries": 7}}))
        rng = random.Random(7)
        looked = [(rng.choice(organisations), f"chat:{number}") for number in range(20_000)]

        def took(org_ids: list[tuple[UUID, str]]) -> float:
            began = time.thread_time()
            for org_id, channel in org_ids:
                table.rules_of(org_id, channel)
            return (time.thread_time() - began) / len(org_ids)

        plain = min(took([(ORG, channel) for _, channel in looked]) for _ in range(5))
        settled = min(took(list(looked)) for _ in range(5))
        print(
            f"a look: {plain * 1e9:.0f} ns without settings, {settled * 1e9:.0f} ns with those of 10,000 organisations"
        )
        assert settled < 10e-6


class TestRules:
    """What comes of settings."""

    def test_nothing_set_changes_nothing(self):
        for rules in LIVE.values():
            assert ruled(rules, {}) == rules
            assert ruled(rules, settings_of(rules)) == rules

    def test_offsets_outlive_the_history(self):
        assert ruled(LIVE["runs"], {"history_seconds": 5 * DAY}).remembered == 5 * DAY

    def test_what_a_later_release_has_set_is_passed_over(self):
        assert ruled(LIVE["chat"], {"colour": "red", "history_entries": 3}).history_entries == 3

    @pytest.mark.parametrize(
        ("namespace", "settings"),
        [
            ("runs", {"publish_scope": "write:streams"}),
            ("sessions", {"message_bytes": 1}),
            ("users", {"read_scope": "read:streams"}),
            ("users", {"delivery": "latest"}),
            ("chat", {"delivery": "latest"}),
            (TELEMETRY, {"key": "a"}),
            ("agents", {"history_entries": 5}),
        ],
        ids=lambda value: value if isinstance(value, str) else next(iter(value)),
    )
    def test_what_is_fixed_is_refused_by_name(self, namespace: str, settings: dict[str, object]):
        with pytest.raises(HubError) as refused:
            check(namespace, LIVE.get(namespace), settings)
        assert codes(refused.value) == [(next(iter(settings)), "NOT_CHANGEABLE")]

    def test_names_of_the_hub_are_nobodys(self):
        """Whatever is a namespace already, or what events of the hub are called by."""
        assert {*LIVE, *LOG_WILDCARDS} <= RESERVED
        for name in (
            "chat",
            "agents",
            "agent",
            "telemetry",
            "subscriptions",
            "A",
            "a",
            "9a",
            "a" * 33,
            "a/b",
            "ab\n",
            "",
        ):
            assert not may_be_made(name)
        for name in ("prices", "ab", "a-b_9", "a" * 32):
            assert may_be_made(name)
