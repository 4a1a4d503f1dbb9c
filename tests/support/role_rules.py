"""Which rules of roles allow a request to an API server, as Kubernetes' RBAC judges."""

import re

from support.apiserver import Request
from support.objects import Object
from support.request_path import read_path


def find_rule(rights: dict[str, list[Object]], request: Request) -> Object | None:
    """Find the rule that allows a request; `rights` has the rules by Namespace, and the empty one is for all of them.

    None if no rule does.
    """
    target = read_path(request.path)
    assert target, request.path
    name, verb = target.name, target.find_verb(request.method)
    if verb == "list":
        # A list that a field selector limits to one name is allowed for this name.
        selected = re.search(r"(?:^|,)metadata\.name=([^,]+)", request.query.get("fieldSelector", ""))
        name = selected[1] if selected else ""
    return next(
        (
            rule
            for rule in [*rights.get("", ()), *(rights.get(target.namespace, ()) if target.namespace else ())]
            if target.kind.group in rule["apiGroups"]
            and target.kind.resource in rule["resources"]
            and verb in rule["verbs"]
            and ("resourceNames" not in rule or name in rule["resourceNames"])
        ),
        None,
    )
