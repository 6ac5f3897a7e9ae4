"""What can be done with digital twins."""

from handlers.resources.crud import Resource
from handlers.twins.models import TwinBody


class Twins(Resource[TwinBody]):
    """Digital twins, kept as documents."""

    kind = "twins"
    event = "twin"
    body = TwinBody

    def describe(self, body: TwinBody) -> tuple[str, str, str]:
        """Return name, type and status."""
        return body.name, body.type, body.status
