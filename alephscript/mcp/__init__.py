"""MCP, both ways: a mesh as an MCP server, and MCP servers as masters in a mesh.

Needs the extra ``[mcp]``: ``pip install "alephscript[mcp]"``. `MeshServer` shows every capability
of a mesh as a tool; `McpMaster` offers every tool of an MCP server as a capability.
"""

from alephscript.mcp.master import McpMaster
from alephscript.mcp.server import MeshServer
from alephscript.mcp.tools import Context, OwnTool
from alephscript.mcp.upstream import ServerUnreachable

__all__ = ["Context", "McpMaster", "MeshServer", "OwnTool", "ServerUnreachable"]
