"""Isolation: which Namespaces are to blame when nginx refuses a tree, so that all others' changes go live."""

import re
from collections.abc import Callable, Iterable

import msgspec

from reconciler.objects.snapshot import Namespace, Snapshot
from reconciler.routing.model import Routes
from reconciler.routing.problems import Problem, Reason, problem_of
from reconciler.values.files import Files
from reconciler.values.value import Value

_LONGEST_REASON = 200


class Held(Value, frozen=True):
    """A Namespace that is held back at its last good state: what it wants, what is served of it, and why.

    `wanted` is None if the Namespace is to be removed; `good` is None if nothing of it is served. The Namespace is
    tried again when it changes, and at the time `until`, in seconds since the epoch. If it is `refused`, that may take
    long: of its good state only Pods that are still there count, with the address that they still have, because another
    address may belong to another tenant's Pod by now.
    """

    name: str
    wanted: Namespace | None
    good: Namespace | None
    why: str
    until: float
    expected: str = "what nginx accepts"
    refused: bool = False

    def renew(self) -> "Held":
        """If it is refused, drop Pods of the good state that are gone; others get traffic only where they do now."""
        if not self.refused or not self.good or not self.wanted:
            return self
        now = {pod.name: pod.ip for pod in self.wanted.pods}
        pods = tuple(
            pod if pod.ip == now[pod.name] else msgspec.structs.replace(pod, ip="")
            for pod in self.good.pods
            if pod.name in now
        )
        return msgspec.structs.replace(self, good=msgspec.structs.replace(self.good, pods=pods))

    @property
    def problem(self) -> Problem:
        """The problem that is reported while the Namespace is held."""
        served = "its last good state is served" if self.good else "none of it is served"
        why = f"is held back, {served}: {self.why}"
        return problem_of(self.name, "its change", why, self.expected, Reason.HELD)


def hold(snapshot: Snapshot, held: tuple[Held, ...]) -> Snapshot:
    """Give a Snapshot in which each held Namespace is in its last good state."""
    if not held:
        return snapshot
    namespaces = {namespace.name: namespace for namespace in snapshot.namespaces}
    for one in held:
        if one.good:
            namespaces[one.name] = one.good
        else:
            namespaces.pop(one.name, None)
    return msgspec.structs.replace(snapshot, namespaces=tuple(namespaces[name] for name in sorted(namespaces)))


def keep_held(held: Iterable[Held], snapshot: Snapshot, now: float) -> tuple[Held, ...]:
    """Keep holding the Namespaces that did not change; `now` is in seconds since the epoch.

    A Namespace is tried again if it changed, if it is to be removed, or if its time `until` has come.
    """
    present = {namespace.name: namespace for namespace in snapshot.namespaces}
    return tuple(one for one in held if one.wanted and present.get(one.name) == one.wanted and now < one.until)


def find_changed(served: Snapshot, wanted: Snapshot, why: str, until: float) -> tuple[Held, ...]:
    """List the Namespaces that came, went or differ from what is served, each as the Held that would hold it back.

    If there is a `why`, they are refused.
    """
    before = {namespace.name: namespace for namespace in served.namespaces}
    after = {namespace.name: namespace for namespace in wanted.namespaces}
    return tuple(
        Held(
            name, after.get(name), _find_good(before, after, name), why[:_LONGEST_REASON], until, refused=bool(why)
        ).renew()
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _find_good(before: dict[str, Namespace], after: dict[str, Namespace], name: str) -> Namespace | None:
    """Find a Namespace's last good state. One of the same name that was made anew is another one, and has none."""
    good, wanted = before.get(name), after.get(name)
    return None if good and wanted and good.created != wanted.created else good


def find_offenders(
    changed: tuple[Held, ...],
    suspects: frozenset[str],
    trials: int,
    retry: float,
    works: Callable[[tuple[Held, ...]], bool],
) -> tuple[Held, ...]:
    """Find which of the changed Namespaces have to be held; `works` tries a tree with some of them held.

    If the tree works while all suspects are held, only the suspects are searched. The search halves groups: it finds
    one offender among n in about 2 log2(n) trials. If it ends because of the number of `trials`, the Namespaces that it
    has not reached are held too, but only until the time `retry`, in seconds since the epoch.
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
    why = "nginx refuses what other Namespaces ask for, and this one has not been tried yet"
    return msgspec.structs.replace(one, why=why, until=min(one.until, retry))


def find_suspects(message: str, files: Files, routes: Routes) -> frozenset[str]:
    """Name the Namespaces that nginx's message is about.

    They own a host or an upstream named in the message, or in the part of nginx.conf that the message points to.
    """
    text = f"{message} {_read_block(message, files)}"
    words = set(re.split(r"[^a-z0-9.*-]+", text))
    owners = {host.namespace for host in routes.hosts if host.name in words}
    return frozenset(owners | {upstream.namespace for upstream in routes.upstreams if upstream.name in words})


def _read_block(message: str, files: Files) -> str:
    """Give the lines of nginx.conf from the start of a block to the line that a message names."""
    found = re.search(r" in \S*nginx\.conf:(\d+)", message)
    if not found:
        return ""
    lines = files["nginx.conf"].content.decode("utf-8", "replace").splitlines()[: int(found[1])]
    start = next((number for number in reversed(range(len(lines))) if lines[number].endswith("{")), 0)
    return " ".join(lines[start:])
