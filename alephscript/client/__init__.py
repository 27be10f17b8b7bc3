"""A member of a mesh: what it declares, asks, serves and hears, over any link.

May go in: whatever a client does. May not: a hub's rules (`mesh`), sockets (`links`).
"""

__all__: list[str] = []
