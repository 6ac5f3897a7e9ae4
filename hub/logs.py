"""Logs: structured, on stderr; lines for a person at a terminal, JSON for everything else."""

import logging
import sys
from typing import TextIO, cast

import structlog

from hub.standard_streams import LogStream


def configure_logs(level: str) -> None:
    """Set up structlog for this process; `level` is the least that is logged."""
    person = sys.stderr.isatty()
    stream = cast("TextIO", LogStream())
    # Plain tracebacks: the pretty ones print local variables, and credentials are among them.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    render = console if person else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if person else [structlog.processors.format_exc_info]),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    # Libraries speak through logging: what they warn of goes the same way, asyncio's lost exceptions among it.
    logging.basicConfig(level=logging.WARNING, stream=stream, format="%(levelname)s %(name)s %(message)s")
    # It tells of each mistake of somebody else's server, with its traceback; the tools say what is wrong.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
