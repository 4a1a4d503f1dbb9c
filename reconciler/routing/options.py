"""Options: what a path or a host asks for beyond being routed, as values. Their keys are declared in keys/."""

from collections.abc import Iterable

from reconciler.values.value import Value


class Option(Value, frozen=True):
    """A key's name and its parsed value, whose text is for people and holds no secret."""

    name: str
    value: Value


class ToldOption(Value, frozen=True):
    """A value of which only the text is known, because another router told it."""

    text: str

    def __str__(self) -> str:
        return self.text


Options = tuple[Option, ...]


def find_option(options: Iterable[Option], name: str) -> Value | None:
    """Give the value of a key; None if it is not among the options."""
    return next((option.value for option in options if option.name == name), None)


def tell_options(options: Iterable[Option]) -> dict[str, str]:
    """Give the text of each option by the name of its key, for people and scripts."""
    return {option.name: str(option.value) for option in options}
