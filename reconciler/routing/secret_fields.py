"""The fields of a Namespace's routing Secret, to which hosts and options refer."""


class SecretFields(dict[str, bytes | None]):
    """The fields of a routing Secret by name. A value that is not base64 is None."""

    def __repr__(self) -> str:
        return f"SecretFields({', '.join(self)})"
