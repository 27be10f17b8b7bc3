"""What users set of a hub is judged before a client is in."""

from __future__ import annotations

from typing import Any

import pytest

from alephscript.hub import Hub, HubError


@pytest.mark.parametrize(
    "option",
    [
        {"history": -5},
        {"history": 1.5},
        {"history": True},
        {"default_timeout": 0},
        {"default_timeout": "5"},
        {"ping_interval": -1},
        {"ping_timeout": float("nan")},
        {"keep_tasks": 0},
        {"log_keep": "soon"},
        {"log_bytes": 0},
        {"retain": ["MUNDO"]},
        {"cluster_key": "cluster.key"},
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name(option: dict[str, Any]) -> None:
    """Else a hub would fail at the first event or heartbeat, and cut off whoever sent that."""
    (name,) = option
    with pytest.raises(HubError, match=name):
        Hub(**option)


@pytest.mark.parametrize("database", ["x", "0x1", "-1", "1/2", "²"])
@pytest.mark.anyio
async def test_the_database_of_an_address_is_a_number(database: str) -> None:
    """Else hubs that were to be meshes of their own would be one, in the first database."""
    with pytest.raises(HubError, match="no address of a Redis"):
        await Hub(port=0, redis=f"redis://127.0.0.1:1/{database}").__aenter__()
