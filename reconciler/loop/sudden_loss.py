"""The brake on a sudden loss: when so much would go at once, the source is asked again before anything goes."""

from reconciler.routing.model import Size

# The share of the hosts, or of the Pods, beyond which an API server's fault is likelier than a change.
LARGEST_LOSS = 0.5


def is_sudden_loss(before: Size, after: Size) -> bool:
    """Tell whether more than LARGEST_LOSS of the hosts or of the Pods would go."""
    kept = 1 - LARGEST_LOSS
    return after.hosts < kept * before.hosts or after.pods < kept * before.pods
