"""``alephscript submit``, ``task`` and ``tasks``: requests that outlive this shell.

May go in: commands about tasks. May not: requests that end with the command (`asking`).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from alephscript.cli.asking import read_payload
from alephscript.cli.options import Add, client
from alephscript.cli.printing import (
    make_cell,
    make_console,
    make_table,
    put,
    put_line,
    waiting,
)
from alephscript.client.client import AlephScriptClient
from alephscript.client.tasks import Task, TaskStatus

__all__ = ["add_to"]

_MOST_SHOWN = 60


def add_to(add: Add) -> None:
    """Add the commands."""
    submit = add("submit", "hand a request over to the hub as a task, and print its id", _submit)
    submit.add_argument(
        "capability", metavar="CAP", help="name of the capability, with or without GET_"
    )
    submit.add_argument(
        "payload",
        metavar="JSON",
        nargs="?",
        default="{}",
        help="payload of the request: JSON, - for stdin, @file for a file ({})",
    )
    submit.add_argument("--room", help="room to ask; by default a room that offers CAP")
    submit.add_argument(
        "--timeout", type=float, help="seconds that the task may take, waiting included (a day)"
    )
    submit.add_argument("--key", help="the same key gives the same task, however often it is sent")
    submit.add_argument(
        "--wait", action="store_true", help="wait until the task has ended, and print its answer"
    )
    task = add("task", "how a task is", _task)
    task.add_argument("id", metavar="ID", help="id of the task")
    task.add_argument("--wait", action="store_true", help="wait until the task has ended")
    task.add_argument("--cancel", action="store_true", help="cancel the task")
    task.add_argument(
        "--answer", metavar="JSON", help="answer what the task asks: JSON, - or @file, as of submit"
    )
    task.add_argument("--json", action="store_true", help="print JSON")
    tasks = add("tasks", "which tasks there are, the newest first", _tasks)
    tasks.add_argument("--json", action="store_true", help="print JSON")


async def _submit(options: argparse.Namespace) -> None:
    payload = read_payload(options.payload)
    async with client(options) as asker:
        task = await asker.submit(
            options.capability,
            payload,
            room=options.room,
            timeout=options.timeout,
            key=options.key,
        )
        put_line(task.id)  # first: whoever interrupts the waiting has it
        if options.wait:
            await _wait(task)
            put(await task.result(), pretty=True)


async def _task(options: argparse.Namespace) -> None:
    answer = None if options.answer is None else read_payload(options.answer)
    async with client(options) as asker:
        status = await _act(asker, options, answer)
        if options.json:
            put(_fields(status), pretty=True)
        else:
            _show(status)
        if options.wait and status.error is not None:
            raise status.error


async def _act(asker: AlephScriptClient, options: argparse.Namespace, answer: Any) -> TaskStatus:
    task = asker.task(options.id)
    status = None
    if options.answer is not None:
        status = await task.answer(answer)
    if options.cancel:
        status = await task.cancel()
    if options.wait:
        status = await _wait(task)
    return status or await task.status()


async def _wait(task: Task[Any]) -> TaskStatus:
    """Wait until a task has ended, and show meanwhile how far it is."""
    with waiting() as line:
        async for status in task.updates():
            if status.progress is not None:
                line.show(status.progress)
    return status


async def _tasks(options: argparse.Namespace) -> None:
    console = None if options.json else make_console()
    async with client(options) as asker:
        listed = await asker.tasks()
    if console is None:
        put([_fields(each) for each in listed], pretty=True)
        return
    table = make_table("id", "capability", "room", "state", "progress", "updated")
    for each in listed:
        table.add_row(
            make_cell(each.id),
            make_cell(each.capability),
            make_cell(each.room or "-"),
            make_cell(each.state),
            make_cell(_progress(each), most=_MOST_SHOWN),
            make_cell(f"{each.updated.astimezone():%Y-%m-%d %H:%M:%S}"),
        )
    console.print(table)


def _show(status: TaskStatus) -> None:
    """Print how a task is, a line for each thing that is known."""
    lines = {
        "id": status.id,
        "capability": status.capability,
        "room": status.room,
        "state": status.state,
        "progress": _progress(status),
        "question": None if status.question is None else _json(status.question),
        "attempts": str(status.attempts),
        "created": status.created.isoformat(),
        "updated": status.updated.isoformat(),
        "result": None if status.result is None else _json(status.result),
        "error": None if status.error is None else str(status.error),
        "details": _json(status.error.details) if status.error and status.error.details else None,
    }
    for name, text in lines.items():
        if text:
            put_line(f"{name:10}  {text}")


def _progress(status: TaskStatus) -> str:
    progress = status.progress
    return "" if progress is None else f"{progress.fraction:.0%} {progress.message}".rstrip()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _fields(status: TaskStatus) -> dict[str, Any]:
    """Write how a task is as the hub does."""
    progress, error = status.progress, status.error
    fields: dict[str, Any] = {
        "id": status.id,
        "capability": status.capability,
        "room": status.room,
        "state": status.state,
        "progress": None
        if progress is None
        else {"fraction": progress.fraction, "message": progress.message},
        "question": status.question,
        "attempts": status.attempts,
        "created": status.created.isoformat(timespec="milliseconds"),
        "updated": status.updated.isoformat(timespec="milliseconds"),
    }
    if status.result is not None:
        fields["result"] = status.result
    if error is not None:
        fields["error"] = {"error": error.message, "code": error.code, "details": error.details}
    return fields
