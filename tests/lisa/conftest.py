"""The reference's smallest recorded checkpoint, converted and loaded once: a real LISA of 2 MB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lisa_tool.engine.call import Call
from lisa_tool.settings import Settings, load_settings

GOLDEN = Path(__file__).parents[1] / "golden"
CLIP = GOLDEN / "clip-vit-tiny-patch14"

torch = pytest.importorskip("torch", reason="needs the extra: pip install 'lisa-tool[lisa]'")

from lisa_tool.lisa.backend import LisaBackend  # noqa: E402  (torch is known to be there now)
from lisa_tool.lisa.checkpoint.convert import convert_checkpoint  # noqa: E402
from lisa_tool.lisa.loading import Loaded, load_lisa  # noqa: E402
from lisa_tool.pipeline import LocalSegmenter  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, so that runs are equal to the bit; small tensors gain nothing from threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def nano_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as safetensors."""
    target = tmp_path_factory.mktemp("weights") / "nano"
    convert_checkpoint(GOLDEN / "nano" / "checkpoint", target, work=Call.start(deadline_s=600))
    return target


@pytest.fixture
def nano_settings(nano_folder: Path, tmp_path: Path) -> Settings:
    """Images are read from the golden ones and `tmp_path`, results go to `tmp_path/results`."""
    return load_settings(
        model=str(nano_folder),
        clip_path=CLIP,
        weights_dir=tmp_path / "weights",
        roots=(GOLDEN / "images", tmp_path),
        output_dir=tmp_path / "results",
    )


@pytest.fixture(scope="session")
def nano(nano_folder: Path) -> Loaded:
    """The model in float32 on the CPU."""
    settings = load_settings(model=str(nano_folder), clip_path=CLIP, weights_dir=nano_folder.parent)
    return load_lisa(settings, Call.start(deadline_s=600))


@pytest.fixture
def backend(nano: Loaded, nano_settings: Settings) -> LisaBackend:
    """A backend with empty caches on the model that is loaded already."""
    backend = LisaBackend(nano_settings)
    backend._loaded = nano
    return backend


@pytest.fixture
def segmenter(backend: LisaBackend, nano_settings: Settings) -> LocalSegmenter:
    return LocalSegmenter(backend, nano_settings)


def picture(name: str) -> NDArray[np.uint8]:
    """One of the golden images, uint8 (height, width, 3)."""
    with Image.open(GOLDEN / "images" / f"{name}.png") as image:
        return np.asarray(image.convert("RGB"))
