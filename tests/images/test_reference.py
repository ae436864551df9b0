"""One door for each kind of reference."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lisa_tool.errors import (
    ImageNotFound,
    ImageTooLarge,
    ImageUnreadable,
    MissingExtra,
    PathNotAllowed,
    UrlNotAllowed,
)
from lisa_tool.images import load_image
from lisa_tool.settings import Limits, Settings, load_settings
from tests.images.samples import RED, encode, plain, save

PNG = encode(plain())


def data_uri(data: bytes = PNG, header: str = "data:image/png;base64") -> str:
    return f"{header},{base64.b64encode(data).decode()}"


def test_path_names_itself_as_given(tmp_path: Path, settings: Settings) -> None:
    path = save(tmp_path / "cat.png")
    loaded = load_image(path, settings)
    assert loaded.info.source == str(path)
    assert loaded.info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (loaded.info.width, loaded.info.height) == (6, 4)
    assert load_image(f"  {path}\n", settings).info == loaded.info


def test_bytes_are_named_by_their_size(settings: Settings) -> None:
    info = load_image(PNG, settings).info
    assert info.source == f"bytes ({len(PNG)})"
    assert info.sha256 == hashlib.sha256(PNG).hexdigest()


def test_pil_image_is_named_by_its_size_and_known_by_its_pixels(settings: Settings) -> None:
    first = load_image(plain(6, 4), settings).info
    assert first.source == "PIL image 6x4"
    assert first.sha256 == load_image(Image.open(io.BytesIO(PNG)), settings).info.sha256
    assert first.sha256 != load_image(plain(4, 6), settings).info.sha256


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "FILE://{}", "file:{}"])
def test_file_url_leads_to_its_path(tmp_path: Path, settings: Settings, form: str) -> None:
    save(tmp_path / "a b#1?.png")
    url = form.format(str(tmp_path / "a%20b%231%3F.png"))
    assert load_image(url, settings).info.source == url
    assert load_image(form.format(tmp_path / "a b#1?.png"), settings).info.width == 6


def test_file_url_is_percent_decoded_exactly_once(tmp_path: Path, settings: Settings) -> None:
    save(tmp_path / "a%20b.png")
    assert load_image(f"file://{tmp_path}/a%2520b.png", settings).info.width == 6
    with pytest.raises(ImageNotFound):
        load_image(f"file://{tmp_path}/a%20b.png", settings)
    assert load_image(f"{tmp_path}/a%20b.png", settings).info.width == 6


@pytest.mark.parametrize(
    "url", ["file://server/share/a.png", "file:a.png", "file:////server/a.png", "file://"]
)
def test_file_url_of_another_computer_or_without_a_path_is_refused(settings: Settings, url: str) -> None:
    with pytest.raises(PathNotAllowed):
        load_image(url, settings)


@pytest.mark.parametrize(
    "uri",
    [
        data_uri(),
        data_uri(header="data:;base64"),
        data_uri(header="DATA:IMAGE/PNG;charset=x;BASE64"),
        data_uri(header="data:image/jpeg;base64"),
        data_uri().rstrip("="),
        data_uri().replace("+", "-").replace("/", "_").replace("image_png", "image/png"),
        data_uri().replace("+", "%2B").replace("=", "%3D"),
        data_uri()[:60] + "\n " + data_uri()[60:],
        "data:image/png," + "".join(f"%{b:02x}" for b in PNG),
    ],
)
def test_data_uri_forms_give_the_same_bytes(settings: Settings, uri: str) -> None:
    loaded = load_image(uri, settings)
    assert loaded.info.sha256 == hashlib.sha256(PNG).hexdigest()
    assert tuple(loaded.rgb[0, 0]) == RED


def test_data_uri_is_named_without_its_data(settings: Settings) -> None:
    assert load_image(data_uri(), settings).info.source == f"data:image/png;base64,… ({len(PNG)} bytes)"


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("data:text/html;base64,aGk=", "'text/html'"),
        ("data:image/png;base64", "no comma"),
        ("data:image/png;base64,@@@@", "damaged"),
        ("data:image/png;base64,A", "damaged"),
        ("data:,hello", "text file"),
        ("data:image/svg+xml,<svg xmlns='x'/>", "SVG"),
        ("data:image/png;base64,", "empty"),
        (base64.b64encode(PNG).decode() * 2, "bare base64"),
    ],
)
def test_a_data_uri_that_is_no_image_says_why(settings: Settings, uri: str, word: str) -> None:
    with pytest.raises(ImageUnreadable, match=word):
        load_image(uri, settings)


def test_data_uri_over_the_limit_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **kwargs: Any) -> bytes:
        raise AssertionError("decoded")

    settings = load_settings(limits=Limits(max_file_bytes=300))
    assert len(base64.b64decode(data_uri(b"x" * 300).partition(",")[2])) == 300
    with pytest.raises(ImageUnreadable, match="text file"):
        load_image(data_uri(b"x" * 300), settings)
    monkeypatch.setattr("base64.b64decode", never)
    monkeypatch.setattr("lisa_tool.images.reference.unquote_to_bytes", never)
    with pytest.raises(ImageTooLarge, match="300 bytes"):
        load_image(data_uri(b"x" * 301), settings)
    with pytest.raises(ImageTooLarge, match="300 bytes"):
        load_image("data:image/png," + "x" * 2000, settings)


@pytest.mark.parametrize(
    "reference",
    [
        "ftp://h/a.png",
        "s3://b/a.png",
        "gs:b/a.png",
        "javascript:alert(1)",
        "http://ok.example/a.png",
        "foo://x",
    ],
)
def test_other_schemes_are_refused_with_what_is_accepted(settings: Settings, reference: str) -> None:
    with pytest.raises(UrlNotAllowed) as caught:
        load_image(reference, settings)
    assert "a path, a file:// URL, a data:image/... URI" in caught.value.hint


def test_a_file_name_with_a_colon_is_a_path(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "photo:1.png")
    monkeypatch.chdir(tmp_path)
    assert load_image("photo:1.png", settings).info.width == 6


def test_urls_are_off_unless_hosts_are_named(settings: Settings) -> None:
    with pytest.raises(UrlNotAllowed, match="fetching URLs is off") as caught:
        load_image("https://user:secret@ok.example/a.png?token=secret#secret", settings)
    assert "secret" not in caught.value.to_text()
    assert "https://ok.example/a.png" in caught.value.message


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "AntiSSRF", None)
    monkeypatch.delitem(sys.modules, "lisa_tool.images.fetch", raising=False)
    with pytest.raises(MissingExtra, match=r"pip install 'lisa-tool\[urls\]'"):
        load_image("https://ok.example/a.png", load_settings(url_hosts=("ok.example",)))


@pytest.mark.parametrize("reference", [5, None, np.zeros((4, 4, 3)), bytearray(PNG), ["a.png"]])
def test_other_types_are_refused_with_what_is_accepted(settings: Settings, reference: Any) -> None:
    with pytest.raises(ImageUnreadable, match="cannot be of type") as caught:
        load_image(reference, settings)
    assert "PIL.Image.fromarray" in caught.value.hint


@pytest.mark.parametrize("reference", ["", "  \n"])
def test_a_blank_reference_is_refused(settings: Settings, reference: str) -> None:
    with pytest.raises(ImageNotFound, match="blank"):
        load_image(reference, settings)


SANDBOX = [
    "/mnt/user-data/uploads/cat.png",
    "/sessions/brave-fox/mnt/uploads/cat.png",
    "/mnt/data/cat.png",
    "sandbox:/mnt/data/cat.png",
    "file:///mnt/data/cat.png",
    "/home/oai/share/cat.png",
    "attachment:cat.png",
    "blob:https://chat.example/1234",
    "cid:part1.abc@mail",
    "file-abc123XYZ",
    "file-service://file-abc123XYZ",
    "file_00000000a1b2c3d4e5f6",
]


@pytest.mark.parametrize("reference", SANDBOX)
def test_a_path_of_the_chat_apps_sandbox_is_explained(settings: Settings, reference: str) -> None:
    with pytest.raises(ImageNotFound, match="chat app's own sandbox") as caught:
        load_image(reference, settings)
    assert "data URI" in caught.value.hint


def test_a_file_that_only_looks_like_a_file_id_is_read(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "file-abc123XYZ")
    monkeypatch.chdir(tmp_path)
    assert load_image("file-abc123XYZ", settings).info.width == 6


def test_source_is_cleaned_of_control_characters_and_cut(tmp_path: Path, settings: Settings) -> None:
    evil = save(tmp_path / "a\x1b[31m\n\u202egnp.png")
    assert load_image(evil, settings).info.source == f"{tmp_path}/a[31m gnp.png"
    deep = save(tmp_path / ("d" * 200) / ("e" * 200) / "a.png")
    assert len(load_image(deep, settings).info.source) == 300
