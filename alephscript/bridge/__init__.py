"""One room of two meshes: what is allowed crosses, and nothing else.

May go in: a client of each mesh and what it passes on. May not: another protocol than the mesh's
(`alephscript.mcp`), hubs.
"""

from alephscript.bridge.bridge import Allowed, Bridge
from alephscript.bridge.counts import Count

__all__ = ["Allowed", "Bridge", "Count"]
