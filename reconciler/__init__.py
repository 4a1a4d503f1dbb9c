"""dispatcher: routes names and paths straight to Pods by keeping an nginx configuration true to a cluster."""

from importlib.metadata import version

__version__ = version("dispatcher")
