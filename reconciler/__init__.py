"""dispatcher: routes names and paths straight to Pods. It keeps an nginx configuration in step with a cluster."""

__version__ = "0.1.0"
