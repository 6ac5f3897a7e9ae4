"""Which channels there are, and who may join them."""

from uuid import UUID, uuid4

import pytest

from core.auth.caller import Caller
from core.errors import HubError
from rooms.names import Channel, may_join, parse_channel

ONE = UUID("0192f0c1-aaaa-7bbb-8ccc-0123456789ab")
OTHER = uuid4()


def caller(*scopes: str, only: frozenset[object] | None = None) -> Caller:
    return Caller(uuid4(), "key:k", frozenset(scopes), "pro", only)  # pyright: ignore[reportArgumentType] - UUIDs


class TestParse:
    """A name is taken apart, or there is no such channel."""

    @pytest.mark.parametrize("namespace", ["agents", "knowledge", "twins"])
    def test_channel_of_a_kind_and_of_one_resource(self, namespace: str):
        assert parse_channel(namespace) == Channel(namespace, namespace, None)
        name = f"{namespace}:{ONE}"
        assert parse_channel(name) == Channel(name, namespace, ONE)

    @pytest.mark.parametrize("subject", ["order-17", "a", "x" * 128, "a.b:c@d_e-F", str(ONE)])
    def test_channel_of_an_applications_subject(self, subject: str):
        assert parse_channel(f"events:{subject}") == Channel(f"events:{subject}", "events", None)
        assert parse_channel("events") == Channel("events", "events", None)

    @pytest.mark.parametrize("namespace", ["agents", "knowledge", "twins", "events"])
    def test_star_stands_for_all_channels_of_a_kind(self, namespace: str):
        assert parse_channel(f"{namespace}:*") == Channel(f"{namespace}:*", namespace, None, prefix=f"{namespace}:")

    def test_star_may_follow_the_beginning_of_a_subject(self):
        assert parse_channel("events:order-*") == Channel("events:order-*", "events", None, prefix="events:order-")

    @pytest.mark.parametrize(
        "name",
        [
            *(
                "events:",
                "events:a/b",
                "events: a",
                "events:" + "x" * 129,
                "events:**",
                "events:a*b",
                "events:/*",
                "*",
                "agents*",
                "events:\x00",
                "event:a",
            ),
            *(
                "",
                ":",
                "agent",
                "Agents",
                "agents\x00",
                "agents:",
                "agents:x",
                "agents:x*",
                "chat:*",
                "runs:*",
                "feed:{x}",
                f"feeds:{ONE}",
            ),
            *(
                f"agents:{str(ONE).upper()}",
                f"agents:{ONE.hex}",
                f"agents:{ONE} ",
                f"agents:{{{ONE}}}",
                f"agents::{ONE}",
            ),
            *(f"agents:{ONE}:x", "agents:" + "-" * 36, "agents:" + "0" * 36),
        ],
    )
    def test_other_name_is_not_found(self, name: str):
        """Another spelling of an id is another name, and names nothing."""
        with pytest.raises(HubError) as refused:
            parse_channel(name)
        assert refused.value.code == "CHANNEL_NOT_FOUND"


class TestJoin:
    """Joining takes the read scope, and of a restricted caller the resource's own channel."""

    def test_read_scope_is_enough(self):
        may_join(caller("read:agents"), parse_channel("agents"))
        may_join(caller("read:agents"), parse_channel(f"agents:{ONE}"))

    def test_events_of_applications_take_their_own_scope(self):
        may_join(caller("read:events"), parse_channel("events"))
        with pytest.raises(HubError) as refused:
            may_join(caller("read:agents", "write:events"), parse_channel("events:order-17"))
        assert refused.value.code == "INSUFFICIENT_SCOPE"

    @pytest.mark.parametrize("scopes", [(), ("write:agents",), ("read:twins", "hub:admin")])
    def test_without_it_the_scope_is_named(self, scopes: tuple[str, ...]):
        with pytest.raises(HubError) as refused:
            may_join(caller(*scopes), parse_channel("agents"))
        assert refused.value.code == "INSUFFICIENT_SCOPE"
        assert "read:agents" in refused.value.text

    def test_restricted_caller_joins_its_own_resources_only(self):
        """A subject is no resource, also where it is called as one."""
        restricted = caller("read:agents", "read:events", only=frozenset({ONE}))
        may_join(restricted, parse_channel(f"agents:{ONE}"))
        may_join(restricted, parse_channel("agents:*"))  # and gets its own
        for name in ("agents", f"agents:{OTHER}", "events", f"events:{ONE}", "events:*"):
            with pytest.raises(HubError) as refused:
                may_join(restricted, parse_channel(name))
            assert refused.value.code == "FORBIDDEN"
