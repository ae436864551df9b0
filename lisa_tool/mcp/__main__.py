"""`python -m lisa_tool.mcp`: the same as the command `lisa-mcp`."""

import sys

from lisa_tool.mcp.main import main

if __name__ == "__main__":
    sys.exit(main())
