"""The browser of the tests of pages."""

import shutil

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    *("--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
SECONDS = 300_000  # milliseconds to wait for a page on a busy machine
