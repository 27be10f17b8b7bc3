"""A2A, both ways: a mesh as agents for A2A clients, and A2A agents as masters in a mesh.

Needs the extra ``[a2a]``: ``pip install "alephscript[a2a]"``. `MeshServer` shows each room as an
agent whose skills are its capabilities; `A2aMaster` offers each skill of an agent as a capability.
"""

from alephscript.a2a.agent import AgentUnreachable
from alephscript.a2a.master import A2aMaster
from alephscript.a2a.server import MeshServer

__all__ = ["A2aMaster", "AgentUnreachable", "MeshServer"]
