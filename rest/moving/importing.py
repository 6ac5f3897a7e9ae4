"""`POST /v2/knowledge/import`: a base and its documents as they were exported, made by the operations that make any other.

They are made while the body is read. Where it turns out to be no whole export the base is deleted again; what single documents
are refused for is told beside the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from core.auth.authenticator import credential_of
from core.auth.caller import Caller
from core.errors import HubError
from core.operations.results import Document
from core.operations.run import Admission
from core.operations.runner import check
from handlers.knowledge.moving.form import MEDIA_TYPE, Reading
from rest.endpoints import ADMISSION, Endpoint, Parts
from rest.forms import JSON
from rest.limits import tell_limit
from rest.moving.lines import lines_of
from rest.requests import query_of
from rest.routes import Version

PATH = "/knowledge/import"
# Of an import in the organisation's limit, whatever its length; its operations are not counted again.
WEIGHT = 10
# What is made by one operation: as many documents, or bytes of them.
MOST_TOGETHER = 50
MOST_BYTES = 4 * 1024 * 1024
MOST_TOLD = 100
_ALLOW = "OPTIONS, POST"


@dataclass(eq=False, slots=True)
class _Import:
    """An import under way."""

    caller: Caller
    request_id: str
    admission: Admission
    base: Document | None = None
    waiting: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    waiting_bytes: int = 0
    created: int = 0
    refused: int = 0
    errors: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])

    def told(self) -> bytes:
        """Return what is answered."""
        assert self.base is not None  # noqa: S101 - an import that is over has a base
        documents = {"created": self.created, "refused": self.refused, "errors": self.errors}
        return orjson.dumps({"knowledge": orjson.Fragment(self.base.body), "documents": documents})


class ImportEndpoint(Endpoint):
    """The imports of one version."""

    def __init__(self, parts: Parts, version: Version) -> None:
        super().__init__(parts, version.headers)
        self._prefix = version.prefix

    async def respond(self, request: web.Request, request_id: str, headers: dict[str, str]) -> web.StreamResponse:
        """Make what the body holds; 201 where it was an export, whole."""
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={**headers, "Allow": _ALLOW})
        if request.method != "POST":
            raise HubError("METHOD_NOT_ALLOWED", headers={"Allow": _ALLOW})
        parts = self._parts
        credential = credential_of(request.headers.get("Authorization"))
        caller = parts.authenticator.recent(credential) or await parts.authenticator.authenticate(credential)
        admission = request[ADMISSION] = parts.runner.count(caller, WEIGHT)
        await self.watch(request, "knowledge.import", caller, admission)
        check(await admission)
        query_of(request, frozenset())
        _check_media(request)
        run = _Import(caller, request_id, admission)
        await self._take(request, run)
        assert run.base is not None  # noqa: S101 - as above
        headers |= {"Content-Type": JSON, "Cache-Control": "no-store"}
        headers["Location"] = f"{self._prefix}/knowledge/{run.base.id}"
        tell_limit(await admission, headers)
        return web.Response(status=201, body=run.told(), headers=headers)

    async def _take(self, request: web.Request, run: _Import) -> None:
        reading = Reading()
        lines = lines_of(request, self._parts.clock)
        try:
            async for text in lines:
                await self._line(run, reading.line(text), len(text))
            reading.end()
            await self._make(run)
        except BaseException:
            await self._undo(run)
            raise
        finally:
            await lines.aclose()

    async def _line(self, run: _Import, asked: tuple[str, Mapping[str, Any]] | None, size: int) -> None:
        match asked:
            case ("knowledge", fields):
                run.base = await self._run(run, "knowledge.create", fields)
            case ("document", fields):
                if run.waiting and run.waiting_bytes + size > MOST_BYTES:
                    await self._make(run)
                run.waiting.append(fields)
                run.waiting_bytes += size
                if len(run.waiting) >= MOST_TOGETHER or run.waiting_bytes >= MOST_BYTES:
                    await self._make(run)
            case _:
                pass

    async def _make(self, run: _Import) -> None:
        """Make the documents that wait: together, or where one is refused each by itself."""
        documents, run.waiting, run.waiting_bytes = run.waiting, [], 0
        if not documents:
            return
        try:
            await self._documents(run, documents)
        except HubError as error:
            if len(documents) == 1:
                self._refuse(run, documents[0], error)
                return
            for each in documents:
                try:
                    await self._documents(run, [each])
                except HubError as refused:
                    self._refuse(run, each, refused)

    async def _documents(self, run: _Import, documents: list[Mapping[str, Any]]) -> None:
        assert run.base is not None  # noqa: S101 - the first line was its
        await self._run(run, "documents.create", {"id": str(run.base.id), "documents": documents})
        run.created += len(documents)

    def _refuse(self, run: _Import, document: Mapping[str, Any], error: HubError) -> None:
        if error.status >= 500:
            raise error  # it is not the document's fault, and the next one would fare no better
        run.refused += 1
        if len(run.errors) < MOST_TOLD:
            text = error.details[0].message if error.details else error.text
            run.errors.append({"name": str(document.get("name"))[:200], "code": error.code, "message": text})

    async def _undo(self, run: _Import) -> None:
        """Delete what was made; where that fails too, what the import failed by is still what is told."""
        if run.base is not None:
            try:
                await self._run(run, "knowledge.delete", {"id": str(run.base.id)})
            except HubError as error:
                self._log.warning("import_not_undone", knowledge=str(run.base.id), error=error.code)

    async def _run(self, run: _Import, name: str, input: Mapping[str, Any]) -> Any:
        outcome = await self._parts.runner.run(
            self._parts.registry[name],
            run.caller,
            input,
            request_id=run.request_id,
            admission=run.admission,
        )
        return outcome.result


def _check_media(request: web.Request) -> None:
    if request.content_type != MEDIA_TYPE or request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HubError("UNSUPPORTED_MEDIA_TYPE", f"Send {MEDIA_TYPE}, as an export is, without a content coding")
    if "Idempotency-Key" in request.headers:
        # Its base is deleted where it fails: under the key it would be told of again.
        raise HubError("BAD_REQUEST", "An import takes no Idempotency-Key; look by its name whether the base is there")
