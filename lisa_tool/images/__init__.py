"""Everything that turns an image reference into upright RGB pixels."""

from lisa_tool.images.listing import ListedImage, list_images
from lisa_tool.images.reference import ImageReference, LoadedImage, load_image

__all__ = ["ImageReference", "ListedImage", "LoadedImage", "list_images", "load_image"]
