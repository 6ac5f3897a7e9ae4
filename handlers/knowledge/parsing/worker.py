"""One parser: `python -m handlers.knowledge.parsing.worker`, a process that reads documents from its input, one after the other.

What is wrong with a document is an answer; what nobody has foreseen ends the process, and the hub starts another one.
"""

import codecs
import encodings
import pkgutil
from collections.abc import Iterator
from typing import Any

from core.processes.serving import Peak, serve
from handlers.knowledge.parsing import language
from handlers.knowledge.parsing.parse import parse
from handlers.knowledge.parsing.samples import samples
from handlers.knowledge.parsing.unparsable import Unparsable
from handlers.knowledge.parsing.wire import answers_of


def _load() -> None:
    """Load all that is otherwise loaded when it is first needed: no file can be opened later."""
    language.load()
    for module in pkgutil.iter_modules(encodings.__path__):
        _load_codec(module.name)
    for content, content_type in samples():
        parse(content, content_type, "")


def _load_codec(name: str) -> None:
    try:
        codecs.lookup(name)
    except LookupError:
        return  # a module beside the codecs, or one of another system


def _answer(message: list[Any], peak: Peak) -> Iterator[list[Any]]:
    """Parse one document."""
    content_type, name, content = message
    try:
        parsed = parse(content, content_type, name)
    except Unparsable as error:
        yield ["unparsable", error.code, error.message, peak()]
    except RecursionError:
        yield ["unparsable", "DOCUMENT_TOO_LARGE", "The document is nested too deep.", False]
    except MemoryError:
        yield ["unparsable", "DOCUMENT_TOO_LARGE", "The document takes more memory to read than it may.", True]
    else:
        yield from answers_of(parsed, is_last=peak())


if __name__ == "__main__":
    serve(_load, _answer)
