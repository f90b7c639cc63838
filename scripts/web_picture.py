"""Make the picture of docs/web.md: a sample on the web page, beside its preview.

Needs Playwright for Python, and Chromium.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--no-sandbox"]


def photograph(address: str, output: Path) -> None:
    """Open the page, restore the sample, photograph."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1240, "height": 880})
        page.goto(address)
        page.locator("#sample").click()
        page.locator("#hints input[value=noise]").check()
        page.locator("#restore").click()
        page.locator("canvas[data-result=Restored]").wait_for()
        page.wait_for_timeout(500)
        page.screenshot(path=output)
        browser.close()


def main() -> None:
    """Start the program, photograph its page, end it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/web.png"))
    output = parser.parse_args().output
    words = [sys.executable, "-m", "microscopygan", "web", "--no-browser"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as program:
        shown = program.stdout.readline() if program.stdout else ""
        address = re.search(r"http://\S+", shown)
        try:
            photograph(address[0] if address else "", output)
        finally:
            program.terminate()


if __name__ == "__main__":
    main()
