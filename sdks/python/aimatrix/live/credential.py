"""Which credential the machine has, whether it needs another, and which call for one is under way. No I/O, no time."""

from dataclasses import dataclass

# One that was refused may have been old; a second one in a row was not.
_MOST_REFUSALS = 1


@dataclass(slots=True)
class CredentialDesk:
    """`need` says why the program is asked before the next connection, None that what is there will do."""

    token: str = ""
    need: str | None = "connect"
    _ask: int | None = None
    _asks: int = 0
    _refused: str | None = None
    _refusals: int = 0
    why_refused: str = ""

    def ask(self) -> int | None:
        """Begin to ask; return the number of the call, or None while one is under way."""
        if self._ask is not None:
            return None
        self._asks += 1
        self._ask = self._asks
        return self._ask

    def has_answer(self, ask: int) -> bool:
        """Tell whether this is the call that is waited for, which is then over."""
        if ask != self._ask:
            return False
        self._ask = None
        return True

    def take(self, token: str) -> bool:
        """Take a credential; tell whether it is another than before."""
        is_other = token != self.token
        self.token, self.need = token, None
        return is_other

    def is_refused(self, token: str) -> bool:
        """Tell whether the hub has refused just this one."""
        return self._refused == token

    def refuse(self, why: str) -> bool:
        """Note that the hub has refused it; tell whether to try another."""
        self._refused, self.why_refused, self.need = self.token, why, "refused"
        self._refusals += 1
        return self._refusals <= _MOST_REFUSALS

    def accept(self) -> None:
        """Note that the hub has taken it."""
        self._refusals, self._refused = 0, None

    def begin(self) -> None:
        """Forget what was refused: somebody starts again."""
        self.accept()

    def forget_ask(self) -> None:
        """Let the call go that is under way."""
        self._ask = None
