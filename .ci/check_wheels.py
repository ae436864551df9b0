"""The wheels of dist/ hold what they should and are small enough for an index. Run by .ci/run."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

WANTED = {
    "lisa_tool": (
        4_000_000,
        [
            "py.typed",
            "mcp/icon.png",
            "mcp_server.py",
            "eval/lite_cases.json",
            "eval/lite_regions.json",
            "eval/photos/coffee.jpg",
            "integrations/langchain.py",
        ],
        ["lite/knowledge/*.txt", "eval/photos/*.jpg"],
    ),
    "langchain_lisa": (50_000, ["py.typed", "__init__.py"], []),
    "lisa_tool_lite": (100_000_000, ["py.typed", "manifest.json"], ["weights/*.onnx"]),
}
"""Package -> most bytes, files, and patterns of which there is at least one file."""


def main(dist: Path) -> int:
    problems = 0
    for package, (most, files, patterns) in WANTED.items():
        (wheel,) = dist.glob(f"{package}-[0-9]*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = [Path(name) for name in archive.namelist()]
        missing = [file for file in files if Path(package, file) not in names]
        missing += [
            pattern for pattern in patterns if not any(name.match(f"{package}/{pattern}") for name in names)
        ]
        missing += [name for name in ("LICENSE", "NOTICE") if not any(path.name == name for path in names)]
        strange = [name for name in names if name.parts[0] != package and ".dist-info" not in name.parts[0]]
        size = wheel.stat().st_size
        print(f"{wheel.name}: {size / 1e6:.1f} MB of at most {most / 1e6:g}, {len(names)} files")
        for what, found in (("missing", missing), ("does not belong in it", strange)):
            problems += len(found)
            print(*(f"  {what}: {name}" for name in found), sep="\n", end="\n" if found else "")
        problems += size > most
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
