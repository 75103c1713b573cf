"""What StorPool's update may do with the tags that it is not sent: which, no document tells."""

from __future__ import annotations

import pytest

TAG_UPDATES = ("merge", "replace")
# For a test of a yard or a site in which tags are written.
with_both = pytest.mark.parametrize("tag_update", TAG_UPDATES)
