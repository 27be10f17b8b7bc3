"""The journal of tasks: what outlives a hub's process, behind one small interface.

May go in: where records are kept, and how they are found again. May not: what becomes of a task
(`alephscript.mesh.tasks`).
"""

__all__: list[str] = []
