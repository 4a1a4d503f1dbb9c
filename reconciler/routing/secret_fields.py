"""The fields of a Namespace's routing Secret, to which hosts and options refer."""

from collections.abc import Iterable

from reconciler.values.certificates import PemCache

# Where manifests are read without their Secrets, this counts as no problem.
NOT_THERE = "refers to a Secret that does not exist"


class SecretFields(dict[str, bytes | None]):
    """The fields of a Namespace's routing Secret by name, and what parses PEMs in them.

    A value that is not base64 is None.
    """

    def __init__(self, data: Iterable[tuple[str, bytes | None]], namespace: str, pems: PemCache) -> None:
        super().__init__(data)
        self.namespace = namespace
        self.pems = pems

    def __repr__(self) -> str:
        return f"SecretFields({', '.join(self)})"
