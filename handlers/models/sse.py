"""Server-sent events, read as they come and bounded. No I/O."""

# Of one event; a part of an answer has a few hundred.
MOST_BYTES = 1 << 20


class Events:
    """Cuts a stream into the data of its events; what else an event has is left out, as comments are."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []  # of a line whose end has not come
        self._data: list[bytes] = []  # of an event whose end has not come
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that are whole now; raises ValueError where one is too long."""
        if (
            not self._size
            and chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n\n")
        ):
            return [chunk[6:-2]]  # most come alone and whole
        self._begun.append(chunk)
        self._size += len(chunk)
        if b"\n" not in chunk:
            self._bound()
            return []
        lines = b"".join(self._begun).split(b"\n")
        rest = lines.pop()
        whole = [event for line in lines if (event := self._take(line.removesuffix(b"\r"))) is not None]
        self._begun = [rest] if rest else []
        self._size = len(rest) + sum(map(len, self._data))
        self._bound()
        return whole

    def _take(self, line: bytes) -> bytes | None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            event = b"\n".join(self._data)
            self._data.clear()
            return event
        return None

    def _bound(self) -> None:
        if self._size > MOST_BYTES:
            raise ValueError("an event is too long")
