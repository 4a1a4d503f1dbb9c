"""dispatcher: routes names and paths straight to Pods. It keeps an nginx configuration in step with a cluster."""

from importlib.metadata import version

__version__ = version("dispatcher")
