"""What is a name on the Hugging Face hub, told without asking it and without its library."""

from __future__ import annotations

import re

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"

HUB_NAME = re.compile(rf"(?!.*(?:--|\.\.|\.git$)){_PART}/{_PART}")
"""`owner/name`, as a whole. Of what huggingface_hub refuses nothing matches."""
