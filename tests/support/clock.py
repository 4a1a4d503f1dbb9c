"""Run a Python program with a wrong clock: `clock.py FILE PROGRAM ...`; FILE holds the seconds to add to the time.

Only the time of day is wrong. The monotonic clock stays right, as when somebody sets the clock of a machine.
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
