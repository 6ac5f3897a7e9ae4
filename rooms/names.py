"""Names of channels, and who may join them.

    agents            everything that happens to agents of the organisation
    agents:<uuid>     what happens to one of them
    events            what applications append to the log,
    events:<subject>  and of that, what is about one subject
    runs:<uuid>       live rooms (rooms/live_rules.py): what a run writes, a session's turns,
    sessions:<uuid>
    simulations:<uuid>      how far a simulation is
    twins:<uuid>/telemetry  what a twin measures,
    chat:<name>       what people say to each other; so in namespaces of the organisation's own (rooms/namespaces.py),
    users:<subject>   and what is for one person
    agents:*, events:<prefix>*  all channels of the log that begin so (rooms/wildcards.py)
    subscriptions:<uuid>    a durable subscription, of which each member gets its share (docs/subscriptions.md)

A channel has one name: the id stands in it as REST answers it, in lower case with hyphens.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from core.auth.caller import Caller
from core.errors import HubError
from core.events.event import APPLICATION_NAMESPACE, APPLICATION_SUBJECT, namespace_of
from core.ids import parse_id
from rooms.live_rules import LIVE, LiveRules
from rooms.sanctions import NONE, Held, Kind
from rooms.wildcards import STAR, is_wildcard

# Each is a kind of resource, whose changes are in the log; joining takes the resource's read scope.
LOG_NAMESPACES = frozenset({"agents", "knowledge", "twins", APPLICATION_NAMESPACE})
# Its members consume: nothing is fanned out to them.
CONSUMED = "subscriptions"
_NAME = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
# As of `sub` in a token.
_LONGEST_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel by its parts; `resource_id` is None of the channel that holds all of a kind, and where a name is no id.

    `live` are the rules of a live room, None of a channel of the log; `sanctions` what is held there against whom.
    `prefix` is what the names of the channels begin with that it stands for; None of one that stands for itself.
    """

    name: str
    namespace: str
    resource_id: UUID | None
    live: LiveRules | None = field(default=None, compare=False)
    sanctions: Mapping[str, Held] = field(default_factory=lambda: NONE, compare=False)
    prefix: str | None = None


def parse_channel(name: str, live: Mapping[str, LiveRules] = LIVE, sanctions: Mapping[str, Held] = NONE) -> Channel:
    """Take a name apart. Raises HubError CHANNEL_NOT_FOUND where no channel has it.

    Doors ask rooms.namespaces.Namespaces.channel, which knows what goes in an organisation.
    """
    namespace = namespace_of(name)
    _, colon, rest = name.partition(":")
    rules = live.get(namespace)
    if rules is None and namespace not in LOG_NAMESPACES and namespace != CONSUMED:
        raise HubError("CHANNEL_NOT_FOUND")
    if rules is not None and rules.names != "id":
        return _named(name, rules, rest, sanctions)
    if not colon and namespace in LOG_NAMESPACES:
        return Channel(name, namespace, None)
    if is_wildcard(name):
        return _of_many(name, namespace, rest.removesuffix(STAR))
    if namespace == APPLICATION_NAMESPACE:
        return _of_subject(name, rest)
    if rules is not None and rules.part:
        rest = rest.removesuffix(f"/{rules.part}")
    resource_id = parse_id(rest)
    # Other spellings of the id would be a second name: its events would carry a channel that the client never asked for.
    if resource_id is None or str(resource_id) != rest:
        raise HubError(
            "CHANNEL_NOT_FOUND", f"There is no such channel: after {name.partition(':')[0]}: comes an id, in lower case"
        )
    return Channel(name, namespace, resource_id, rules)


def may_join(caller: Caller, channel: Channel, *, has_beginning: bool = False) -> None:
    """Return when `caller` may join; the organisation is the caller's own, so it is not asked here.

    Of a room that has a beginning (rooms/beginnings.py) it is asked there whether the caller may touch what it tells of.

    Raises HubError INSUFFICIENT_SCOPE without the read scope, and FORBIDDEN where the caller is restricted to other resources:
    such a caller may join the channels of its resources, never a channel that holds all of a kind, of an application's subject,
    nor a chat; of a channel that stands for several it gets its own. A person's room is for that person alone. A subscription is of
    the whole organisation, and who consumes it does what a pull does. Who is banned hears BANNED.
    """
    if channel.namespace == "users":
        if channel.name != own_room(caller):
            raise HubError("FORBIDDEN", "The room of a person is for that person alone")
        return
    if channel.namespace == CONSUMED:
        _may_consume(caller)
        return
    rules = channel.live
    _check_scope(caller, f"read:{channel.namespace}" if rules is None else rules.read_scope)
    if channel.prefix is not None:
        _may_join_many(caller, channel)
    elif not has_beginning:
        _check_resource(caller, channel, "join")
    _check_sanctions(caller, channel, "ban")


