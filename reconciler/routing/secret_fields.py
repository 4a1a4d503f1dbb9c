"""The fields of a Namespace's routing Secret, to which hosts and options refer."""

from collections.abc import Iterable


class SecretFields(dict[str, bytes | None]):
    """The fields of a Namespace's routing Secret by name. A value that is not base64 is None."""

    def __init__(self, data: Iterable[tuple[str, bytes | None]], namespace: str) -> None:
        super().__init__(data)
        self.namespace = namespace

    def __repr__(self) -> str:
        return f"SecretFields({', '.join(self)})"
