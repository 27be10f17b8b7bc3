"""Workers: hub processes that share one port, and are hubs of one mesh.

May go in: what workers of one port have to know of each other. May not: what hubs of a mesh tell
each other (`cluster`), starting and ending processes (`cli.workers`).
"""

from __future__ import annotations

__all__: list[str] = []
