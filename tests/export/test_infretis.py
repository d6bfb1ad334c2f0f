"""What of a path infRETIS gets."""

from __future__ import annotations

import numpy as np
import pytest

from spacetime_tps.export.infretis import between_interfaces


def test_part_between_the_outer_interfaces_is_cut_out() -> None:
    order = np.array([-150.0, -30.0, -60.0, -10.0, 20.0, 50.0, 10.0, 60.0])
    assert between_interfaces(order, -40.0, 36.0) == slice(2, 6)
    with pytest.raises(ValueError, match="from the first interface to the last"):
        between_interfaces(order[::-1], -40.0, 70.0)


def test_a_path_over_the_cut_of_the_circle_is_none() -> None:
    """From -150 down to -221, which is 139, and on to 60: it passes no interface between -40 and 36."""
    with pytest.raises(ValueError, match="other side of the circle"):
        between_interfaces(np.array([-150.0, -190.0, -221.0, 134.0, 90.0, 60.0]), -40.0, 36.0)
