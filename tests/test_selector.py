"""Label selectors: the grammar, and which labels are selected."""

import pytest

from reconciler.values.selector import Requirement, parse_selector


@pytest.mark.parametrize(
    ("text", "requirement"),
    [
        ("a=b", Requirement("a", ("b",), negated=False)),
        ("a==b", Requirement("a", ("b",), negated=False)),
        ("a!=b", Requirement("a", ("b",), negated=True)),
        ("  a  =  b  ", Requirement("a", ("b",), negated=False)),
        ("\ta\n!=\nb", Requirement("a", ("b",), negated=True)),
        ("a=", Requirement("a", ("",), negated=False)),
        ("a==", Requirement("a", ("",), negated=False)),
        ("a!=", Requirement("a", ("",), negated=True)),
        ("a", Requirement("a", (), negated=False)),
        ("!a", Requirement("a", (), negated=True)),
        (" ! a ", Requirement("a", (), negated=True)),
        ("a in (b)", Requirement("a", ("b",), negated=False)),
        ("a in (a,b)", Requirement("a", ("a", "b"), negated=False)),
        ("a in(b,a)", Requirement("a", ("a", "b"), negated=False)),
        ("a  in  ( b , a , b )", Requirement("a", ("a", "b"), negated=False)),
        ("a notin (b,c)", Requirement("a", ("b", "c"), negated=True)),
        ("a in ()", Requirement("a", ("",), negated=False)),
        ("a in (,b)", Requirement("a", ("", "b"), negated=False)),
        ("a in (b,)", Requirement("a", ("", "b"), negated=False)),
        ("in in (in)", Requirement("in", ("in",), negated=False)),
        ("notin", Requirement("notin", (), negated=False)),
        ("x.io/a=b", Requirement("x.io/a", ("b",), negated=False)),
    ],
)
def test_one_term(text, requirement):
    """Each form of a term has one meaning, wherever it has blanks."""
    assert parse_selector(text).requirements == (requirement,)


def test_many_terms():
    """Commas separate terms, even if the set of a term contains commas itself."""
    selector = parse_selector("a=b,c!=d,e in (f,g),h notin (i),j,!k,l=,m")
    assert [requirement.key for requirement in selector.requirements] == list("acehjklm")


@pytest.mark.parametrize("text", ["a=b", " a in (b,c) , !d "])
def test_text_is_kept(text):
    """A selector is sent to an API server as it was written."""
    assert str(parse_selector(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a label key is missing"),
        ("  ", "a label key is missing"),
        ("!", "a label key is missing"),
        ("a,", "a label key is missing"),
        (",a", "',' is not a label key"),
        ("a,,b", "',' is not a label key"),
        ("=a", "'=' is not a label key"),
        ("!!a", "'!' is not a label key"),
        ("a b", "'b' is not an operator"),
        ("a!b", "'!' is not an operator"),
        ("a (b)", "'(' is not an operator"),
        ("a IN (b)", "'IN' is not an operator"),
        ("a>1", "'a>1' is not a label key"),
        ("a=b=c", "',' is missing"),
        ("a=b c", "',' is missing"),
        ("!a=b", "',' is missing"),
        ("!a in (b)", "',' is missing"),
        ("a=(b)", "'(' is not a label value"),
        ("a===b", "'=' is not a label value"),
        ("a=!b", "'!' is not a label value"),
        ("a in", "'(' is missing"),
        ("a in b", "'(' is missing"),
        ("a in (b", "')' is missing"),
        ("a in (b c)", "')' is missing"),
        ("a in (b", "')' is missing"),
        ("a in (b))", "',' is missing"),
        ("a in ((b))", "'(' is not a label value"),
        ("-a=b", "'-a' is not a label key"),
        ("a/b/c", "'a/b/c' is not a label key"),
        ("a=-b", "'-b' is not a label value"),
        ("a=b/c", "'b/c' is not a label value"),
        ("a=" + "b" * 64, "is not a label value"),
    ],
)
def test_malformed(text, why):
    """A malformed selector is refused, and the error names the part that is wrong."""
    with pytest.raises(ValueError, match=r"is missing|is no") as caught:
        parse_selector(text)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "labels", "accepted"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "B"}, False),
        ("a=b", {"a": ""}, False),
        ("a=b", {}, False),
        ("a=", {"a": ""}, True),
        ("a=", {"a": "b"}, False),
        ("a=", {}, False),
        ("a!=b", {"a": "b"}, False),
        ("a!=b", {"a": "c"}, True),
        ("a!=b", {}, True),
        ("a!=", {"a": ""}, False),
        ("a!=", {}, True),
        ("a in (b,c)", {"a": "c"}, True),
        ("a in (b,c)", {"a": "d"}, False),
        ("a in (b,c)", {}, False),
        ("a in ()", {"a": ""}, True),
        ("a in (b,)", {"a": ""}, True),
        ("a notin (b,c)", {"a": "c"}, False),
        ("a notin (b,c)", {"a": "d"}, True),
        ("a notin (b,c)", {}, True),
        ("a", {"a": ""}, True),
        ("a", {"b": "a"}, False),
        ("!a", {"a": ""}, False),
        ("!a", {"b": "a"}, True),
    ],
)
def test_accepts(text, labels, accepted):
    """An absent key meets every negated term and no other; an empty value is a value."""
    assert parse_selector(text).accepts(labels) is accepted


@pytest.mark.parametrize(
    ("labels", "accepted"),
    [({"a": "b", "c": "e"}, True), ({"a": "b"}, True), ({"a": "b", "c": "d"}, False), ({"c": "e"}, False)],
)
def test_accepts_all_terms(labels, accepted):
    """An object is selected when it meets every term."""
    assert parse_selector("a=b,c!=d").accepts(labels) is accepted
