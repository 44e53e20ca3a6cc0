"""Images and forms to send."""

import io
from typing import Any

from PIL import Image

API = "/api/v1/tiny/uploads"
FORM = "/tiny/uploads"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Site": "same-origin"}


def sample_image(kind: str = "PNG", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(buffer, kind, **options)
    return buffer.getvalue()


def form(data: bytes, name: str = "image", filename: str = "../../evil.php") -> dict[str, Any]:
    return {name: (filename, data, "text/plain")}
