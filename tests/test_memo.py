"""Memos: what is computed again, and what is forgotten."""

from reconciler.values.memo import Memo


def make_memo():
    calls = []

    def double(value):
        calls.append(value)
        return 2 * value

    return Memo(double), calls


def test_first_round_computes_everything():
    """The first round calls the function for each input, and gives the results by name in the inputs' order."""
    memo, calls = make_memo()
    assert list(memo.round({"b": 2, "a": 1}).items()) == [("b", 4), ("a", 2)]
    assert calls == [2, 1]


def test_equal_inputs_are_not_computed_again():
    """The function is not called for an input that equals the last round's, even if it is another object."""
    memo, calls = make_memo()
    memo.round({"a": [1, 2]})
    assert memo.round({"a": [1, 2]}) == {"a": [1, 2, 1, 2]}
    assert calls == [[1, 2]]


def test_only_changed_inputs_are_computed():
    """Only the changed and the new inputs are computed."""
    memo, calls = make_memo()
    memo.round({"a": 1, "b": 2})
    calls.clear()
    assert memo.round({"a": 1, "b": 3, "c": 4}) == {"a": 2, "b": 6, "c": 8}
    assert calls == [3, 4]


def test_unnamed_inputs_are_forgotten():
    """An input that a round does not name is forgotten, and computed again when it comes back."""
    memo, calls = make_memo()
    memo.round({"a": 1})
    assert memo.round({}) == {}
    calls.clear()
    assert memo.round({"a": 1}) == {"a": 2}
    assert calls == [1]


def test_results_belong_to_names():
    """If two names exchange their inputs, each name gets the result of its new input."""
    memo, _ = make_memo()
    memo.round({"a": 1, "b": 2})
    assert memo.round({"a": 2, "b": 1}) == {"a": 4, "b": 2}


def test_empty_results_are_remembered():
    """A result that counts as false is remembered like any other."""
    memo, calls = make_memo()
    memo.round({"a": 0})
    assert memo.round({"a": 0}) == {"a": 0}
    assert calls == [0]


def test_two_memos_forget_nothing_of_each_others():
    """Two memos of the same function do not share results: what one memo forgets, the other still remembers."""
    calls = []

    def record(value):
        calls.append(value)
        return value

    one, other = Memo(record), Memo(record)
    one.round({"a": 1})
    other.round({"b": 2})
    one.round({"a": 1})
    other.round({"b": 2})
    assert calls == [1, 2]
