"""The brake on a sudden loss: if much would be removed at once, the source is read again before that."""

from reconciler.routing.model import Size

# If more than this share of the hosts, or of the Pods, is lost, a fault of the API server is likelier than a change.
LARGEST_LOSS = 0.5


def is_sudden_loss(before: Size, after: Size) -> bool:
    """Tell whether more than LARGEST_LOSS of the hosts or of the Pods would be removed."""
    kept = 1 - LARGEST_LOSS
    return after.hosts < kept * before.hosts or after.pods < kept * before.pods
