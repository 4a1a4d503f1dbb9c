"""Isolation: when nginx refuses a tree, which Namespaces are to blame, so that everyone else's change goes live."""

import re
from collections.abc import Callable, Iterable

import msgspec

from reconciler.objects.snapshot import Namespace, Resource, Snapshot
from reconciler.routing.table import Routes
from reconciler.routing.tenant import Problem
from reconciler.values.files import Files
from reconciler.values.value import Value

_LONGEST_REASON = 200


class Held(Value, frozen=True):
    """A Namespace that is held at its last good state: what it wants (None: to go), what is served of it, and why.

    It is tried again when it changes, and at the time `until`, in seconds since the epoch.
    """

    name: str
    wanted: Namespace | None
    good: Namespace | None
    why: str
    until: float

    @property
    def problem(self) -> Problem:
        """What people are told until it is mended."""
        what = "its last good state is served" if self.good else "none of it is served"
        why = f"is held back, {what}: {self.why}"
        return Problem(Resource("Namespace", "", self.name), "its change", why, "what nginx accepts")


def hold(snapshot: Snapshot, held: Iterable[Held]) -> Snapshot:
    """Give a Snapshot in which the held Namespaces are as they last were good."""
    namespaces = {namespace.name: namespace for namespace in snapshot.namespaces}
    for one in held:
        if one.good:
            namespaces[one.name] = one.good
        else:
            namespaces.pop(one.name, None)
    return msgspec.structs.replace(snapshot, namespaces=tuple(namespaces[name] for name in sorted(namespaces)))


def keep_held(held: Iterable[Held], snapshot: Snapshot, now: float) -> tuple[Held, ...]:
    """Keep holding the Namespaces that are still as nginx refused them; what changed or wants to go gets its chance."""
    present = {namespace.name: namespace for namespace in snapshot.namespaces}
    return tuple(one for one in held if one.wanted and present.get(one.name) == one.wanted and now < one.until)


def find_changed(served: Snapshot, wanted: Snapshot, why: str, until: float) -> tuple[Held, ...]:
    """List the Namespaces that came, went or differ from what is served, each as if it were to be held."""
    before = {namespace.name: namespace for namespace in served.namespaces}
    after = {namespace.name: namespace for namespace in wanted.namespaces}
    return tuple(
        Held(name, after.get(name), before.get(name), why[:_LONGEST_REASON], until)
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def find_offenders(
    changed: tuple[Held, ...],
    suspects: frozenset[str],
    trials: int,
    retry: float,
    works: Callable[[tuple[Held, ...]], bool],
) -> tuple[Held, ...]:
    """Find out which of the changed Namespaces have to be held; `works` tries a tree with some of them held.

    The search is among the suspects if all goes well without them. Halves are let in for as long as the tree works:
    about 2 log2(n) trials for one offender among n. Who has had no trial when there have been so many `trials` is held
    too, but not longer than until the time `retry`.
    """
    suspected = tuple(one for one in changed if one.name in suspects)
    found = bool(suspected) and works(suspected)
    if found and len(suspected) == 1:
        return suspected
    offenders: list[Held] = []
    waiting = [suspected if found else changed]
    for _ in range(trials):
        if not waiting:
            break
        group = waiting.pop()
        if works((*offenders, *(one for later in waiting for one in later))):
            continue
        half = len(group) // 2
        if half:
            waiting += [group[half:], group[:half]]
        else:
            offenders += group
    return (*offenders, *(_wait(one, retry) for later in waiting for one in later))


def _wait(one: Held, retry: float) -> Held:
    why = "nginx refuses what others ask for, and it has not been this one's turn yet"
    return msgspec.structs.replace(one, why=why, until=min(one.until, retry))


def find_suspects(message: str, files: Files, routes: Routes) -> frozenset[str]:
    """Name the Namespaces that nginx's message is about: by a host in it, or by what stands in the line it names."""
    text = f"{message} {_read_block(message, files)}"
    words = set(re.split(r"[^a-z0-9.*-]+", text))
    owners = {host.namespace for host in routes.hosts if host.name in words}
    return frozenset(owners | {upstream.namespace for upstream in routes.upstreams if upstream.name in words})


def _read_block(message: str, files: Files) -> str:
    """Give the line of nginx.conf that a message names, and those before it up to its block's beginning."""
    found = re.search(r" in \S*nginx\.conf:(\d+)", message)
    if not found:
        return ""
    lines = files["nginx.conf"].content.decode("utf-8", "replace").splitlines()[: int(found[1])]
    begins = next((place for place in reversed(range(len(lines))) if lines[place].endswith("{")), 0)
    return " ".join(lines[begins:])
