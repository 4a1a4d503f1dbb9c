"""The pace at which a router writes Kubernetes Events: a bucket of tokens, slower while other routers are faster."""

# Seconds between two writes when the bucket is empty. Routers do not speak with each other, so a conflict says that
# others write the same: then this one slows down, and in a large cluster few routers write nearly all Events.
SHORTEST, LONGEST = 1.0, 30.0
_BURST = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # after a failure, doubled each time
_FIRST_DENIAL, _LONGEST_DENIAL = 600.0, 3600.0  # after a 403, doubled each time
_LONGEST_RETRY_AFTER = 300.0


class Bucket:
    """Holds at most `most` tokens, and gets one back every `interval` seconds. Times are monotonic seconds."""

    def __init__(self, most: float, interval: float) -> None:
        self._most = most
        self._interval = interval
        self._left = most
        self._at = 0.0

    def find_ready(self, now: float) -> float:
        """Give the time at which a token is there: `now`, or later."""
        self._fill(now)
        return now if self._left >= 1 else now + (1 - self._left) * self._interval

    def take(self, now: float) -> None:
        """Take a token."""
        self._fill(now)
        self._left -= 1

    def empty(self, now: float) -> None:
        """Lose all tokens."""
        self._fill(now)
        self._left = min(self._left, 0.0)

    def set_interval(self, interval: float, now: float) -> None:
        """Get tokens back at another rate from now on."""
        self._fill(now)
        self._interval = interval

    def is_full(self, now: float) -> bool:
        """Tell whether no token is missing."""
        self._fill(now)
        return self._left >= self._most

    def _fill(self, now: float) -> None:
        self._left = min(self._most, self._left + max(0.0, now - self._at) / self._interval)
        self._at = now


class Pace:
    """When this router may write next. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.interval = SHORTEST
        self._bucket = Bucket(_BURST, SHORTEST)
        self._not_before = 0.0
        self._failures = self._denials = 0

    def find_ready(self, now: float) -> float:
        """Give the time of the next write: `now`, or later."""
        return max(self._not_before, self._bucket.find_ready(now))

    def spend(self, now: float) -> None:
        """Count a write."""
        self._bucket.take(now)

    def note(self, outcome: str, retry_after: float, now: float) -> None:
        """Take account of how a write ended; an outcome is that of `Reported`."""
        if outcome == "failed":
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self._failures)
            if self._failures:  # a second one in a row is in another Namespace, because the first one's is paused
                pause = max(pause, min(retry_after, _LONGEST_RETRY_AFTER))
            self._failures = min(self._failures + 1, 10)
            self._not_before = now + pause
            return
        self._failures = 0
        if outcome == "denied":
            self._not_before = now + min(_LONGEST_DENIAL, _FIRST_DENIAL * 2.0**self._denials)
            self._denials = min(self._denials + 1, 10)
            return
        self._denials = 0
        if outcome in ("exists", "stale"):
            self._bucket.empty(now)
            self._set_interval(self.interval * 2, now)
        elif outcome in ("created", "renewed"):
            self._set_interval(self.interval / 2, now)

    def _set_interval(self, interval: float, now: float) -> None:
        self.interval = min(LONGEST, max(SHORTEST, interval))
        self._bucket.set_interval(self.interval, now)
