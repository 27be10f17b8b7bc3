"""Tasks: requests that outlive whoever has submitted them, whoever runs them, and the hub.

Theory of operation. A `Task` is a request's asker: it has a `Peer` of its own, whose dialect brings
what becomes of its requests back here, so that a task is asked, cancelled and expired by
`alephscript.mesh.requests`, as all are (decision 0046). Each request of it is one run at one
master. Between runs it is queued here, found by what it waits for. Each step is kept before anybody
acts on it or hears of it:

=============  ================================================  ===================================
from           step                                              kept first, because
=============  ================================================  ===================================
submitted      `queued`                                          what was acknowledged is never lost
queued         `running`, with the attempt and a name of the run  a run that may begin is counted
running        `asking` and back                                 the question outlives the hub
running        `queued` again, if its master is lost and running  the next run is a further attempt
               twice does no harm
any of these   `done`, `failed`, `cancelled`                     it ends once
=============  ================================================  ===================================

May go in: what becomes of a task. May not: what peers ask about tasks (the desk of tasks), who
hears of it (`audience`), where it is kept. Pure: no socket; the clock is the shell's. Each module
imports only those that stand above it here:

============  =====================================================================
`task`        a task, its run and its question; what texts about it mean
`ledger`      all tasks that have not ended, what they take, and what waits for the journal
`queue`       tasks that wait for a master, found by what they wait for
`steps`       the next record of a task, kept before it counts; the end of a run, and of a task
`dispatch`    tasks put to masters
`returning`   tasks that have lost their hub, their master, or the link between the two
`diary`       what masters say of their runs: answers, losses, progress, checkpoints, questions
`tasks`       the inputs
============  =====================================================================
"""

from alephscript.mesh.tasks.dispatch import MOST_ATTEMPTS
from alephscript.mesh.tasks.task import Task
from alephscript.mesh.tasks.tasks import Tasks

__all__ = ["MOST_ATTEMPTS", "Task", "Tasks"]
