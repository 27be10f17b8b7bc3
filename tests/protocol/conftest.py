"""What is compiled is compared where it was built; there is nothing to skip where it was not."""

from __future__ import annotations

from tests.support.ways import IS_BUILT

collect_ignore = [] if IS_BUILT else ["test_compiled.py"]
