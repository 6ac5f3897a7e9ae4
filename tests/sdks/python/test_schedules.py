"""The state machine against a model of a hub, in random schedules: what it hands out is the log, or a reset says that it is not."""

import os
import random
from collections.abc import Callable

import pytest

from aimatrix.live.events import Event, Reset
from aimatrix.live.machine import Machine
from aimatrix.live.signals import Connect, Drop, Joined, NeedCredential, Output, Send, State
from tests.sdks.python.model_hub import ModelHub

SCHEDULES = int(os.environ.get("SDK_SCHEDULES", "300"))
STEPS = 400
CHANNELS = ["agents", "twins", "chat:lobby"]


class Schedule:
    """One run: a machine, a hub, and what the program was told of each channel: ("at" | "event" | "reset", epoch, offset, id)."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.hub = ModelHub(CHANNELS)
        self.machine = Machine(self.rng.random)
        self.told: dict[str, list[tuple[str, str, int, str]]] = {channel: [] for channel in CHANNELS}
        self.lives = {(channel, life.epoch): life for channel, life in self.hub.channels.items()}
        self.held: set[str] = set()
        self.now = 0.0
        self.things: list[tuple[int, Callable[[], None]]] = [
            (30, self.arrive),
            (12, self.emit),
            (3, self.pass_time),
            (2, self.cut),
            (1, self.disconnect),
            (2, self.hold),
            (3, self.resume),
            (1, self.wake_up),
            (1, self.begin_life),
            (1, self.forget),
            (2, self.hub.bookmark),
            (1, self.refuse),
        ]

    def run(self) -> None:
        """Let things happen at random, then heal everything."""
        self.machine.subscribe(self.now, CHANNELS)
        self.machine.open(self.now)
        self.work()
        weights = [weight for weight, _ in self.things]
        for _ in range(STEPS):
            (thing,) = self.rng.choices([thing for _, thing in self.things], weights)
            thing()
        self.heal()

    def heal(self) -> None:
        """Nothing more goes wrong: in the end everything has arrived."""
        self.hub.refuses.clear()
        for channel in CHANNELS:
            self.machine.resume(self.now, channel)
            self.held.discard(channel)
        self.work()
        for _ in range(2000):
            if self.machine.state is State.LIVE and not self.hub.wire and self.is_settled():
                return
            if self.hub.wire:
                self.arrive()
            else:
                self.pass_time()
        raise AssertionError(f"no end: {self.machine.state}")

    def is_settled(self) -> bool:
        """Tell whether every channel is where its life ends."""
        for channel, life in self.hub.channels.items():
            place = self.machine.place(channel)
            if place is None or (place.epoch, place.offset) != (life.epoch, str(life.end)):
                return False
        return True

    # What happens.

    def arrive(self) -> None:
        """One frame reaches the client."""
        if self.hub.is_open and self.hub.wire:
            self.machine.frame(self.now, self.hub.wire.popleft())
            self.work()

    def emit(self) -> None:
        """An event."""
        self.hub.emit(self.rng.choice(CHANNELS))

    def pass_time(self) -> None:
        """A timer is due, or something is; at times, late."""
        if self.machine.wake < float("inf"):
            self.now = max(self.now, self.machine.wake) + self.rng.choice((0, 0, 0, 6000))
        self.machine.time(self.now)
        self.work()

    def cut(self) -> None:
        """The connection is lost."""
        if self.hub.is_open:
            self.hub.cut()
            self.machine.closed(self.now, 1006)
            self.work()

    def disconnect(self) -> None:
        """The node stops."""
        if self.hub.is_open:
            self.machine.frame(self.now, {"type": "disconnect", "code": 4000, "reconnect": True, "after_ms": 50})
            self.hub.cut()
            self.machine.closed(self.now, 4000, "restarting")
            self.work()

    def hold(self) -> None:
        """A reader is behind."""
        channel = self.rng.choice(CHANNELS)
        self.held.add(channel)
        self.machine.hold(self.now, channel)
        self.work()

    def resume(self) -> None:
        """And has caught up."""
        if self.held:
            channel = self.rng.choice(sorted(self.held))
            self.held.discard(channel)
            self.machine.resume(self.now, channel)
            self.work()

    def wake_up(self) -> None:
        """The network is another."""
        self.machine.check(self.now)
        self.work()

    def begin_life(self) -> None:
        """A channel is lost at the hub."""
        channel = self.rng.choice(CHANNELS)
        self.hub.begin_life(channel)
        self.lives[channel, self.hub.channels[channel].epoch] = self.hub.channels[channel]

    def forget(self) -> None:
        """A room's history ends."""
        self.hub.forget("chat:lobby")

    def refuse(self) -> None:
        """A channel is refused for a while, or no longer."""
        self.hub.refuses ^= {self.rng.choice(CHANNELS)}

    # What the machine says.

    def work(self) -> None:
        """Do it."""
        while outputs := self.machine.outputs():
            for each in outputs:
                self.take(each)

    def take(self, output: Output) -> None:
        """Be the driver, and the program."""
        match output:
            case NeedCredential():
                self.machine.credential(self.now, output.ask, "t")
            case Connect():
                self.connect()
            case Send():
                if self.hub.is_open:
                    self.hub.receive(output.frame)
            case Drop():
                self.hub.cut()
            case Joined():
                if not self.told[output.channel] and output.place is not None:
                    self.told[output.channel].append(("at", output.place.epoch, int(output.place.offset), ""))
            case Event():
                place = output.place
                self.told[output.channel].append(("event", place.epoch, int(place.offset), output.id))
            case Reset():
                self.told[output.channel].append(("reset", output.place.epoch, int(output.place.offset), ""))
            case _:
                pass

    def connect(self) -> None:
        """The network lets it through, or not."""
        if self.rng.random() < 0.2:
            self.machine.closed(self.now, 1006)
        else:
            self.hub.opened()
            self.machine.opened(self.now)

    def problems(self, channel: str) -> list[str]:
        """Return what is wrong with what a channel's reader was told."""
        found: list[str] = []
        told = self.told[channel]
        assert told[0][0] == "at"
        _, epoch, offset, _ = told[0]
        for kind, its_epoch, its_offset, event in told[1:]:
            if kind == "reset":
                epoch, offset = its_epoch, its_offset
                continue
            if (its_epoch, its_offset) != (epoch, offset + 1):
                found.append(f"{its_epoch}:{its_offset} came after {epoch}:{offset}, and no reset between")
            life = self.lives[channel, its_epoch]
            if event != str(life.events[its_offset - 1]):
                found.append(f"{its_epoch}:{its_offset} is {event}, which is another event")
            epoch, offset = its_epoch, its_offset
        life = self.hub.channels[channel]
        if (epoch, offset) != (life.epoch, life.end):
            found.append(f"ends at {epoch}:{offset}, and the channel at {life.epoch}:{life.end}")
        return found


@pytest.mark.parametrize("part", range(6))
def test_what_is_handed_out_is_the_log_or_a_reset_says_so(part: int):
    """SDK_SEED repeats one schedule; SDK_SCHEDULES says how many there are."""
    first = random.randrange(2**32)
    given = os.environ.get("SDK_SEED")
    seeds = [int(given)] if given else [first + number for number in range(SCHEDULES // 6)]
    print(f"part {part}: SDK_SEED={seeds[0]} to {seeds[-1]}")
    events = resets = 0
    for seed in seeds:
        schedule = Schedule(seed)
        schedule.run()
        for channel in CHANNELS:
            problems = schedule.problems(channel)
            assert problems == [], f"SDK_SEED={seed}, {channel}: {problems[:5]}"
            events += sum(kind == "event" for kind, *_ in schedule.told[channel])
            resets += sum(kind == "reset" for kind, *_ in schedule.told[channel])
    if not given:
        assert events > 100 * resets > 0 or events > 1000
