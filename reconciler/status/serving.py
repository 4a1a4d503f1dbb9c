"""How things stand, in one word and one sentence: what is served, since when, and how old it may be."""

from typing import Any

from reconciler.status.state import Seen
from reconciler.values.messages import write_time


def describe_serving(seen: Seen, now: float) -> dict[str, Any]:
    """Describe what is served at the time `now`, in seconds since the epoch."""
    state, text = _judge(seen)
    return {
        "state": state,
        "text": text,
        "release": seen.release or None,
        "since": write_time(seen.since) if seen.since is not None else None,
        "origin": "live" if seen.cycle else "disk",
        "read": write_time(seen.read) if seen.read is not None else None,
        "behind": _find_behind(seen, now),
        "error": seen.error or None,
        "published": _describe_publisher(seen),
    }


def _find_behind(seen: Seen, now: float) -> float | None:
    """Give the seconds since it was last known that what is served is up to date."""
    publisher = seen.publisher
    if seen.good is None or (publisher and publisher.confirmed is None and not publisher.alone):
        return None
    return round(max(0.0, now - (min(seen.good, publisher.since) if publisher else seen.good)), 3)


def _describe_publisher(seen: Seen) -> dict[str, Any] | None:
    """Describe what a router knows of the publisher; None if it reads the cluster itself."""
    if not (publisher := seen.publisher):
        return None
    confirmed = write_time(publisher.confirmed) if publisher.confirmed is not None else None
    return {"confirmed": confirmed, "old": publisher.old, "alone": publisher.alone}


def _judge(seen: Seen) -> tuple[str, str]:
    """Give the state as a word, and a sentence for people."""
    because = f": {seen.error}" if seen.error else "."
    if seen.stopping:
        return "stopped", "The router is stopping: open requests are finished, and no new ones are taken."
    if seen.publishing is not None:
        return _judge_publisher(seen, because)
    if not seen.running:
        if seen.ending:
            return "stopped", f"Nothing is served: nginx {seen.ending}. It is started again."
        return "starting", f"Nothing is served yet: nginx does not run{because}"
    if not seen.cycle:
        if seen.size.hosts:
            return "stale", f"The last release of a former process is served; the cluster was not read yet{because}"
        return "starting", f"No host is served yet: the cluster was not read{because}"
    if seen.error:
        return "stale", f"The last good release is served; the newest changes are not{because}"
    if seen.publisher and seen.publisher.alone:
        return "stale", "No publisher confirms what is published. This router lists the cluster itself, once a minute."
    if seen.publisher and seen.publisher.old:
        return "stale", "What was published last is served. For PUBLISHED_MAX_AGE no publisher has confirmed it."
    return "serving", f"What the cluster describes is served.{_count_problems(seen)}"


def _judge_publisher(seen: Seen, because: str) -> tuple[str, str]:
    if not seen.publishing:
        return "serving", f"This publisher stands by, while {seen.holder or 'nobody'} publishes."
    if not seen.cycle:
        return "starting", f"Nothing is published by this publisher yet{because}"
    if seen.error:
        return "stale", f"What was published last stays; the newest changes are not published{because}"
    return "serving", f"What the cluster describes is published.{_count_problems(seen)}"


def _count_problems(seen: Seen) -> str:
    number = len(seen.standing)
    return f" {number} problem{'s' * (number != 1)} need{'s' * (number == 1)} somebody's attention." if number else ""