def may_publish(caller: Caller, channel: Channel) -> None:
    """Return when `caller` may publish into the channel.

    Raises HubError FORBIDDEN where only the hub does, MUTED where the caller is, and as may_join.
    """
    rules = channel.live
    if rules is None or rules.publish_scope is None:
        raise HubError("FORBIDDEN", f"Only the hub itself publishes into channels of {channel.namespace}")
    _check_scope(caller, rules.publish_scope)
    _check_resource(caller, channel, "publish into")
    _check_sanctions(caller, channel, "ban", "mute")


def is_of_log(channel: str) -> bool:
    """Tell whether a name is of a channel of the log, if it is of any."""
    return namespace_of(channel) in LOG_NAMESPACES


def is_consumed(channel: str) -> bool:
    """Tell whether this names a durable subscription."""
    return channel.startswith(f"{CONSUMED}:")


def own_room(caller: Caller) -> str:
    """Name the room of the caller's subject."""
    return f"users:{caller.subject}"


def _of_subject(name: str, subject: str) -> Channel:
    if APPLICATION_SUBJECT.fullmatch(subject) is None:
        raise HubError("CHANNEL_NOT_FOUND", "There is no such channel: after events: comes an application's subject")
    return Channel(name, APPLICATION_NAMESPACE, None)


def _of_many(name: str, namespace: str, prefix: str) -> Channel:
    if prefix and (namespace != APPLICATION_NAMESPACE or APPLICATION_SUBJECT.fullmatch(prefix) is None):
        raise HubError("CHANNEL_NOT_FOUND", "There is no such channel: only of events the star may follow something")
    return Channel(name, namespace, None, prefix=f"{namespace}:{prefix}")


def _may_join_many(caller: Caller, channel: Channel) -> None:
    if caller.resource_ids is not None and channel.namespace == APPLICATION_NAMESPACE:
        raise HubError("FORBIDDEN", "The credential may join only the channels of its own resources")


def _named(name: str, rules: LiveRules, rest: str, sanctions: Mapping[str, Held]) -> Channel:
    if rest.endswith(STAR) and rules.names == "name":
        raise HubError("CHANNEL_NOT_FOUND", "There is no such channel: live rooms are joined one by one")
    if rules.names == "subject":
        is_good = 0 < len(rest) <= _LONGEST_SUBJECT and rest.isprintable()
    else:
        is_good = _NAME.fullmatch(rest) is not None
    if not is_good:
        allowed = "a subject" if rules.names == "subject" else "1 to 128 of the characters A-Z a-z 0-9 . _ : @ -"
        raise HubError("CHANNEL_NOT_FOUND", f"There is no such channel: after {rules.namespace}: comes {allowed}")
    return Channel(name, rules.namespace, None, rules, sanctions)


def _check_sanctions(caller: Caller, channel: Channel, *kinds: Kind) -> None:
    if not channel.sanctions:
        return
    held = channel.sanctions.get(caller.subject, {})
    for kind in kinds:
        if kind in held:
            raise held[kind].refusal()


def _check_scope(caller: Caller, scope: str | None) -> None:
    if scope is not None and not caller.has(scope):
        raise HubError("INSUFFICIENT_SCOPE", f"The credential lacks the scope {scope}")


def _may_consume(caller: Caller) -> None:
    if caller.resource_ids is not None:
        raise HubError("FORBIDDEN", "A credential for some resources only has no subscriptions")
    for scope in ("write:subscriptions", "read:events"):
        _check_scope(caller, scope)


def _check_resource(caller: Caller, channel: Channel, verb: str) -> None:
    if caller.resource_ids is None:
        return
    if channel.resource_id is None or not caller.may_touch(channel.resource_id):
        raise HubError("FORBIDDEN", f"The credential may {verb} only the channels of its own resources")
