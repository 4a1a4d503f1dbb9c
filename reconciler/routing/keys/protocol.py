"""protocol: what nginx speaks with the Pods of a path."""

from typing import Any

from reconciler.routing.annotations import Refused
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import choice
from reconciler.routing.options import Options, find_option
from reconciler.settings import Settings
from reconciler.values.value import Value

# nginx keeps the names of the headers for gRPC in a hash whose size no directive changes. With a longer one it does not
# start: https://github.com/nginx/nginx/blob/master/src/http/modules/ngx_http_grpc_module.c
LONGEST_HEADER = 46


class Grpc(Value, frozen=True):
    """gRPC over HTTP/2."""

    def __str__(self) -> str:
        return "grpc"


def _parse(value: Any, what: str, settings: Settings) -> Grpc | None:
    if choice("http", "grpc")(value, what) == "http":
        return None
    if len(settings.api_key_header) > LONGEST_HEADER:
        why = "is grpc, for which nginx has no room for a header's name as long as that in API_KEY_HEADER"
        raise Refused(what, why, f"http, or an API_KEY_HEADER of at most {LONGEST_HEADER} characters")
    return Grpc()


def speaks_grpc(options: Options) -> bool:
    """Tell whether nginx speaks gRPC with the Pods of a path that has these options."""
    return find_option(options, KEY.name) is not None


KEY = Key(
    name="protocol",
    kind=Kind.WIRE,
    needs_upstream=lambda _: True,
    parse=_parse,
    shape='"http" or "grpc"',
    default="http",
    does="With grpc, nginx passes calls of gRPC on, with their streams and trailers. Such a path has no targetPath. A "
    "client's pause in its stream may be as long as timeouts.read, like a Pod's. Clients need HTTP/2: on a host "
    "without ssl, nginx has it from 1.25.1 on.",
)
