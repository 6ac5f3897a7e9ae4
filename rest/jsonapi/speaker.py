"""What JSON:API knows of one route: how its requests are read, and the form of its answers."""

from typing import Any

from core.auth.caller import Caller
from core.operations.operation import Registry
from core.operations.runner import Runner
from core.quota import Quota
from rest.asked import NO_QUERY, Asked, Body
from rest.jsonapi.form import JsonApi
from rest.jsonapi.including import Related
from rest.jsonapi.incoming import fields_of
from rest.jsonapi.kinds import Kind, kind_of
from rest.jsonapi.query import known_of, wanted_of
from rest.patience import patience_of
from rest.routes import Bound, Version


class Speaker:
    """Speaks JSON:API for one route of a version."""

    def __init__(self, bound: Bound, version: Version, registry: Registry) -> None:
        paths = {route.path for route in version.routes}

        def kind(type: str, model: Any) -> Kind:
            return kind_of(type, model, version.prefix if f"/{type}/{{id}}" in paths else None)

        self._bound = bound
        self._kind = kind(bound.kind, bound.operation.shows)
        lists = {type: registry[f"{type}.list"] for type in self._kind.relationships.values()}
        self._kinds = {type: kind(type, each.shows) for type, each in lists.items()} | {bound.kind: self._kind}
        self._related = Related(self._kinds, lists)
        route = bound.route
        self.query = known_of(route.query, route.method, has_relationships=bool(lists))

    def form(self, *, reads_documents: bool) -> JsonApi:
        """Return the form of one answer; `reads_documents` tells whether the request's body is JSON:API too."""
        return JsonApi(self._kind, takes_body=self._bound.route.takes_body, reads_documents=reads_documents)

    def read_query(self, asked: Asked, form: JsonApi, runner: Runner, caller: Caller) -> None:
        """Take apart the query that was given: some of it is the operation's, some says how the answer is written.

        What `include` asks for is found when the operation has answered, and before that is written.
        """
        form.wanted = wanted_of(asked.given or NO_QUERY, self._bound.route.query, self._kinds, self._kind)
        asked.query = form.wanted.query
        if form.wanted.include:
            patience = patience_of(asked.headers.get("X-Request-Timeout"))

            async def completed(result: Any) -> Quota | None:
                found = self._related.put_into(form, result, runner, caller, asked.request_id, patience)
                return await found

            asked.completed = completed

    def read_body(self, asked: Asked, sent: Body, *, is_document: bool) -> Body:
        """Return what the operation takes of a body."""
        if isinstance(asked.form, JsonApi):
            asked.form.sent = sent
        return fields_of(sent, self._kind, asked.params.get("id")) if is_document else sent
