"""What a reader of an execution keeps who has read everything; the rules are those of docs/protocol.md. No I/O."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

_WHOLE = frozenset({"run.snapshot", "run.restarted", "run.resumed"})


class Told:
    """How far a reader is, and the text that it has."""

    def __init__(self) -> None:
        self.attempt = -1
        self.sequence = -1
        self._text: list[str] = []
        self._status = "running"
        self._action: Any = None

    def takes(self, type: str, data: Mapping[str, Any]) -> bool:
        """Tell whether an event is news to the reader, and count it."""
        attempt, sequence = data.get("attempt", 0), data.get("sequence", self.sequence)
        if attempt < self.attempt:
            return False
        if type in _WHOLE:
            if (attempt, sequence) < (self.attempt, self.sequence):
                return False
        elif type == "run.delta" and (attempt != self.attempt or sequence != self.sequence + 1):
            return False
        self.attempt, self.sequence = attempt, sequence
        self._note(type, data)
        return True

    def lacks(self, row: Any) -> bool:
        """Tell whether an execution has more than the reader was told."""
        return (row["attempt"], row["sequence"]) > (self.attempt, self.sequence)

    def whole(self, id: UUID) -> dict[str, Any]:
        """Return a snapshot that says all that the reader has."""
        text = "".join(self._text)
        self._text = [text]
        head = {"execution_id": str(id), "attempt": self.attempt, "sequence": self.sequence}
        return {**head, "text": text, "status": self._status, "action": self._action}

    def _note(self, type: str, data: Mapping[str, Any]) -> None:
        if type == "run.delta":
            self._text.append(data["text"])
        elif "text" in data:
            self._text = [data["text"]]
            self._status, self._action = data.get("status", "running"), data.get("action")
        elif type == "run.requires_action":
            self._status, self._action = "requires_action", data.get("action")
