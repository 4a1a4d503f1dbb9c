"""Admission policies, evaluated by Google's CEL as an API server evaluates them.

Kubernetes' own functions `find` and `findAll` are written here: https://kubernetes.io/docs/reference/using-api/cel/
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import re2
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings
from support.manifests import read_documents
from support.objects import Object

_BOOL, _DYN, _STRING = cel.Type.BOOL, cel.Type.DYN, cel.Type.STRING


def _find(text: str, pattern: str) -> str:
    found = re2.search(pattern, text)
    return str(found.group()) if found else ""


def _find_all(text: str, pattern: str) -> list[str]:
    return [str(found.group()) for found in re2.finditer(pattern, text)]


def _declare(name: str, returns: Any, function: Callable[..., Any]) -> Any:
    overload = cel.Overload(f"string_{name}_string", returns, [_STRING, _STRING], is_member=True, impl=function)
    return cel.FunctionDecl(name, [overload])


_EXTENSIONS = [
    ext_strings.ExtStrings(),
    ext_optional.ExtOptional(),
    cel.CelExtension(
        "kubernetes.regex",
        [_declare("find", _STRING, _find), _declare("findAll", cel.Type.List(_STRING), _find_all)],
    ),
]


class Policy:
    """One ValidatingAdmissionPolicy, compiled: `types` holds the type of each of its expressions, by its text."""

    def __init__(self, path: Path) -> None:
        """Compile the policy of a file. RuntimeError if CEL refuses an expression."""
        (self.manifest,) = read_documents(path)
        spec = self.manifest["spec"]
        self._known: dict[str, Any] = {"object": _DYN, "oldObject": _DYN}
        self.types: dict[str, Any] = {}
        self._conditions = [self._compile(condition["expression"]) for condition in spec["matchConditions"]]
        self._variables = {}
        for variable in spec["variables"]:
            name = f"variables.{variable['name']}"
            self._variables[name] = self._compile(variable["expression"])
            self._known[name] = self._variables[name].return_type()
        self._validations = [
            (
                self._compile(rule["expression"]),
                rule["message"],
                self._compile(rule["messageExpression"]) if "messageExpression" in rule else None,
            )
            for rule in spec["validations"]
        ]

    def _compile(self, text: str) -> Any:
        compiled = cel.NewEnv(variables=self._known, extensions=_EXTENSIONS).compile(text)
        self.types[text] = compiled.return_type()
        return compiled

    def selects(self, item: Object, old: Object | None = None) -> bool:
        """Tell whether the policy looks at a request that makes an object, or that makes it of an old one."""
        known = {"object": item, "oldObject": old}
        return all(condition.eval(data=known).plain_value() is True for condition in self._conditions)

    def judge(self, item: Object) -> list[str]:
        """Give the messages about an object, in the order of the rules. AssertionError if an expression fails."""
        return list(self._judge(item))

    def _judge(self, item: Object) -> Iterator[str]:
        known: dict[str, Any] = {"object": item, "oldObject": None}
        for name, variable in self._variables.items():
            known[name] = _plain(variable.eval(data=known))
        for rule, message, text in self._validations:
            if not _plain(rule.eval(data=known)):
                yield _plain(text.eval(data=known)) if text else message

    def names_of_rules(self) -> Iterator[str]:
        """Give the text of each rule that must be true or false."""
        for part in ("matchConditions", "validations"):
            yield from (rule["expression"] for rule in self.manifest["spec"][part])


def _plain(value: Any) -> Any:
    plain = value.plain_value()
    assert value.type() != cel.Type.ERROR, plain
    return plain
