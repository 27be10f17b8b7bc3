"""What is on the wire, byte by byte and name by name. Pure.

May go in: formats that peers share. May not: any peer, any socket, any clock.
"""

__all__: list[str] = []
