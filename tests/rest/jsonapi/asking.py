"""What routes are asked in tests of all of them: by the example of each."""

import re
from typing import Any

from handlers.resources.shown import example_of
from rest.routes import Bound, Route, Version
from rest.v1 import V1
from rest.v2 import V2
from rest.v3 import V3
from tests.rest.declared import operations

ROUTES = [(version, route) for version in (V1, V2, V3) for route in version.routes]
ALL = operations()
ABSENT = "01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55"


def kind_of(route: Route) -> str:
    return Bound(route, ALL[route.operation]).kind


def data_of(route: Route, id: str | None, twin: str = ABSENT) -> dict[str, Any] | None:
    """Return the example of a route's body as a resource object, None where it takes none."""
    if not route.takes_body:
        return None
    operation = ALL[route.operation]
    fields = dict(example_of(operation.body or operation.input))
    if "type" in fields:
        fields["subtype"] = fields.pop("type")
    if route.operation == "telemetry.append_many":
        fields["points"] = [{**each, "twin_id": twin} for each in fields["points"]]
    data: dict[str, Any] = {"type": kind_of(route), "attributes": fields}
    return data if id is None else {**data, "id": id}


def path_of(version: Version, route: Route, id: str) -> str:
    """Return a route's path with `id` in its place; what is inside of that is not there."""
    path = f"{version.prefix}{route.path}".replace("{id}", id).replace("{channel}", "chat:lobby")
    return re.sub(r"\{\w+\}", ABSENT, path)
