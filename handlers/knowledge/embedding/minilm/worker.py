"""The process that has the model: `python -m handlers.knowledge.embedding.minilm.worker FOLDER`, by pipes with its parent.

Each way a message is four bytes of length (big-endian) and so many bytes: a JSON list of texts in, their vectors' 32-bit floats
out, row by row. The first message out is empty: the model is there. The end of the input is its own end.
"""

import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

# More would take the cores from those who serve; numpy reads it as it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from handlers.knowledge.embedding.minilm.model import MiniLM

# The model and its work take 150 MiB; a mistake here must not take the machine.
MOST_BYTES = 2 * 1024**3
NICE = 5


def main() -> None:
    """Answer until nobody asks."""
    _limit()
    model = MiniLM(Path(sys.argv[1]))
    _write(sys.stdout.buffer, b"")
    while (asked := _read(sys.stdin.buffer)) is not None:
        _write(sys.stdout.buffer, model.embed(json.loads(asked)).tobytes())


def _limit() -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    os.nice(NICE)


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    return stream.read(int.from_bytes(head, "big"))


def _write(stream: BinaryIO, content: bytes) -> None:
    stream.write(len(content).to_bytes(4, "big") + content)
    stream.flush()


if __name__ == "__main__":
    main()
