"""The brake on a sudden loss: how much may disappear before the source is read again."""

import pytest

from reconciler.loop.sudden_loss import LARGEST_LOSS, is_sudden_loss
from reconciler.routing.model import Size


def test_the_number() -> None:
    """The number is half: docs/reliability.md says so."""
    assert LARGEST_LOSS == 0.5


@pytest.mark.parametrize(
    ("before", "after", "is_loss"),
    [
        ((10, 100), (5, 50), False),
        ((10, 100), (4, 100), True),
        ((10, 100), (10, 49), True),
        ((10, 100), (0, 0), True),
        ((3, 3), (2, 2), False),
        ((3, 3), (1, 3), True),
        ((1, 1), (1, 0), True),
        ((0, 0), (0, 0), False),
        ((1, 1), (9, 9), False),
    ],
)
def test_rule(before: tuple[int, int], after: tuple[int, int], is_loss: bool) -> None:
    """The loss of more than half of the hosts, or of the Pods, is a sudden loss; the loss of exactly half is not."""
    assert is_sudden_loss(Size(*before), Size(*after)) is is_loss
