"""Starts the MCP server of the bundle: the arguments are the folders that may be read."""

import sys

from lisa_tool.mcp.main import main

if __name__ == "__main__":
    sys.exit(main([word for folder in sys.argv[1:] for word in ("--allow", folder)]))
