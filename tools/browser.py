"""Find the Chromium that the browser tests drive: `python tools/browser.py` prints its path, or installs one."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find():
    """The browser's path: $CHROMIUM, one on PATH, or the one that Playwright has installed; None where there is none."""
    if os.environ.get("CHROMIUM"):
        return os.environ["CHROMIUM"]
    for name in NAMES:
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None


if __name__ == "__main__":
    if find() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])
    if find() is None:
        sys.exit("No Chromium was found or could be installed. Install one (Debian: apt-get install chromium), "
                 "or set CHROMIUM to its path.")
    print("   ", find())
