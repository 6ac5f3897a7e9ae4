"""Why a document cannot be read: one error, with a code of the catalogue (core/errors.py) and a sentence for whoever sent it."""

from core.errors import CATALOGUE


class Unparsable(Exception):
    """A document that gives no chunks; the documents before and after it are not concerned."""

    def __init__(self, code: str, message: str) -> None:
        if code not in CATALOGUE:
            raise LookupError(f"{code} is not in the catalogue of errors")
        super().__init__(message)
        self.code = code
        self.message = message
