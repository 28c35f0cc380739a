"""The daemon's log: one line an event on stderr, as text or JSON, with named fields.

`logging.getLogger("device.x").info("linked", extra={"peer": node_id})`: the message is a constant, what varies is a
field.  Nothing of a question or an answer is ever a message or a field.
"""

import json
import logging
import sys
import time
from typing import Final, Literal, TextIO

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# Foreign libraries speak up from here on only: their info lines are about themselves.
QUIET: Final = ("asyncio", "amqtt", "uvicorn", "zeroconf", "transitions", "httpx", "httpcore")
# Warns of every malformed request, so that anybody in reach could fill the log: its errors are this node's own.
STRANGERS: Final = "uvicorn.error"


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO device.node: ready http_port=4327`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; what could break it or steer a terminal is escaped."""
        fields = "".join(f" {name}={_text(value)}" for name, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}{fields}"
        return "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line of ASCII."""
        head = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(_fields(record) | head, default=str)


def configure_logs(
    level: Literal["debug", "info", "warning", "error"], layout: Literal["text", "json"], stream: TextIO = sys.stderr
) -> None:
    """Send every logger's events of `level` and above to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if layout == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.getLogger(STRANGERS).setLevel(logging.DEBUG if level == "debug" else logging.ERROR)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if record.exc_info:
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _text(value: object) -> str:
    text = str(value)
    return text if text and " " not in text and '"' not in text else json.dumps(text, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
