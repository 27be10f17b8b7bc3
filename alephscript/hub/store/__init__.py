"""What outlives a hub's process: the journal of tasks, retained values, logs of rooms.

May go in: where these are kept, and how they are found again, behind one small interface each. May
not: what becomes of a task, or who is told (`alephscript.mesh`).
"""

__all__: list[str] = []
