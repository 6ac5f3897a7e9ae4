"""One parser: `python -m handlers.knowledge.parsing.worker`, a process that reads documents from its input, one after the other.

It ends with its input, and with its parent. What is wrong with a document is an answer; what nobody has foreseen ends the process,
with a last word about where that was, and the hub starts another one.
"""

import argparse
import codecs
import encodings
import os
import pkgutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from handlers.knowledge.parsing import language
from handlers.knowledge.parsing.confinement import confine, end_with, peak_memory
from handlers.knowledge.parsing.parse import parse
from handlers.knowledge.parsing.samples import samples
from handlers.knowledge.parsing.unparsable import Unparsable
from handlers.knowledge.parsing.wire import LENGTH, framed, frames_of, unframed

# Said once, when all is loaded.
READY = "ready"
# A process that has once had so much keeps most of it: another one is cheaper.
MOST_KEPT = 400 << 20
NICENESS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Be a parser until the input ends; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m handlers.knowledge.parsing.worker")
    arguments.add_argument("--parent", type=int, required=True)
    arguments.add_argument("--memory", type=int, required=True, help="bytes")
    given = arguments.parse_args(argv)
    end_with(given.parent)
    # A terminal sends it to the hub as well, which says when its parsers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is heard at once goes before what is found a moment later.
    os.nice(NICENESS)
    # Whatever prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.excepthook = _last_word(answers)
    _load()
    peak = peak_memory()
    confine(given.memory)
    _write(answers, framed([READY]))
    with os.fdopen(0, "rb", closefd=False) as documents:
        while (document := _next(documents)) is not None:
            content_type, name, content = document
            if _answer(answers, content, content_type, name, peak):
                return 0
    return 0


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


def _last_word(answers: BinaryIO) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    def tell(kind: type[BaseException], _error: BaseException, trace: TracebackType | None) -> None:
        # Its message may quote the document, which is nobody's business.
        where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(trace)[-3:]]
        _write(answers, framed(["crashed", f"{kind.__name__} in {' > '.join(where)}"]))

    return tell


def _answer(answers: BinaryIO, content: bytes, content_type: str, name: str, peak: Callable[[], int]) -> bool:
    """Parse one document; tells whether it was the last one."""
    try:
        parsed = parse(content, content_type, name)
    except Unparsable as error:
        refusal = error.code, error.message
        is_last = peak() > MOST_KEPT
    except RecursionError:
        refusal = "DOCUMENT_TOO_LARGE", "The document is nested too deep."
        is_last = False
    except MemoryError:
        refusal = "DOCUMENT_TOO_LARGE", "The document takes more memory to read than it may."
        is_last = True
    else:
        is_last = peak() > MOST_KEPT
        for frame in frames_of(parsed, is_last=is_last):
            _write(answers, frame)
        return is_last
    _write(answers, framed(["unparsable", *refusal, is_last]))
    return is_last


def _next(documents: BinaryIO) -> tuple[str, str, bytes] | None:
    head = documents.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = documents.read(length)
    if len(body) < length:
        return None
    content_type, name, content = unframed(body)
    return content_type, name, content


def _write(answers: BinaryIO, frame: bytes) -> None:
    rest = memoryview(frame)
    while rest:
        rest = rest[answers.write(rest) :]


if __name__ == "__main__":
    sys.exit(main())
