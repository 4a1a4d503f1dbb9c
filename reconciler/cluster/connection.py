"""Requests to the API server: pykube's client, with TLS, proxy, and a deadline of our own."""

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
    """pykube's adapter, with TLS and sockets of ours and without what pykube reads of users and clusters."""

    def __init__(self, config: pykube.KubeConfig, access: Access) -> None:
        self._access = access
        self._tls = make_context(access)
        super().__init__(config)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make connections ours."""
        super().init_poolmanager(*args, **options, **self._options())
        use_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make connections through a proxy ours; a TLS proxy is verified as the API server is, as kubectl does it."""
        if proxy.startswith("socks"):
            return super().proxy_manager_for(proxy, **options, **self._options())
        manager = super().proxy_manager_for(proxy, proxy_ssl_context=self._tls, **options, **self._options())
        use_pools(manager)
        return manager

    def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Say nothing of TLS, which the pools know already."""
        return super().build_connection_pool_key_attributes(*args, **options)[0], {}

    def cert_verify(self, *_: object) -> None:
        """Leave the pool's certificates alone: requests would add a bundle of its own to them."""

    def add_headers(self, request: requests.PreparedRequest, **_: object) -> None:
        """Add the headers of impersonation, of which there may be several with one name."""
        headers = urllib3.HTTPHeaderDict(request.headers)
        for name, value in self._access.headers:
            headers.add(name, value)
        request.headers = headers  # type: ignore[assignment]

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request once. A redirect is a failure: credentials are for one server alone."""
        response: requests.Response = super().send(request, **options)
        if response.is_redirect:
            response.close()
            raise requests.TooManyRedirects(f"{response.status_code}: a redirect, which is not followed")
        return response

    def _setup_request_certificates(self, *_: object) -> None:
        """Leave to the pools what pykube would write to files."""

    def _options(self) -> dict[str, Any]:
        verify = "CERT_NONE" if self._access.insecure else "CERT_REQUIRED"
        return {
            "ssl_context": self._tls,
            "cert_reqs": verify,
            "server_hostname": self._access.server_name or None,
        }


class Connection:
    """pykube's client for one API server: `api`, whose session keeps its connections and follows the credentials."""

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
                "Accept-Encoding": "identity",  # compressing costs the API server more than the bytes cost anybody
            }
        )
        self._follow(self._access)

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """End whatever this thread does at the API server inside in `seconds`, all of it together, by TimeoutError.

        Looking for the server's name is the one thing that takes as long as the resolver takes.
        """
        return deadline(seconds)

    def renew(self, refused: bool = False) -> bool:
        """Renew the credentials and go on with them if they differ: tell whether. CredentialsError changes nothing."""
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
    """Make the TLS of a connection. CredentialsError where a certificate or key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    # An intermediate authority is enough, as it is for kubectl: https://pkg.go.dev/crypto/x509#VerifyOptions
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
    """Trust what the system trusts; not by OpenSSL's variables, for SSL_CERT_DIR may name the tenants' folder."""
    paths = ssl.get_default_verify_paths()
    file = paths.openssl_cafile if Path(paths.openssl_cafile).is_file() else None
    folder = paths.openssl_capath if Path(paths.openssl_capath).is_dir() else None
    if file or folder:
        context.load_verify_locations(file, folder)


def _load_pair(context: ssl.SSLContext, certificate: Pem, key: Pem) -> None:
    """Load a client certificate; OpenSSL wants a file, and gets one that lies in memory and in no folder."""
    handle = os.memfd_create("client")
    try:
        with os.fdopen(handle, "wb", closefd=False) as stream:
            stream.write(certificate.content + b"\n" + key.content)
        # Without a passphrase OpenSSL would ask on the terminal for one.
        context.load_cert_chain(f"/proc/self/fd/{handle}", password="")
    except (ssl.SSLError, ValueError):
        raise CredentialsError(f"{key.origin}: is not a PEM of an unencrypted key of {certificate.origin}") from None
    finally:
        os.close(handle)
