"""The mesh: one input in, a list of effects out.

May go in: the rules by which a hub decides. May not: a socket, a clock, a task; nor contracts and
links. Only `hub` and `testing` import it.
"""

__all__: list[str] = []
