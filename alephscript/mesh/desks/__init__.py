"""What each event of a peer means: a desk a subject, and each event's handler at one desk.

May go in: reading an event's arguments, asking the rules, acknowledging. May not: a rule, which is
that of the rest of `alephscript.mesh`. Desks are called by `alephscript.mesh.mesh` alone. Pure: no
socket, no clock.
"""

__all__: list[str] = []
