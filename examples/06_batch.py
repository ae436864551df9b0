"""One question about every photo of a folder: python examples/06_batch.py [FOLDER QUESTION]

Writes lisa-results/batch.csv, a line for each photo, and lisa-results/batch.jpg, all overlays to look at. A
photo that cannot be answered gets its line too, and the rest goes on.
"""

import csv
import sys
from pathlib import Path

from PIL import Image, ImageOps

import lisa_tool

PHOTOS = Path(lisa_tool.__file__).parent / "eval" / "photos"
TILE = (320, 320)  # pixels of one overlay on the sheet
MOST = 6  # photos


def main(folder: str = str(PHOTOS), question: str = "all the people") -> None:
    settings = lisa_tool.load_settings(roots=[folder], output_dir="lisa-results")
    rows, overlays = [], []
    with lisa_tool.open_segmenter(settings) as segmenter:
        for image in lisa_tool.list_images(settings, folder, limit=MOST):
            try:
                result = segmenter.segment(image.path, question)
            except lisa_tool.LisaError as error:
                rows.append([image.path, error.code, 0, 0, error.message])
                continue
            area = sum(mask.area_fraction for mask in result.masks)
            rows.append([image.path, result.outcome, len(result.masks), round(area, 4), result.answer])
            overlays.append(Image.open(result.overlay_path or image.path))
            print(f"{Path(image.path).name}: {result.outcome}, {len(result.masks)} masks")

    settings.output_dir.mkdir(exist_ok=True)
    with (settings.output_dir / "batch.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image", "outcome", "masks", "area_fraction", "answer"], *rows])
    sheet = Image.new("RGB", (TILE[0] * 3, TILE[1] * -(-len(overlays) // 3)))
    for n, overlay in enumerate(overlays):
        sheet.paste(ImageOps.pad(overlay.convert("RGB"), TILE), (n % 3 * TILE[0], n // 3 * TILE[1]))
    if overlays:
        sheet.save(settings.output_dir / "batch.jpg")
    print(f"{len(rows)} photos: see {settings.output_dir}/batch.csv and batch.jpg")


if __name__ == "__main__":
    main(*sys.argv[1:])
