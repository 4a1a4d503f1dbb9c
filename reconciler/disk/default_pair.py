"""The default server's certificate and key: files of the operator, followed while the router runs."""

import ssl
from hashlib import blake2b
from pathlib import Path

from msgspec.structs import replace

from reconciler.loop.ports import Source
from reconciler.objects.snapshot import PemPair, Snapshot
from reconciler.settings import Settings
from reconciler.values.certificates import CertificateError, parse_chain, parse_key

_Stamp = tuple[tuple[int, ...], ...]


class WithDefaultPair:
    """A source that adds the default server's certificate and key to what another source reads.

    The files are read again when they change. While they cannot be used, the last good pair stays. The first one is
    that of the settings; without SSL_CERT nothing is added.
    """

    def __init__(self, source: Source, settings: Settings, certificate: str, key: str) -> None:
        self._source = source
        self._files = {"SSL_CERT": certificate, "SSL_KEY": key}
        self._pair = PemPair(settings.ssl_cert, settings.ssl_key) if settings.ssl_cert else None
        self._stamp: _Stamp | None = None
        self._complaint = ""

    @property
    def complaints(self) -> tuple[str, ...]:
        """What the other source left out, and why the files cannot be used."""
        return (*self._source.complaints, self._complaint) if self._complaint else self._source.complaints

    def read(self, *, consistently: bool = False) -> Snapshot:
        """Read the other source, and add the pair."""
        snapshot = self._source.read(consistently=consistently)
        if not self._pair:
            return snapshot
        self._follow()
        digest = blake2b(self._pair.certificate + self._pair.key, key=snapshot.digest[:64]).digest()
        return replace(snapshot, default_pair=self._pair, digest=digest)

    def _follow(self) -> None:
        """Read the files if they changed since they were read last."""
        stamp = self._find_stamp()
        if stamp is not None and stamp == self._stamp:
            return
        refusal = self._take() and self._take()  # twice: between two reads both files may have been replaced
        self._complaint = f"{refusal}; the last good certificate is served" if refusal else ""
        self._stamp = None if refusal else stamp

    def _take(self) -> str:
        """Take the pair from the files. If it cannot be used, say why."""
        name = "SSL_CERT"
        try:
            chain = parse_chain(Path(self._files[name]).read_bytes())
            name = "SSL_KEY"
            pair = PemPair(chain.pem, parse_key(Path(self._files[name]).read_bytes(), chain))
            # nginx loads it in the same way. A pair that it refuses would keep everyone's changes from going live.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._files["SSL_CERT"], self._files[name], "")
            self._pair = pair
        except ssl.SSLError:
            return f"SSL_CERT: {self._files['SSL_CERT']} is refused by OpenSSL"
        except (CertificateError, OSError) as error:
            why = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
            return f"{name}: {self._files[name]} {why}"
        return ""

    def _find_stamp(self) -> _Stamp | None:
        """Give what differs when a file was written or replaced; None if one is not there."""
        try:
            states = [Path(path).stat() for path in self._files.values()]
        except OSError:
            return None
        return tuple((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns) for state in states)
