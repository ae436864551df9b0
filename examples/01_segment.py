"""A photo and a question give masks: python examples/01_segment.py [IMAGE QUESTION]

Writes lisa-results/res_.../ with the masks, the overlay to look at, and result.json.
"""

import sys
from pathlib import Path

import numpy
from PIL import Image

import lisa_tool

PHOTOS = Path(lisa_tool.__file__).parent / "eval" / "photos"


def main(image: str = str(PHOTOS / "astronaut.jpg"), question: str = "what protects her head?") -> None:
    settings = lisa_tool.load_settings(roots=[PHOTOS, Path.cwd()], output_dir="lisa-results")
    with lisa_tool.open_segmenter(settings) as segmenter:
        try:
            result = segmenter.segment(image, question)
        except lisa_tool.LisaError as error:
            sys.exit(error.to_text())

    print(result.to_text())
    for mask in result.masks:
        pixels = numpy.asarray(Image.open(mask.path)) > 0  # bool (height, width)
        print(f"{mask.label}: {pixels.sum()} pixels of a {pixels.shape[1]}x{pixels.shape[0]} image")


if __name__ == "__main__":
    main(*sys.argv[1:])
