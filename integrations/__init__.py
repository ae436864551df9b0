"""lisa-tool inside agent frameworks: one module for each, shipped as `lisa_tool.integrations`.

    from lisa_tool.integrations.langchain import LisaSegmentTool

Importing a module whose framework is not installed raises MissingExtra with the command that installs it.
"""
