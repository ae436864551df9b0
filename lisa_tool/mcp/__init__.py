"""The MCP server: tools, resources and prompts around any `Segmenter`, over stdio or HTTP.

    from lisa_tool.mcp.app import build_server

    build_server(load_settings(roots=["~/Pictures"])).run()

Nothing here imports a model or its runtime: the backend is opened by the first question.
"""
