"""Damaged and malicious checkpoints: each is one typed error, runs nothing and leaves nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lisa_tool.engine.call import Call
from lisa_tool.errors import (
    BackendError,
    CheckpointInvalid,
    CheckpointNotFound,
    CheckpointUnsupported,
    UnsafeWeights,
    WeightsCorrupt,
)
from lisa_tool.lisa.checkpoint.clip_folder import ready_clip
from lisa_tool.lisa.checkpoint.find import ready_checkpoint
from lisa_tool.lisa.checkpoint.library import Library
from lisa_tool.lisa.config import MAX_JSON_BYTES
from lisa_tool.lisa.tokenizer import LisaTokenizer
from lisa_tool.settings import load_settings
from tests.lisa.checkpoint.checkpoints import (  # which skips all without torch
    BIN,
    CLIP,
    NANO,
    State,
    Waiting,
    copy_of,
    cut,
    edit_index,
    edit_json,
    flip_a_bit,
    recorded_state,
    torch,
    with_state,
)

from lisa_tool.lisa.checkpoint.weights import iter_weights  # isort: skip
from lisa_tool.lisa.loading import Loaded, load_lisa  # isort: skip
from safetensors.torch import load_file, save_file  # isort: skip

KEY = "model.layers.1.mlp.up_proj.weight"
SECOND_OF_TWO = "pytorch_model-00002-of-00002.bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the recorded checkpoint, as it was released."""
    return copy_of(NANO, tmp_path / "nano")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "weights", offline=True)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that every gadget here would make."""
    return tmp_path / "marker"


def refused(folder: Path, library: Library, error: type[BackendError], why: str = ".") -> None:
    """It cannot be made ready, and nothing of a converted checkpoint is left."""
    with pytest.raises(error, match=why) as caught:
        ready_checkpoint(str(folder), library, work=Waiting())
    assert caught.value.hint
    left = [path for path in library.weights_dir.rglob("*") if not path.name.endswith(".lock")]
    assert left in ([], [library.weights_dir / "folders"])


def load(folder: Path, clip: Path, tmp_path: Path) -> Loaded:
    """Load a checkpoint with a CLIP from beside."""
    settings = load_settings(model=str(folder), clip_path=clip, weights_dir=tmp_path / "weights")
    return load_lisa(settings, Call.start(deadline_s=600))


class Gadget:
    """Unpickling it makes the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def archive(pickled: bytes, **more: bytes) -> bytes:
    """A file as torch writes it, with this pickle."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("pytorch_model/data.pkl", pickled)
        file.writestr("pytorch_model/version", "3\n")
        file.writestr("pytorch_model/byteorder", "little")
        for name, content in more.items():
            file.writestr(f"pytorch_model/{name.replace('_', '.')}", content)
    return data.getvalue()


def saved(value: object, **options: Any) -> bytes:
    data = io.BytesIO()
    torch.save(value, data, **options)
    return data.getvalue()


GADGETS: dict[str, Callable[[Path], bytes]] = {
    "as torch saves it": lambda marker: saved(recorded_state() | {"x": Gadget(marker)}),
    "of protocol 4": lambda marker: archive(pickle.dumps({"x": Gadget(marker)}, protocol=4)),
    "of protocol 0": lambda marker: archive(pickle.dumps({"x": Gadget(marker)}, protocol=0)),
    "a bare pickle": lambda marker: pickle.dumps(Gadget(marker)),
    "a bare pickle of protocol 2": lambda marker: pickle.dumps(Gadget(marker), protocol=2),
    "a second pickle": lambda marker: archive(
        pickle.dumps({}, protocol=2), x_pkl=pickle.dumps(Gadget(marker))
    ),
    "torchscript": lambda marker: archive(
        pickle.dumps({}, protocol=2), constants_pkl=pickle.dumps(Gadget(marker))
    ),
    "what torch lets through": lambda marker: archive(b"\x80\x02cbuiltins\nKeyboardInterrupt\n)R."),
    "a name that torch lets through": lambda marker: archive(
        b"\x80\x02ctorch.distributed.tensor\nDTensor\n."
    ),
}


@pytest.mark.parametrize("gadget", GADGETS.values(), ids=GADGETS)
def test_a_malicious_bin_runs_nothing(
    folder: Path, library: Library, marker: Path, gadget: Callable[[Path], bytes]
) -> None:
    (folder / BIN).write_bytes(gadget(marker))
    refused(folder, library, UnsafeWeights, "nothing of it was r")
    assert not marker.exists()


def test_the_gadget_of_these_tests_does_run_when_it_is_let(marker: Path) -> None:
    pickle.loads(GADGETS["a bare pickle"](marker))
    assert marker.exists()


def test_a_malicious_bin_among_good_ones_runs_nothing(folder: Path, library: Library, marker: Path) -> None:
    with_state(folder, recorded_state(), n_shards=2)
    state = torch.load(folder / SECOND_OF_TWO, weights_only=True)
    torch.save(state | {KEY: Gadget(marker)}, folder / SECOND_OF_TWO)
    refused(folder, library, UnsafeWeights, f"{SECOND_OF_TWO} wants to use '(posix|nt) mkdir'")
    assert not marker.exists()


def test_torch_alone_would_refuse_the_gadget_too(
    folder: Path, library: Library, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lisa_tool.lisa.checkpoint.convert.check_pickle", lambda path: None)
    (folder / BIN).write_bytes(GADGETS["as torch saves it"](marker))
    refused(folder, library, UnsafeWeights)
    assert not marker.exists()


def test_the_format_of_torch_before_zip_is_refused_unread(
    folder: Path, library: Library, marker: Path
) -> None:
    old = saved({"x": Gadget(marker)}, _use_new_zipfile_serialization=False)
    (folder / BIN).write_bytes(old)
    refused(folder, library, CheckpointUnsupported, r"before 1\.6; nothing of it was read")
    assert not marker.exists()


def put(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def compress(path: Path) -> None:
    with zipfile.ZipFile(path) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in entries.items():
            target.writestr(name, data)


TENSOR = b"\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n"

DAMAGED_BINS: dict[str, tuple[Callable[[Path], object], type[BackendError]]] = {
    "cut off": (cut, WeightsCorrupt),
    "cut to half": (lambda path: cut(path, path.stat().st_size // 2), WeightsCorrupt),
    "empty": (put(b""), WeightsCorrupt),
    "an error page": (put(b"<!doctype html><title>404</title>"), WeightsCorrupt),
    "a git lfs pointer": (put(b"version https://git-lfs.github.com/spec/v1\noid sha256:0"), WeightsCorrupt),
    "a bit of a tensor": (flip_a_bit, WeightsCorrupt),
    "a bit of the pickle": (lambda path: flip_a_bit(path, 0.01), WeightsCorrupt),
    "compressed": (compress, WeightsCorrupt),
    "no pickle": (lambda path: zipfile.ZipFile(path, "w").close(), UnsafeWeights),
    "a pickle that stops": (put(archive(b"\x80\x02}X\xff\x00\x00\x00")), WeightsCorrupt),
    "a tensor of nothing": (put(archive(TENSOR + b")Rs.")), WeightsCorrupt),
    "a tensor of wrong things": (
        put(archive(TENSOR + b"(K\x01K\x02K\x03K\x04K\x05K\x06tRs.")),
        WeightsCorrupt,
    ),
    "no dict": (put(saved([torch.zeros(2)])), CheckpointInvalid),
    "numbers": (put(saved({"epoch": 3})), CheckpointInvalid),
    "nested": (put(saved({"module": {"lm_head.weight": torch.zeros(2)}})), CheckpointInvalid),
    "keys that are no names": (put(saved({3: torch.zeros(2)})), CheckpointInvalid),
}


@pytest.mark.parametrize(("damage", "error"), DAMAGED_BINS.values(), ids=DAMAGED_BINS)
def test_a_damaged_bin_is_one_typed_error(
    folder: Path, library: Library, damage: Callable[[Path], object], error: type[BackendError]
) -> None:
    damage(folder / BIN)
    refused(folder, library, error)


def without_layer(state: State) -> None:
    for key in [key for key in state if key.startswith("model.layers.2.")]:
        del state[key]


def without_sam_block(state: State) -> None:
    for key in [key for key in state if ".image_encoder.blocks.1." in key]:
        del state[key]


WRONG_TENSORS: dict[str, tuple[Callable[[State], object], str]] = {
    "missing": (lambda s: s.pop(KEY), rf"1 tensor is missing from the checkpoint: {KEY}$"),
    "missing ends": (lambda s: s.pop("lm_head.weight"), r"missing.*lm_head\.weight"),
    "many missing": (
        lambda s: [s.pop(k) for k in list(s) if k.endswith("mlp.down_proj.weight") or "norm1" in k],
        r"11 tensors are missing .* and 8 more$",
    ),
    "a whole layer missing": (without_layer, "num_hidden_layers = 3, the tensors have 2"),
    "a whole block missing": (without_sam_block, "blocks are missing"),
    "all missing": (lambda s: s.clear(), r"no tensor 'model\.embed_tokens\.weight'"),
    "unexpected": (
        lambda s: s.update({"model.extra.weight": torch.zeros(2)}),
        r"1 tensor is of an unknown name: model\.extra",
    ),
    "not renamed": (lambda s: s.update({f"module.{KEY}": s.pop(KEY)}), "missing"),
    "peft names": (lambda s: s.update({"base_model.x": torch.zeros(1)}), r"unknown name: base_model\.x"),
    "turned": (lambda s: s.update({KEY: s[KEY].T.contiguous()}), rf"wrong shape: {KEY} is \(64, 128\)"),
    "flat": (lambda s: s.update({KEY: s[KEY].flatten()}), "wrong shape"),
    "a number": (lambda s: s.update({KEY: torch.tensor(1.0)}), r"is \(\), expected \(128, 64\)"),
    "no rows": (lambda s: s.update({"model.embed_tokens.weight": torch.zeros(0, 64)}), "sizes above 0"),
    "lisa++'s projector": (
        lambda s: s.update({"model.mm_projector.0.weight": s.pop("model.mm_projector.weight")}),
        r"no tensor 'model\.mm_projector\.weight'",
    ),
    "8 bit": (
        lambda s: s.update({KEY: torch.zeros(128, 64, dtype=torch.int8)}),
        "not of 16 or 32 bit floats",
    ),
    "64 bit": (lambda s: s.update({KEY: s[KEY].double()}), rf"floats: {KEY}"),
    "a far layer": (lambda s: s.update({"model.layers.99.x": torch.zeros(1)}), "not numbered from 0 on"),
}


@pytest.mark.parametrize(("change", "why"), WRONG_TENSORS.values(), ids=WRONG_TENSORS)
def test_tensors_that_are_not_a_lisas_are_named(
    folder: Path, library: Library, change: Callable[[State], object], why: str
) -> None:
    state = recorded_state()
    change(state)
    refused(with_state(folder, state), library, CheckpointInvalid, why)


def test_a_tensor_in_two_shards_is_refused(folder: Path, library: Library) -> None:
    with_state(folder, recorded_state(), n_shards=2)
    state = torch.load(folder / SECOND_OF_TWO, weights_only=True)
    first = next(iter(recorded_state()))
    torch.save(state | {first: torch.zeros(1003, 64)}, folder / SECOND_OF_TWO)
    refused(folder, library, CheckpointInvalid, f"{first} is both in")


INDEXES: dict[str, tuple[object, type[BackendError]]] = {
    "another folder": ("../../etc/passwd", CheckpointInvalid),
    "another folder's bin": ("../other/pytorch_model.bin", CheckpointInvalid),
    "an absolute path": ("/etc/passwd.bin", CheckpointInvalid),
    "a url": ("https://example.org/x.bin", CheckpointInvalid),
    "a windows path": ("..\\x.bin", CheckpointInvalid),
    "a hidden file": (".x.bin", CheckpointInvalid),
    "a nul": ("x\0.bin", CheckpointInvalid),
    "no name": ("", CheckpointInvalid),
    "no text": (7, CheckpointInvalid),
    "no weights": ("config.json", CheckpointInvalid),
    "a file that is missing": ("pytorch_model-00003-of-00002.bin", WeightsCorrupt),
}


@pytest.mark.parametrize(("name", "error"), INDEXES.values(), ids=INDEXES)
def test_an_index_leads_nowhere_but_to_the_shards(
    folder: Path, library: Library, name: object, error: type[BackendError]
) -> None:
    with_state(folder, recorded_state(), n_shards=2)
    edit_index(folder, lambda index: index["weight_map"].update({KEY: name}))
    refused(folder, library, error)


@pytest.mark.parametrize("text", ["{}", '{"weight_map": {}}', '{"weight_map": []}', "[]", "x", "[" * 100_000])
def test_an_index_that_cannot_be_read_is_one_typed_error(folder: Path, library: Library, text: str) -> None:
    with_state(folder, recorded_state(), n_shards=2)
    (folder / f"{BIN}.index.json").write_text(text, "utf-8")
    refused(folder, library, CheckpointInvalid)


@pytest.mark.parametrize("name", [BIN, "config.json", "tokenizer.model", "added_tokens.json"])
def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path, library: Library, name: str) -> None:
    (folder / name).rename(folder.with_name("secret"))
    (folder / name).symlink_to(folder.with_name("secret"))
    refused(folder, library, CheckpointInvalid, "leads out of its folder")


def test_a_link_within_the_folder_is_followed(folder: Path, library: Library) -> None:
    (folder / BIN).rename(folder / "weights.bin")
    (folder / BIN).symlink_to("weights.bin")
    assert ready_checkpoint(str(folder), library, work=Waiting()).manifest


@pytest.mark.parametrize("target", [BIN, "nowhere"])
def test_a_link_to_itself_or_to_nothing_is_a_missing_file(
    folder: Path, library: Library, target: str
) -> None:
    (folder / BIN).unlink()
    (folder / BIN).symlink_to(target)
    refused(folder, library, WeightsCorrupt, "missing")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_file_is_not_opened(folder: Path, library: Library, make: Callable[[Path], None]) -> None:
    (folder / BIN).unlink()
    make(folder / BIN)
    refused(folder, library, CheckpointInvalid, "not a file")


@pytest.mark.parametrize(
    "text",
    [" " * MAX_JSON_BYTES + "{}", "[" * 100_000, '{"a": ' * 100_000, "\xff\xfe", "", "null", "NaN"],
    ids=["huge", "deep list", "deep object", "no utf-8", "empty", "null", "no object"],
)
def test_a_config_that_is_none_is_one_typed_error(folder: Path, library: Library, text: str) -> None:
    (folder / "config.json").write_text(text, "latin-1")
    refused(folder, library, CheckpointInvalid, r"config\.json")


ODD_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "architectures that are a number": ({"architectures": 3}, "architectures = 3, expected a list"),
    "architectures that are an object": ({"architectures": {"LISAForCausalLM": 1}}, "expected a list"),
    "heads of an odd width": ({"num_attention_heads": 64}, "64 heads do not divide"),
    "no heads for keys": ({"num_key_value_heads": 0}, "num_key_value_heads = 0"),
    "heads for keys that do not divide": ({"num_key_value_heads": 3}, "num_key_value_heads = 3"),
}


@pytest.mark.parametrize(("fields", "why"), ODD_CONFIGS.values(), ids=ODD_CONFIGS)
def test_a_config_with_an_odd_value_is_one_typed_error(
    folder: Path, library: Library, fields: dict[str, Any], why: str
) -> None:
    edit_json(folder / "config.json", lambda config: config.update(fields))
    refused(folder, library, CheckpointInvalid, why)


@pytest.mark.parametrize("positions", [-1, 0, 256])
def test_a_model_without_room_for_a_picture_is_refused(folder: Path, tmp_path: Path, positions: int) -> None:
    edit_json(folder / "config.json", lambda config: config.update(max_position_embeddings=positions))
    with pytest.raises(CheckpointInvalid, match=f"max_position_embeddings = {positions}, no room") as caught:
        load(folder, CLIP, tmp_path)
    assert caught.value.hint


ODD_CLIPS: dict[str, tuple[dict[str, Any], str]] = {
    "an activation that is none": (
        {"hidden_act": "nope"},
        "hidden_act = 'nope', expected quick_gelu or gelu",
    ),
    "an activation that is a list": ({"hidden_act": ["gelu"]}, "hidden_act"),
    "heads that do not divide": ({"num_attention_heads": 5}, "num_attention_heads = 5, expected a divisor"),
    "no heads": ({"num_attention_heads": 0}, "num_attention_heads = 0"),
    "a size that is true": ({"patch_size": True}, "patch_size = True"),
    "patches larger than the picture": ({"patch_size": 225}, "patch_size = 225"),
    "layers without end": ({"num_hidden_layers": 10**15}, f"{10**15} layers"),
    "a picture without end": ({"image_size": 10**12}, "wrong shape"),
    "an epsilon that is text": ({"layer_norm_eps": "small"}, "layer_norm_eps = 'small'"),
    "a vision_config that is a list": ({"vision_config": []}, r"vision_config = \[\]"),
}


@pytest.mark.parametrize("pickled", [True, False], ids=["pickled", "safetensors"])
@pytest.mark.parametrize(("fields", "why"), ODD_CLIPS.values(), ids=ODD_CLIPS)
def test_a_clip_with_an_odd_value_is_one_typed_error(
    made: Path, tmp_path: Path, fields: dict[str, Any], why: str, pickled: bool
) -> None:
    clip = copy_of(CLIP, tmp_path / "clip")
    if not pickled:
        save_file(torch.load(clip / BIN, weights_only=True), clip / "model.safetensors")
    edit_json(clip / "config.json", lambda config: config.update(fields))
    with pytest.raises(CheckpointInvalid, match=why) as caught:
        load(made, clip, tmp_path)
    assert caught.value.hint


TOKENIZER_FILES = ["tokenizer.model", "added_tokens.json", "tokenizer_config.json"]


@pytest.mark.parametrize("name", TOKENIZER_FILES)
def test_a_tokenizer_that_leads_out_of_its_folder_is_not_read(converted: Path, name: str) -> None:
    (converted / name).rename(converted.with_name("secret"))
    (converted / name).symlink_to(converted.with_name("secret"))
    with pytest.raises(CheckpointInvalid, match="leads out of its folder"):
        LisaTokenizer.from_folder(converted)


@pytest.mark.parametrize("name", TOKENIZER_FILES)
def test_of_a_huge_tokenizer_no_more_is_read_than_is_allowed(converted: Path, name: str) -> None:
    with (converted / name).open("ab") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(CheckpointInvalid, match=f"{name} .* larger"):
        LisaTokenizer.from_folder(converted)


def test_a_config_of_just_the_allowed_size_is_read(folder: Path, library: Library) -> None:
    text = (folder / "config.json").read_text("utf-8")
    (folder / "config.json").write_text(text.ljust(MAX_JSON_BYTES), "utf-8")
    assert ready_checkpoint(str(folder), library, work=Waiting()).manifest


def test_a_huge_tokenizer_is_not_copied(folder: Path, library: Library) -> None:
    with (folder / "tokenizer.model").open("ab") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    refused(folder, library, CheckpointInvalid, r"tokenizer\.model .* larger")


def test_code_that_a_config_names_is_not_looked_at(folder: Path, library: Library, marker: Path) -> None:
    (folder / "modeling.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n", "utf-8")
    names = {"AutoConfig": "modeling.Config", "AutoModelForCausalLM": "modeling.Model"}
    edit_json(folder / "config.json", lambda config: config.update(auto_map=names))
    converted = ready_checkpoint(str(folder), library, work=Waiting()).folder
    assert not marker.exists()
    assert not (converted / "modeling.py").exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = Library(tmp_path_factory.mktemp("weights"), offline=True)
    return ready_checkpoint(str(NANO), library, work=Waiting()).folder


@pytest.fixture
def converted(made: Path, tmp_path: Path) -> Path:
    """A converted checkpoint that has lost its manifest: its header alone must tell."""
    safe = copy_of(made, tmp_path / "safe")
    (safe / "manifest.json").unlink()
    return safe


def with_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header of a safetensors file; the data stays."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def moved(header: dict[str, Any], by: int) -> None:
    start, end = header[KEY]["data_offsets"]
    header[KEY]["data_offsets"] = [start + by, end + by]


SAFETENSORS: dict[str, Callable[[Path], object]] = {
    "cut off": cut,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "empty": put(b""),
    "seven bytes": put(b"1234567"),
    "a header of 10 TB": put(struct.pack("<Q", 10**13) + b"{}"),
    "a header without end": put(struct.pack("<Q", 2**64 - 1) + b"{}"),
    "a header of nothing": put(struct.pack("<Q", 0)),
    "a header that is no json": put(struct.pack("<Q", 4) + b"abcd"),
    "a header that is a list": put(struct.pack("<Q", 2) + b"[]"),
    "a deep header": put(struct.pack("<Q", 100_000) + b"[" * 100_000),
    "a git lfs pointer": put(b"version https://git-lfs.github.com/spec/v1\n"),
    "a tensor of 10 TB": lambda path: with_header(
        path, lambda h: h[KEY].update(shape=[10**13], data_offsets=[0, 2 * 10**13])
    ),
    "a shape below 0": lambda path: with_header(path, lambda h: h[KEY].update(shape=[-128, -64])),
    "a shape of true": lambda path: with_header(path, lambda h: h[KEY].update(shape=[True])),
    "a shape of text": lambda path: with_header(path, lambda h: h[KEY].update(shape="128")),
    "a type nobody knows": lambda path: with_header(path, lambda h: h[KEY].update(dtype="F1")),
    "a type that is a list": lambda path: with_header(path, lambda h: h[KEY].update(dtype=[])),
    "no offsets": lambda path: with_header(path, lambda h: h[KEY].pop("data_offsets")),
    "offsets beyond the end": lambda path: with_header(path, lambda h: moved(h, 10**9)),
    "overlapping tensors": lambda path: with_header(path, lambda h: moved(h, 2)),
}


@pytest.mark.parametrize("damage", SAFETENSORS.values(), ids=SAFETENSORS)
def test_damaged_safetensors_are_one_typed_error(converted: Path, damage: Callable[[Path], object]) -> None:
    (path,) = converted.glob("*.safetensors")
    damage(path)
    with pytest.raises(WeightsCorrupt) as caught:
        list(iter_weights(converted, Waiting()))
    assert caught.value.hint


def test_safetensors_without_one_tensor_are_refused(converted: Path) -> None:
    (path,) = converted.glob("*.safetensors")
    tensors = load_file(path)
    del tensors[KEY]
    save_file(tensors, converted / "model.safetensors")
    with pytest.raises(CheckpointInvalid, match=f"missing from the checkpoint: {KEY}"):
        next(iter_weights(converted, Waiting()))


def test_no_tokenizer_no_weights_and_no_clip_are_not_found(folder: Path, library: Library) -> None:
    checkpoint = ready_checkpoint(str(folder), library, work=Waiting())
    with pytest.raises(CheckpointNotFound, match="CLIP"):
        ready_clip(checkpoint, None, library, Waiting())
    (folder / "tokenizer.model").unlink()
    with pytest.raises(CheckpointNotFound, match="tokenizer"):
        ready_checkpoint(str(folder), library, work=Waiting())
