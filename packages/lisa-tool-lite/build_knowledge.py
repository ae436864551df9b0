"""Embed the facts of `lisa_tool/lite/knowledge/*.txt` into `lisa_tool_lite/weights/knowledge.npz`.

    pip install -e . -e packages/lisa-tool-lite
    python packages/lisa-tool-lite/build_knowledge.py

Vectors are stored as int8 rows with one scale each (cosine to float32 above 0.999), in the order of
`all_facts()`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import lisa_tool_lite
import numpy as np

from lisa_tool.lite.embedder import SentenceEmbedder
from lisa_tool.lite.knowledge import all_facts, facts_sha256

PACKAGE = Path(lisa_tool_lite.__file__).parent
NAME = "knowledge.npz"


def main() -> None:
    facts = all_facts()
    vectors = SentenceEmbedder().embed(facts)
    scales = np.abs(vectors).max(axis=1) / 127
    path = PACKAGE / "weights" / NAME
    np.savez_compressed(
        path,
        vectors=np.round(vectors / scales[:, None]).astype(np.int8),
        scales=scales.astype(np.float32),
        facts_sha256=np.array(facts_sha256()),
    )
    manifest = json.loads((PACKAGE / "manifest.json").read_text("utf-8"))
    manifest[NAME] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    (PACKAGE / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    print(f"{len(facts)} facts -> {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
