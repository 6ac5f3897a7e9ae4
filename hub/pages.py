"""The pages at fixed paths and the files that they are made of, read once: they belong to the release.

A file is served under a name that has its content's hash, for ever; what refers to it is written anew with that name, so its own
hash changes with it. Pages, and files under their plain names, are asked for again each time, which a 304 makes cheap.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath

from aiohttp import web

from core.content.text import IMMUTABLE, REVALIDATED, Text
from hub.texts import answered

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_PAGES: Mapping[str, str] = {"/": "index.html", "/docs": "docs.html"}
# Nothing from elsewhere, nothing inline: a name that holds a script stays text. Drawings are asked for with the credential, so they
# are shown out of memory (blob:).
_SEALED = (
    "default-src 'self'; img-src 'self' blob:; connect-src 'self' ws: wss:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
# Swagger UI's styles carry their pictures in themselves.
_SEALED_DOCS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_SAFE: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# How a page names a file, and a module another one beside or below it.
_IN_PAGE = re.compile(rb'(?<=")/web/([\w./-]+)(?=")')
_IN_MODULE = re.compile(rb'(?<=")\./([\w./-]+)(?=")')
_HASHED = re.compile(r"\.[0-9a-f]{16}(?=\.[a-z]+$)")
# Where nodes of two releases stand behind one address, a page of one may ask the other for its files: what that has is given, and
# kept by nobody under this name.
_OTHERS = "no-store"


class PageDoor:
    """The pages, and `/web/<name>` of every file of a folder; raises ValueError where files refer to each other in a ring.

    Folders that are kept elsewhere are served as if they stood in it.
    """

    def __init__(self, folder: Path, *elsewhere: Path) -> None:
        files = _files(folder, folder)
        for each in elsewhere:
            files |= _files(each, each.parent)
        self._names = _Names(files)
        self._hashed = {self._names.of(name): self._text(name, IMMUTABLE) for name in files}
        self._plain = {name: self._text(name, REVALIDATED) for name in files}
        self._others = {name: self._text(name, _OTHERS) for name in files}

    def _text(self, name: str, cache: str) -> Text:
        headers = {**_SAFE, "Content-Security-Policy": _SEALED_DOCS if name == "docs.html" else _SEALED}
        return Text(self._names.written(name), _KINDS[PurePosixPath(name).suffix], headers, cache=cache)

    def add_to(self, app: web.Application) -> None:
        """Add the pages and the files."""
        for path, name in _PAGES.items():
            if name in self._plain:
                app.router.add_get(path, self._page)
        app.router.add_get("/web/{name:.+}", self._file)

    async def _page(self, request: web.Request) -> web.Response:
        return await answered(request, self._plain[_PAGES[request.path]])

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        text = self._hashed.get(name) or self._plain.get(name) or self._others.get(_HASHED.sub("", name))
        if text is None:
            raise web.HTTPNotFound
        return await answered(request, text)


def _files(folder: Path, root: Path) -> dict[str, bytes]:
    return {
        file.relative_to(root).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.suffix in _KINDS
    }


class _Names:
    """The files by name, written with the names that others are served under."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._written: dict[str, bytes] = {}
        self._open: list[str] = []

    def of(self, name: str) -> str:
        """Return the name with the hash of what the file says."""
        path = PurePosixPath(name)
        hashed = sha256(self.written(name)).hexdigest()[:16]
        return path.with_name(f"{path.stem}.{hashed}{path.suffix}").as_posix()

    def written(self, name: str) -> bytes:
        """Return the file, with the files that it refers to under their hashed names."""
        if name not in self._written:
            if name in self._open:
                raise ValueError(f"files refer to each other in a ring: {' -> '.join((*self._open, name))}")
            self._open.append(name)
            self._written[name] = self._rewritten(name)
            self._open.pop()
        return self._written[name]

    def _rewritten(self, name: str) -> bytes:
        suffix, folder = PurePosixPath(name).suffix, PurePosixPath(name).parent
        if suffix == ".html":
            return _IN_PAGE.sub(lambda found: b"/web/" + self._replaced(found[1], PurePosixPath()), self._files[name])
        if suffix == ".js":
            return _IN_MODULE.sub(lambda found: b"./" + self._replaced(found[1], folder), self._files[name])
        return self._files[name]

    def _replaced(self, named: bytes, folder: PurePosixPath) -> bytes:
        """Return the hashed name of a file that is named in another one of `folder`; what is no file stays as it is."""
        name = (folder / named.decode()).as_posix()
        if name not in self._files:
            return named
        return PurePosixPath(self.of(name)).relative_to(folder).as_posix().encode()
