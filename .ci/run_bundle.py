"""Start an unpacked bundle as Claude Desktop does, and ask it something. Run by .ci/mcp.

python run_bundle.py BUNDLE PHOTOS RESULTS
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def main(bundle: Path, photos: str, results: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    command = manifest["server"]["mcp_config"]
    filled = {
        "${__dirname}": str(bundle.resolve()),
        "${user_config.allowed_directories}": photos,
        "${user_config.output_directory}": results,
        "${user_config.backend}": manifest["user_config"]["backend"]["default"],
    }
    words = [filled.get(word, word) for word in (command["command"], *command["args"])]
    extra = {name: filled.get(value, value) for name, value in command["env"].items()}
    assert not any("${" in word for word in (*words, *extra.values()))
    call = {"name": "segment_image", "arguments": {"image": f"{photos}/coffee.jpg", "query": "the cup"}}
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "ci", "version": "1"},
    }
    with subprocess.Popen(
        words, env=os.environ | extra, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin and server.stdout

        def send(**message: Any) -> None:
            assert server.stdin
            server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            server.stdin.flush()

        send(id=1, method="initialize", params=hello)
        named = json.loads(server.stdout.readline())["result"]["serverInfo"]["name"]
        send(method="notifications/initialized")
        send(id=2, method="tools/call", params=call)
        answer = json.loads(server.stdout.readline())["result"]["structuredContent"]["result"]
        server.stdin.close()
    assert server.returncode == 0, server.returncode
    assert (named, answer["outcome"]) == ("lisa", "found"), (named, answer["outcome"])
    assert Path(answer["masks"][0]["path"]).is_file()
    print(f"the bundle answers: {answer['answer']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
