"""A mesh by HTTP: its masters asked, its rooms read and heard, beside sockets.

May go in: requests by HTTP that are about the mesh. May not: Engine.IO's polling and pages of the
hub (`hub.http`), nor a rule about the mesh, of which an asker by HTTP is a peer as all are.
"""

__all__: list[str] = []
