"""Several hubs that are one mesh: the registry that they share, and what they tell each other.

May go in: how hubs find and tell each other. May not: who serves what, which is `mesh.federation`.
"""

__all__: list[str] = []
