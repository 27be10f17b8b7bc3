"""Values that look like secrets, and are not for others: passwords, keys, tokens.

Some clients describe themselves with the very credentials that they connect with. A hub cannot know
what is a secret, only what looks like one: by the name of its field, or by a form that nothing else
has.

May go in: what looks like a secret. May not: where that matters (`events`). Pure: no socket, no
clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["without_secrets"]

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:auth|bearer|clave|cookies?|credentials?|jwt|keys?|pass|pin|pwd|signature)(?:_|$)"
    r"|passw|passphrase|contrase[nñ]a|secret(?!ar)|authorization"
    r"|tokens?(?:_|$)|api_?keys?(?:_|$)|access_?keys?(?:_|$)|private_?keys?(?:_|$)"
)
"""What stands for a secret in a field's name: whole words, and what means nothing else."""

_HARMLESS_NAME = re.compile(
    r"^(?:public|max|min)_|_(?:ids?|names?|types?|urls?|uris?|count|limit)$"
)
"""Names of what only is about a secret: ``publicKey``, ``tokenType``, ``maxTokens``."""

_HUMP = re.compile(r"(?<=[a-z0-9ñ])(?=[A-Z])|[^A-Za-z0-9ñÑ]+")

_SECRET_VALUE = re.compile(
    r"^(?:bearer|basic)\s+\S{8,}"
    r"|\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"  # a JSON Web Token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(?:sk|ghp|gho|ghs|github_pat|glpat|xox[abp]|AKIA)[-_A-Z0-9][\w-]{15,}"
    r"|://[^/\s:@]*:[^/\s@]+@"  # an address with a password, or with a token
    r"|[?&][\w-]*(?:token|secret|passw|key|sig)[\w-]*=",
    re.IGNORECASE,
)


def without_secrets(value: Any) -> Any:
    """Copy a value without the fields and items that look like secrets.

    Args:
        value: Any JSON, no deeper than others may send.
    """
    if isinstance(value, Mapping):
        return {
            key: without_secrets(each)
            for key, each in value.items()
            if not (_is_secret_name(key) and _can_be_secret(each)) and not _is_secret_text(each)
        }
    if isinstance(value, list):
        return [without_secrets(each) for each in value if not _is_secret_text(each)]
    return value


def _is_secret_name(name: str) -> bool:
    words = _HUMP.sub("_", name).lower()  # peerCard is peer_card
    return _SECRET_NAME.search(words) is not None and _HARMLESS_NAME.search(words) is None


def _can_be_secret(value: Any) -> bool:
    return value is not None and not isinstance(value, bool)


def _is_secret_text(value: Any) -> bool:
    return isinstance(value, str) and _SECRET_VALUE.search(value) is not None
