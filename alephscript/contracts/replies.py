"""Replies: any type as the fields of an answer, and the compiled readers of both.

An answer is an object with ``success``. A reply that is an object has its fields beside that, as
every peer of the mesh has it; any other one stands under ``result``. Where a type may be either,
an object stands under ``result``, too, if its own keys would not tell.

May go in: where a reply stands in its answer. May not: failures (`alephscript.protocol.events`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from alephscript.contracts.finding import find_form
from alephscript.contracts.forms.constraints import Constrained
from alephscript.contracts.forms.containers import Object
from alephscript.contracts.forms.form import Form
from alephscript.contracts.forms.records import Record
from alephscript.contracts.forms.unions import Union

__all__ = [
    "Standing",
    "is_always_beside",
    "reader",
    "readers",
    "reply_reader",
    "reply_readers",
    "standing",
    "unwrap",
]


Standing = Literal["beside", "under", "loose"]
"""Where a reply stands in its answer: beside ``success``, under ``result``, or beside it as a
master of any make would put it, who may say there that the request failed."""


def standing(text: bytes, form: Form) -> Standing:
    """Return where the text of a reply is to stand."""
    if not text.startswith(b"{"):
        return "under"
    if form.kinds == {"object"}:
        if _is_loose(form):
            return "loose"
        # A dict's keys are anybody's: those of an answer would be taken for the answer's own.
        own = _has_any_keys(form) and any(key in text for key in _OWN_KEYS)
        return "under" if own else "beside"
    return "under" if text == b"{}" or not _is_told_apart(form) else "beside"


_OWN_KEYS = (b'"success"', b'"error"', b'"result"')


def is_always_beside(form: Form) -> bool:
    """Return whether replies of a form stand beside ``success``, whatever is in them."""
    return isinstance(form, Record) and form.kinds == {"object"}


def unwrap(answer: dict[str, Any], form: Form) -> Any:
    """Return the JSON values of a reply, of its answer without ``success``."""
    if form.kinds == {"object"}:
        is_inner = answer.keys() == {"result"} and isinstance(answer["result"], dict)
        is_wrapped = is_inner and _has_any_keys(form) and not _is_loose(form)
        return answer["result"] if is_wrapped else answer
    if "object" not in form.kinds:
        return answer.get("result")
    if "result" in answer:
        return answer["result"]
    return None if not answer and "null" in form.kinds else answer


def _is_loose(form: Form) -> bool:
    """Return whether an object is anything that its method likes: a plain dict."""
    return isinstance(form, Object) and form.is_loose


def _has_any_keys(form: Form) -> bool:
    while isinstance(form, Constrained):
        form = form.inner
    return not isinstance(form, Record)


def _is_told_apart(form: Form) -> bool:
    """Return whether no object of a union has a key that is an answer's own."""
    if not isinstance(form, Union):
        return False
    objects = [each for each in form.members if "object" in each.kinds]
    return all(isinstance(each, Record) and "result" not in each.keys for each in objects)


Reader = Callable[[Any], Any]


@functools.cache
def _compile(form: Form) -> Reader | None:
    if isinstance(form, Record) and form.kinds == {"object"} and not form.shape.tag:
        mirror, make = form.mirror({})
        decode = msgspec.json.Decoder(mirror).decode
        assert make is not None
        return lambda text: make(decode(text))
    kind, convert = form.fast()
    decode_any: Reader = msgspec.json.Decoder(kind).decode
    return decode_any if convert is None else lambda text: convert(decode_any(text))


def reader(cls: Any) -> Reader | None:
    """Return what reads a type from its JSON text, raising anything if that does not fit."""
    try:
        return readers[cls]
    except (KeyError, TypeError):
        pass
    read = _compile(find_form(cls))
    with contextlib.suppress(TypeError):  # metadata that cannot be hashed
        readers[cls] = read
    return read


readers: dict[Any, Reader | None] = {}
"""What `reader` has found."""


def reply_reader(cls: Any) -> Reader | None:
    """Return what reads a type from the JSON text of an acknowledgement that is a plain success."""
    try:
        return reply_readers[cls]
    except (KeyError, TypeError):
        pass
    read = _compile_reply(find_form(cls))
    with contextlib.suppress(TypeError):
        reply_readers[cls] = read
    return read


reply_readers: dict[Any, Reader | None] = {}
"""What `reply_reader` has found."""


def _compile_reply(form: Form) -> Reader | None:
    # The answer's ``success`` is a key of the mirror, so that a failure does not fit it.
    success = {"success": Literal[True]}
    if not isinstance(form, Record) or form.kinds != {"object"}:
        return None
    if form.shape.tag or "success" in form.keys:
        return None
    mirror, make = form.mirror(success)
    assert make is not None
    decode = msgspec.json.Decoder(tuple[mirror]).decode  # type: ignore[valid-type]  # made just now
    return lambda text: make(decode(text)[0])
