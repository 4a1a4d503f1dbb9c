"""Reporters: what tells tenants their problems in the cluster itself."""

import random
from collections.abc import Mapping

from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import find_credentials
from reconciler.cluster.event_writer import EventWriter
from reconciler.cluster.events import EventReporter
from reconciler.settings import Settings
from reconciler.values.patterns import DNS_SUBDOMAIN


def make_reporter(settings: Settings, environment: Mapping[str, str]) -> EventReporter | None:
    """Make the reporter of Kubernetes Events; None if they are off. CredentialsError says why there is no connection.

    Its connection and credentials are its own: those of the loop are not made for two threads.
    """
    credentials = find_credentials(environment) if settings.events else None
    if not credentials:
        return None
    name = environment.get("HOSTNAME", "")  # in a Pod, the Pod's name
    instance = name if DNS_SUBDOMAIN.accepts(name) else ""
    writer = EventWriter(Connection(credentials), settings.api_timeout, instance)
    return EventReporter(writer, random.Random())  # noqa: S311
