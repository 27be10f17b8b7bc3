"""What outlives a hub's process: the journal of tasks, behind one small interface, and values.

May go in: where records are kept, and how they are found again. May not: what becomes of a task
(`alephscript.mesh.tasks`).
"""

__all__: list[str] = []
