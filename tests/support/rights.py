"""What requests to an API server ask for, and which rules of roles allow it, as Kubernetes' RBAC judges."""

import re

from support.apiserver import Request
from support.objects import Object

# https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PATH = re.compile(
    r"(?:/api|/apis/(?P<group>[^/]+))/v1(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?"
)


def find_rule(rights: dict[str, list[Object]], request: Request) -> Object | None:
    """Find the rule that allows a request; `rights` has the rules by Namespace, and the empty one is for all of them.

    None if no rule does.
    """
    path = _PATH.fullmatch(request.path)
    assert path, request.path
    namespace, name, verb = path["namespace"] or "", path["name"] or "", _VERBS[request.method]
    if verb == "get" and not name:
        verb = "list"
        selected = re.search(r"(?:^|,)metadata\.name=([^,]+)", request.query.get("fieldSelector", ""))
        name = selected[1] if selected else ""
    return next(
        (
            rule
            for rule in [*rights.get("", ()), *(rights.get(namespace, ()) if namespace else ())]
            if (path["group"] or "") in rule["apiGroups"]
            and path["resource"] in rule["resources"]
            and verb in rule["verbs"]
            and ("resourceNames" not in rule or name in rule["resourceNames"])
        ),
        None,
    )
