"""Where the neighbours of a page are: for the Link header (RFC 8288) and the body.

Targets are relative references, so they hold behind any proxy. All of the query but its paging stays as it was asked.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

from core.operations.results import Page, Window
from rest.asked import Asked, Paging


def links_of(page: Page, asked: Asked) -> dict[str, str]:
    """Return targets by relation: first, prev, next, last of pages; first, prev, next between cursors.

    What is not there has no link; `last` has none either where the total is not exact.
    """
    given = asked.query if asked.given is None else asked.given
    paging = asked.form.paging
    kept = {name: value for name, value in given.items() if name not in paging.names} if given else {}
    base = f"{asked.path}?{urlencode(kept)}&" if kept else f"{asked.path}?"
    return _of_page(page, base, paging) if page.window is None else _of_window(page.window, base, paging)


def link_header(links: Mapping[str, str]) -> str:
    """Write the value of a Link header (RFC 8288, section 3)."""
    return ", ".join([f'<{target}>; rel="{relation}"' for relation, target in links.items()])


def _of_page(page: Page, base: str, names: Paging) -> dict[str, str]:
    number, size = page.page, page.per_page
    of_size = f"&{names.size}={size}"
    last = max(1, -(-page.total // size))
    links = {"first": f"{base}{names.page}=1{of_size}"}
    if number > 1:
        # From behind the end the way back leads to the last page; where the end is not known, one page up.
        back = min(number - 1, last) if page.is_exact else number - 1
        links["prev"] = f"{base}{names.page}={back}{of_size}"
    if number < last or (not page.is_exact and len(page.items) == size):
        links["next"] = f"{base}{names.page}={number + 1}{of_size}"
    if page.is_exact:
        links["last"] = f"{base}{names.page}={last}{of_size}"
    return links


def _of_window(window: Window, base: str, names: Paging) -> dict[str, str]:
    # Cursors have no character that a query would have to escape.
    links = {"first": f"{base}{names.limit}={window.limit}"}
    if window.has_previous and window.before is not None:
        links["prev"] = f"{base}{names.before}={window.before}&{names.limit}={window.limit}"
    if window.has_next and window.after is not None:
        links["next"] = f"{base}{names.after}={window.after}&{names.limit}={window.limit}"
    return links
