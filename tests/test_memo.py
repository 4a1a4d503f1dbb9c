"""Memos: what is done again, and what is forgotten."""

from reconciler.values.memo import Memo


def make_memo():
    calls = []

    def scale(value, factor):
        calls.append(value)
        return value * factor

    return Memo(scale), calls


def test_first_round_computes_everything():
    """The first round calls the function for each input and gives its results by name, in the inputs' order."""
    memo, calls = make_memo()
    assert list(memo.round({"b": 2, "a": 1}, 10).items()) == [("b", 20), ("a", 10)]
    assert calls == [2, 1]


def test_equal_inputs_are_not_computed_again():
    """An input that equals the last round's costs no call, even if it is another object."""
    calls = []

    def count(value, _):
        calls.append(value)
        return len(value)

    memo = Memo(count)
    memo.round({"a": [1, 2]}, None)
    assert memo.round({"a": [1, 2]}, None) == {"a": 2}
    assert calls == [[1, 2]]


def test_only_changed_inputs_are_computed():
    """Of many inputs only the changed and the new ones are computed."""
    memo, calls = make_memo()
    memo.round({"a": 1, "b": 2}, 10)
    calls.clear()
    assert memo.round({"a": 1, "b": 3, "c": 4}, 10) == {"a": 10, "b": 30, "c": 40}
    assert calls == [3, 4]


def test_changed_context_computes_everything():
    """Another context makes every result be computed anew."""
    memo, calls = make_memo()
    memo.round({"a": 1, "b": 2}, 10)
    calls.clear()
    assert memo.round({"a": 1, "b": 2}, 100) == {"a": 100, "b": 200}
    assert calls == [1, 2]


def test_unnamed_inputs_are_forgotten():
    """What one round does not name is computed again when it comes back."""
    memo, calls = make_memo()
    memo.round({"a": 1}, 10)
    assert memo.round({}, 10) == {}
    calls.clear()
    assert memo.round({"a": 1}, 10) == {"a": 10}
    assert calls == [1]


def test_results_belong_to_names():
    """Two names may change their inputs about without taking one another's results."""
    memo, _ = make_memo()
    memo.round({"a": 1, "b": 2}, 10)
    assert memo.round({"a": 2, "b": 1}, 10) == {"a": 20, "b": 10}


def test_empty_results_are_remembered():
    """A result that counts as false is remembered like any other."""
    memo, calls = make_memo()
    memo.round({"a": 0}, 10)
    assert memo.round({"a": 0}, 10) == {"a": 0}
    assert calls == [0]
