"""Several questions about one photo: python examples/02_follow_up.py [IMAGE QUESTION...]

The second question names the conversation and no image, and looks at no image again: it takes a fraction of
the time. Writes lisa-results/follow-up.jpg, the overlays side by side.
"""

import sys
from pathlib import Path

from PIL import Image

import lisa_tool

PHOTOS = Path(lisa_tool.__file__).parent / "eval" / "photos"
QUESTIONS = ("what would you drink from?", "what do you stir with?", "what is it all standing on?")


def main(image: str = str(PHOTOS / "coffee.jpg"), *questions: str) -> None:
    settings = lisa_tool.load_settings(roots=[PHOTOS, Path.cwd()], output_dir="lisa-results")
    overlays = []
    conversation = None
    with lisa_tool.open_segmenter(settings) as segmenter:
        for question in questions or QUESTIONS:
            result = segmenter.segment(
                image if conversation is None else None, question, conversation_id=conversation
            )
            conversation = result.conversation_id
            times = result.timings
            print(f"{question}\n  {result.outcome}: {result.answer}")
            print(f"  {times.total_s:.1f} s, the image was looked at {times.image_encodes} times")
            if result.overlay_path:
                overlays.append(Image.open(result.overlay_path))
    if overlays:
        print(f"look at {side_by_side(overlays, settings.output_dir / 'follow-up.jpg')}")


def side_by_side(pictures: list[Image.Image], path: Path) -> Path:
    """Pictures of one height in a row."""
    row = Image.new("RGB", (sum(p.width for p in pictures), pictures[0].height))
    x = 0
    for picture in pictures:
        row.paste(picture, (x, 0))
        x += picture.width
    row.save(path)
    return path


if __name__ == "__main__":
    main(*sys.argv[1:])
