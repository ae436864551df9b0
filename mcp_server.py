"""The front door of the MCP server: `python mcp_server.py --allow ~/Pictures`, or `mcp dev mcp_server.py`.

The same as the command `lisa-mcp`; the rooms behind it are in lisa_tool/mcp/. `mcp` is what `mcp run` and
`mcp dev` (of mcp[cli]) look for; it takes its settings from the environment.
"""

import sys

from lisa_tool.mcp.app import build_server
from lisa_tool.mcp.main import main, server_settings

if __name__ == "__main__":
    sys.exit(main())
else:
    mcp = build_server(server_settings())
