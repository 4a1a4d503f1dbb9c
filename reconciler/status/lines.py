"""Lines of a log: text for people, or JSON for scripts; those of a running router with their time and level."""

import json
import os
import sys
import time
from typing import IO, Any, Literal

from reconciler.values.messages import defuse, defuse_json

Level = Literal["info", "warning", "error"]
_COLOURS = {
    "+": "32",
    "-": "31",
    "~": "33",
    "applied": "1;32",
    "idle": "2",
    "problem": "33",
    "gone": "32",
    "warning": "33",
    "error": "31",
}
_MARKS = {"info": "", "warning": "dispatcher: warning: ", "error": "dispatcher: error: "}


class Lines:
    """Writes lines to a stream, in colour only at a terminal. docs/log.schema.json describes the lines of JSON."""

    def __init__(self, stream: IO[str], log_format: str) -> None:
        self._stream = stream
        self._json = log_format == "json"
        self._terminal = stream.isatty()
        self._colour = self._terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._stamped = False

    def stamp(self) -> None:
        """From now on, begin each line with its level and its time in UTC: RFC 3339, at a terminal the time of day."""
        self._stamped = True

    def write(self, level: Level, record: dict[str, Any], text: str) -> None:
        """Write a line: `record` as JSON, or `text`."""
        line = defuse_json(self._write_json(level, record)) if self._json else defuse(self._stamp(level, text))
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError:
            if self._stream is not sys.stderr:  # a full disk under the log is not a reason to stop serving
                raise

    def write_marked(self, level: Level, record: dict[str, Any], text: str) -> None:
        """Write a line of the command itself: without a stamp, it names the program and the level."""
        mark = "" if self._stamped else _MARKS[level]
        self.write(level, record, f"{self.paint(level, mark)}{text}")

    def paint(self, kind: str, text: str) -> str:
        """Give a text in the colour of its kind."""
        return f"\033[{_COLOURS[kind]}m{text}\033[0m" if self._colour and text and kind in _COLOURS else text

    def _write_json(self, level: Level, record: dict[str, Any]) -> str:
        stamp = {"time": self._write_time("%Y-%m-%dT%H:%M:%SZ")} if self._stamped else {}
        return json.dumps({**stamp, "level": level, **record})  # in ASCII, because a file's name may not be UTF-8

    def _stamp(self, level: Level, text: str) -> str:
        if not self._stamped:
            return text
        form = "%H:%M:%S" if self._terminal else "%Y-%m-%dT%H:%M:%SZ"
        return f"{self._write_time(form)} {self.paint(level, level)}{' ' * (7 - len(level))} {text}"

    @staticmethod
    def _write_time(form: str) -> str:
        # gmtime() alone reads a clock that is some milliseconds behind that of other programs.
        return time.strftime(form, time.gmtime(time.time()))
