"""Signatures of attrs classes with their defaults, not with attrs' own words for them."""  # noqa: INP001

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["setup", "with_defaults"]


def with_defaults(  # noqa: D417 - the others are Sphinx's
    _app: Any, what: str, _name: str, documented: Any, _options: Any, signature: str | None, *_: Any
) -> tuple[str, str] | None:
    """See ``autodoc-process-signature``.

    Args:
        documented: The class.
        signature: Where attrs has generated it, a default is ``attr_dict['name'].default``.
    """
    if what != "class" or not signature or not attrs.has(documented):
        return None
    for field in attrs.fields(documented):
        generated = f"attr_dict['{field.name}'].default"
        signature = signature.replace(generated, repr(field.default))
    return signature, ""


def setup(app: Any) -> dict[str, Any]:
    """See Sphinx."""
    app.connect("autodoc-process-signature", with_defaults)
    return {"parallel_read_safe": True}
