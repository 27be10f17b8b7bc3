"""What doors to other protocols share: the catalogue of a mesh, names, schemas, foreign masters.

A door shows a mesh to clients of another protocol, or a server of another protocol to a mesh.

May go in: what is the same for every such protocol. May not: the protocol (`mcp`, `a2a`).
"""

__all__: list[str] = []
