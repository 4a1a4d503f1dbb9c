"""The files of options that nginx reads beside its configuration."""

from collections.abc import Iterable

from reconciler.routing.keys.catalogue import PATH_KEYS
from reconciler.routing.model import Upstream
from reconciler.values.files import SECRET, File


def collect_option_files(upstreams: Iterable[Upstream]) -> dict[str, File]:
    """Collect the secret files that the options of upstreams need. Paths with the same reference share one."""
    options = (option for upstream in upstreams if not upstream.closed for option in upstream.options)
    return {
        path: File(content, SECRET)
        for option in options
        for path, content in PATH_KEYS[option.name].list_secret_files(option.value)
    }
