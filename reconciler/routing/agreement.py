"""Agreement: from the claims of all Pods that name one path to the options that the path has."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from reconciler.objects.snapshot import Pod, Probe
from reconciler.routing.annotations import Refused
from reconciler.routing.keys.catalogue import PATH_KEYS
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.model import Server
from reconciler.routing.options import Option, Options, find_option
from reconciler.routing.path_entries import PathEntry
from reconciler.routing.problems import Problem, Reason
from reconciler.routing.secret_fields import SecretFields
from reconciler.values.value import Value

LEFT_OUT = ": this Pod does not serve the path until that one is gone"


class PodClaim(Value, frozen=True):
    """One good entry of one Pod; without `server` the Pod gets no traffic, but the path is known."""

    pod: Pod
    entry: PathEntry
    server: Server | None
    check: Probe | None


class Agreement(Value, frozen=True):
    """The claims of a path, sorted oldest Pod first, and its options. If `closed`, nobody may use the path."""

    what: str
    claims: tuple[PodClaim, ...]
    options: Options
    closed: bool
    problems: tuple[Problem, ...]


def agree(claims: Iterable[PodClaim], what: str) -> Agreement:
    """Find what the Pods of a path agree on; `claims` are sorted oldest Pod first, and `what` names the path.

    A Pod whose entry is closed gets no traffic. If all are so, the path is closed.
    """
    claims = tuple(claims)
    if not any(claim.entry.options or claim.entry.closed for claim in claims):
        return Agreement(what, claims, (), closed=False, problems=())
    claims = tuple(replace(claim, server=None) if claim.entry.closed else claim for claim in claims)
    usable = [claim for claim in claims if not claim.entry.closed]
    named = {option.name for claim in usable for option in claim.entry.options}
    options: list[Option] = []
    problems: list[Problem] = []
    for key in PATH_KEYS.values():
        if key.name not in named or key.kind is Kind.ENTRY:
            continue
        holder = _choose(key, usable)
        value = find_option(holder.entry.options, key.name)
        others = [claim for claim in usable if find_option(claim.entry.options, key.name) != value]
        effect = LEFT_OUT if key.kind is Kind.WIRE else ""
        problems += tell(key, holder, others, what, effect)
        if value is not None:
            options.append(Option(key.name, value))
        if key.kind is Kind.WIRE:
            left_out = {claim.pod.name for claim in others}
            claims = tuple(replace(one, server=None) if one.pod.name in left_out else one for one in claims)
            usable = [claim for claim in claims if not claim.entry.closed]
    return Agreement(what, claims, tuple(options), closed=not usable, problems=tuple(problems))


def resolve(agreement: Agreement, fields: SecretFields | None) -> Agreement:
    """Replace references of options by what the routing Secret holds, and close the path if that is not usable."""
    if not agreement.options:
        return agreement
    options: list[Option] = []
    problems = list(agreement.problems)
    closed = agreement.closed
    for option in agreement.options:
        key = PATH_KEYS[option.name]
        if not key.resolve:
            options.append(option)
            continue
        try:
            options.append(Option(key.name, key.resolve(option.value, key.name, fields)))
        except Refused as refused:
            closed = closed or key.kind.closes
            effect = "all requests get 403" if key.kind.closes else "the key is left out"
            fault = refused.fault
            what, why = f"{agreement.what} {fault.what}", f"{fault.why}: {effect}"
            pod = _choose(key, [one for one in agreement.claims if not one.entry.closed]).pod
            problems.append(Problem(pod.resource, what, why, fault.expected, Reason.OPTION))
    return replace(agreement, options=tuple(options), closed=closed, problems=tuple(problems))


def _choose(key: Key, claims: list[PodClaim]) -> PodClaim:
    """Choose the claim whose value of a key counts: that of the newest Pod that has it if it protects, else the oldest.

    Whether a Pod that has a protection is ready makes no difference.
    """
    if key.kind is Kind.PROTECTION:
        return next(claim for claim in reversed(claims) if find_option(claim.entry.options, key.name))
    return next((claim for claim in claims if claim.server), claims[0])


def tell(key: Key, holder: PodClaim, others: Iterable[PodClaim], what: str, effect: str = "") -> Iterator[Problem]:
    """Tell which claims have another value of a key than the one that counts, and the effect of that."""
    for claim in others:
        has = "another" if find_option(claim.entry.options, key.name) else "no"
        age = "newer" if holder.pod.created > claim.pod.created else "older"
        counts = (
            "which protects the path" if key.kind is Kind.PROTECTION and has == "no" else f"which is {age} and counts"
        )
        why = f"has {has} {key.name}, other than Pod {holder.pod.name}, {counts}{effect}"
        expected = f"the same {key.name} in all Pods"
        yield Problem(claim.pod.resource, what, why, expected, Reason.DISAGREEMENT)
