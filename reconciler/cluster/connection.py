"""Requests to the API server: pykube's client with our own TLS, proxy handling and deadlines."""

import os
import ssl
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pykube
import requests
import urllib3
from pykube.http import KubernetesHTTPAdapter

from reconciler import __version__
from reconciler.cluster.credentials import Access, Credentials, CredentialsError, Pem
from reconciler.cluster.deadline import TlsSocket, deadline, use_pools


class _Adapter(KubernetesHTTPAdapter):  # type: ignore[misc]
    """pykube's adapter with our own TLS and sockets. It ignores what pykube reads about users and clusters."""

    def __init__(self, config: pykube.KubeConfig, access: Access) -> None:
        self._access = access
        self._tls = make_context(access)
        super().__init__(config)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Use our own TLS options and sockets."""
        super().init_poolmanager(*args, **options, **self._options())
        use_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Use our own TLS options for a proxy, and our own sockets unless it is a SOCKS proxy.

        A TLS proxy is verified in the same way as the API server, as in kubectl.
        """
        if proxy.startswith("socks"):
            return super().proxy_manager_for(proxy, **options, **self._options())
        manager = super().proxy_manager_for(proxy, proxy_ssl_context=self._tls, **options, **self._options())
        use_pools(manager)
        return manager

    def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Leave out the attributes of TLS: the pools have them already."""
        return super().build_connection_pool_key_attributes(*args, **options)[0], {}

    def cert_verify(self, *_: object) -> None:
        """Do nothing: requests would add its own bundle to the pool's certificates."""

    def add_headers(self, request: requests.PreparedRequest, **_: object) -> None:
        """Add the headers of impersonation; several of them may have the same name."""
        headers = urllib3.HTTPHeaderDict(request.headers)
        for name, value in self._access.headers:
            headers.add(name, value)
        request.headers = headers  # type: ignore[assignment]

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request once. A redirect is an error, because the credentials are for one server only."""
        response: requests.Response = super().send(request, **options)
        if response.is_redirect:
            response.close()
            raise requests.TooManyRedirects(f"{response.status_code}: a redirect, which is not followed")
        return response

    def _setup_request_certificates(self, *_: object) -> None:
        """Do nothing: pykube would write certificates to files, but the pools have them already."""

    def _options(self) -> dict[str, Any]:
        verify = "CERT_NONE" if self._access.insecure else "CERT_REQUIRED"
        return {
            "ssl_context": self._tls,
            "cert_reqs": verify,
            "server_hostname": self._access.server_name or None,
        }


class Connection:
    """pykube's client `api` for one API server; its session keeps connections and uses the newest credentials."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._access = credentials.access
        self.api = pykube.HTTPClient(
            pykube.KubeConfig.from_url(self._access.server), http_adapter=_make_adapter(self._access)
        )
        session = self.api.session
        session.trust_env = False
        session.headers.update(
            {
                "User-Agent": f"dispatcher/{__version__}",
                "Accept": "application/json",
                # compressing JSON costs the API server more than it saves; collection.py has protobuf
                "Accept-Encoding": "identity",
            }
        )
        self._follow(self._access)

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Raise TimeoutError if all requests of this thread in the block together take more than `seconds`.

        Only resolving the server's name is not limited: it takes as long as the resolver takes.
        """
        return deadline(seconds)

    def renew(self, refused: bool = False) -> bool:
        """Renew the credentials and use them; tell whether they differ. CredentialsError changes nothing."""
        self._credentials.renew(refused)
        access = self._credentials.access
        if access == self._access:
            return False
        old = self._access
        if msgspec.structs.replace(access, authorization=old.authorization) != old:
            self._mount(_make_adapter(access))
        self._follow(access)
        return True

    def close(self) -> None:
        """Close all connections."""
        self.api.session.close()

    def _mount(self, adapter: _Adapter) -> None:
        session = self.api.session
        session.close()
        for scheme in ("https://", "http://"):
            session.mount(scheme, adapter)

    def _follow(self, access: Access) -> None:
        session = self.api.session
        session.proxies = {"http": access.proxy, "https": access.proxy} if access.proxy else {}
        session.headers.pop("Authorization", None)
        if access.authorization:
            session.headers["Authorization"] = access.authorization
        self.api.url = access.server
        self._access = access


def make_context(access: Access) -> ssl.SSLContext:
    """Make the TLS context of a connection. CredentialsError if a certificate or key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    # As in kubectl, it is enough to trust an intermediate authority: https://pkg.go.dev/crypto/x509#VerifyOptions
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca:
        _trust(context, access.ca)
    else:
        _trust_system(context)
    if access.certificate and access.key:
        _load_pair(context, access.certificate, access.key)
    return context


def _make_adapter(access: Access) -> _Adapter:
    if access.insecure:
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
    return _Adapter(pykube.KubeConfig.from_url(access.server), access)


def _trust(context: ssl.SSLContext, ca: Pem) -> None:
    try:
        context.load_verify_locations(cadata=ca.content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise CredentialsError(f"{ca.origin}: is not a PEM of certificates") from None


def _trust_system(context: ssl.SSLContext) -> None:
    """Trust what the system trusts, but ignore OpenSSL's variables.

    SSL_CERT_DIR may name the folder of the tenants' certificates.
    """
    paths = ssl.get_default_verify_paths()
    file = paths.openssl_cafile if Path(paths.openssl_cafile).is_file() else None
    folder = paths.openssl_capath if Path(paths.openssl_capath).is_dir() else None
    if file or folder:
        context.load_verify_locations(file, folder)


def _load_pair(context: ssl.SSLContext, certificate: Pem, key: Pem) -> None:
    """Load a client certificate. OpenSSL needs a file, so it gets one that is in memory and in no folder."""
    handle = os.memfd_create("client")
    try:
        with os.fdopen(handle, "wb", closefd=False) as stream:
            stream.write(certificate.content + b"\n" + key.content)
        # Without this passphrase OpenSSL would prompt for one on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{handle}", password="")
    except (ssl.SSLError, ValueError):
        raise CredentialsError(f"{key.origin}: is not a PEM of an unencrypted key of {certificate.origin}") from None
    finally:
        os.close(handle)
