"""Redirects: whether a path asks Pods or sends clients elsewhere, if its Pods do not agree about that."""

from msgspec.structs import replace

from reconciler.routing.agreement import LEFT_OUT, PodClaim, tell
from reconciler.routing.keys import redirect
from reconciler.routing.keys.redirect import Redirect
from reconciler.routing.options import Option, find_option
from reconciler.routing.problems import Problem
from reconciler.values.value import Value


class Course(Value, frozen=True):
    """The claims of a path, and its redirect. If there is one, no claim has a server."""

    claims: tuple[PodClaim, ...]
    redirects: tuple[Option, ...]
    problems: tuple[Problem, ...]


def choose_course(claims: tuple[PodClaim, ...], what: str) -> Course:
    """Choose between Pods and a redirect, as the oldest Pod has it that counts; `claims` are sorted oldest Pod first.

    A redirect needs no Pod that is ready. Yet a ready Pod counts more, as with all keys that Pods disagree about.
    """
    if all(claim.entry.port is not None for claim in claims):
        return Course(claims, (), ())
    usable = [claim for claim in claims if not claim.entry.closed]
    holder = next(filter(_is_ready, usable), (usable or claims)[0])
    wanted = _find(holder)
    problems = tell(redirect.KEY, holder, (claim for claim in usable if _find(claim) != wanted), what, LEFT_OUT)
    if wanted:
        claims = tuple(replace(claim, server=None) for claim in claims)
    redirects = (Option(redirect.KEY.name, wanted),) if wanted else ()
    return Course(claims, redirects, tuple(problems))


def _is_ready(claim: PodClaim) -> bool:
    return bool(claim.server or (_find(claim) and claim.pod.ip))


def _find(claim: PodClaim) -> Redirect | None:
    found = find_option(claim.entry.options, redirect.KEY.name)
    return found if isinstance(found, Redirect) else None
