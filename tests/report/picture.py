"""Take the README's picture of a report: `python tests/report/picture.py results/BUNDLE docs/report.png`.

Its head with the leaderboard, then the first figures, as a window of 1,280 pixels shows them.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path

from browser import Browser
from PIL import Image

WIDTH, HEAD, FIGURES = 1280, 624, 352  # pixels
COLOURS = 64


def take(page: Path) -> Image.Image:
    """Return the picture of report.html."""
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        browser.open(page, width=WIDTH)
        browser.run("document.documentElement.style.scrollbarWidth = 'none'")
        shots = [_shot(browser)]
        browser.run("document.querySelector('#figures h2').scrollIntoView()")
        shots.append(_shot(browser))
        browser.close()
    picture = Image.new("RGB", (WIDTH, HEAD + FIGURES), "white")
    picture.paste(shots[0].crop((0, 0, WIDTH, HEAD)), (0, 0))
    picture.paste(shots[1].crop((0, 0, WIDTH, FIGURES)), (0, HEAD))
    return picture.quantize(COLOURS)


def _shot(browser: Browser) -> Image.Image:
    png = browser.call("Page.captureScreenshot", format="png")["data"]
    return Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")


if __name__ == "__main__":
    take(Path(sys.argv[1]) / "report.html").save(sys.argv[2], optimize=True)
