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
        "behind": round(max(0.0, now - seen.good), 3) if seen.good is not None else None,
        "error": seen.error or None,
    }


def _judge(seen: Seen) -> tuple[str, str]:
    """Give the state as a word, and a sentence for people."""
    because = f": {seen.error}" if seen.error else "."
    if seen.stopping:
        return "stopped", "The router is stopping: open requests are finished, and no new ones are taken."
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
    number = len(seen.standing)
    left = f" {number} problem{'s' * (number != 1)} need{'s' * (number == 1)} somebody's attention." if number else ""
    return "serving", f"What the cluster describes is served.{left}"
