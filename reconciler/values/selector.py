"""Label selectors, in the grammar of Kubernetes' API server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.values.patterns import LABEL_VALUE, QUALIFIED_NAME

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
_TOKEN = re.compile(r"\s*(==|!=|[=!,()]|[^\s=!,()]+)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector: the label `key` has one of `values`, or any value if `values` is empty.

    If `negated`, the opposite must be true.
    """

    key: str
    values: tuple[str, ...]
    negated: bool

    def accepts(self, labels: Mapping[str, str | None]) -> bool:
        """Tell whether an object with these labels meets the term; an absent key meets every negated term."""
        value = (labels[self.key] or "") if self.key in labels else None
        return (value is not None and (not self.values or value in self.values)) is not self.negated


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector: the text as it is sent to an API server, and its terms, which must all be met."""

    text: str
    requirements: tuple[Requirement, ...]

    def accepts(self, labels: Mapping[str, str | None]) -> bool:
        """Tell whether an object with these labels is selected."""
        return all(requirement.accepts(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return self.text


def parse_selector(text: str) -> Selector:
    """Parse terms of `=`, `==`, `!=`, `in`, `notin`, `key` and `!key`, with commas between.

    ValueError says what is wrong.
    """
    tokens = _TOKEN.findall(text)
    requirements = [_take_requirement(tokens)]
    while tokens:
        _expect(tokens, ",")
        requirements.append(_take_requirement(tokens))
    return Selector(text, tuple(requirements))


def _take_requirement(tokens: list[str]) -> Requirement:
    negated = tokens[:1] == ["!"]
    if negated:
        tokens.pop(0)
    key = _take(tokens, "a label key")
    if not QUALIFIED_NAME.accepts(key):
        raise ValueError(f"{key!r} is not a label key")
    if negated or tokens[:1] in ([], [","]):
        return Requirement(key, (), negated)
    operator = _take(tokens, "an operator")
    if operator in ("=", "==", "!="):
        return Requirement(key, (_take_value(tokens),), operator == "!=")
    if operator in ("in", "notin"):
        return Requirement(key, _take_set(tokens), operator == "notin")
    raise ValueError(f"{operator!r} is not an operator")


def _take_set(tokens: list[str]) -> tuple[str, ...]:
    _expect(tokens, "(")
    values = [_take_value(tokens)]
    while tokens[:1] == [","]:
        tokens.pop(0)
        values.append(_take_value(tokens))
    _expect(tokens, ")")
    return tuple(sorted(set(values)))


def _take_value(tokens: list[str]) -> str:
    if tokens[:1] in ([], [","], [")"]):
        return ""
    value = tokens.pop(0)
    if not LABEL_VALUE.accepts(value):
        raise ValueError(f"{value!r} is not a label value")
    return value


def _expect(tokens: list[str], token: str) -> None:
    if _take(tokens, repr(token)) != token:
        raise ValueError(f"{token!r} is missing")


def _take(tokens: list[str], what: str) -> str:
    if not tokens:
        raise ValueError(f"{what} is missing")
    return tokens.pop(0)
