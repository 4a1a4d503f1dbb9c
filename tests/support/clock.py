"""Runs a program of Python's by a clock of its own: `clock.py FILE PROGRAM ...`; FILE holds seconds to be added.

Only the time of day is another one; what is measured by the monotonic clock stays true, as where a clock is set.
"""

import datetime
import runpy
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import schedule

true_time, offset = time.time, Path()


def wrong_time() -> float:
    return true_time() + float(offset.read_text())


class WrongDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(wrong_time(), tz)


if __name__ == "__main__":
    offset, sys.argv[:3] = Path(sys.argv[1]), sys.argv[2:3]
    time.time = wrong_time
    schedule.datetime = SimpleNamespace(**{**vars(datetime), "datetime": WrongDatetime})
    runpy.run_path(sys.argv[0], run_name="__main__")
