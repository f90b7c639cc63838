"""The page in a real browser, from a dropped image to the downloaded result."""

import io
import shlex
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const [r, g, b, a = 1] = rgb(getComputedStyle(e).backgroundColor);
      if (a > 0.5) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.matches(":disabled, .unseen, .skip, option")) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${e.tagName} ${e.textContent.trim().slice(0, 30)} ${ratio}`);
  }
  return poor;
}"""


UNNAMED = """[...document.querySelectorAll('button, input, select')].filter((e) =>
  e.checkVisibility() && !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).length"""


def missing() -> str | None:
    """Say what keeps a browser from being started here."""
    if find_spec("playwright") is None:
        return "Playwright is not installed: make test-browser"
    return None if CHROMIUM else "Chromium is not installed: apt-get install chromium (see .ci/run)"


pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open the page of a server; nothing but this server is asked, and nothing goes wrong in it."""
    contexts, wrong = [], []

    def open_page(client: Any, width: int = 1280, scheme: str = "light", key: str = "") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 860}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        own = f"http://127.0.0.1:{client.port}/"
        page.on("request", lambda one: wrong.append(one.url) if own not in one.url else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console", lambda one: wrong.append(one.text) if "Content Security" in one.text else 0
        )
        page.set_default_timeout(30_000)
        page.goto(f"{own}#{key or client.session.token}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [one for one in wrong if not one.startswith("blob:")] == []


def drop(page: Any, *paths: Path) -> None:
    """Drop files and folders onto the page, as from a file manager."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 600, "y": 300, "data": data})
    session.detach()


def shown(page: Any, what: str) -> None:
    page.locator(f"canvas[data-result={what}]").wait_for()


def downloaded(page: Any, button: str) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        page.locator(button).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def unpacked(content: bytes, folder: Path) -> None:
    zipfile.ZipFile(io.BytesIO(content)).extractall(folder)


def files(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


@pytest.mark.parametrize("name", ["cells.tif", "cells.png", "cells.ome.zarr"])
def test_from_a_drop_to_the_download(
    visit, client, tmp_path, write_noisy, run_command, monkeypatch, name
):
    zarr = name.endswith("zarr")
    shape, axes = ((3, 90, 120), "ZYX") if zarr else ((96, 120), "YX")
    source = write_noisy(tmp_path / name, shape, axes)
    page = visit(client)
    page.locator("body.begun").wait_for()
    drop(page, source)
    shown(page, "Preview")
    if zarr:
        page.locator("#place-Z").fill("0")
        assert page.locator("#places output").text_content() == "1 of 3"
        shown(page, "Preview")
    page.locator("#hints input[value=noise]").check()
    page.locator("#command", has_text="--defect noise").wait_for()
    page.locator("#split").fill("30")
    page.locator("#restore").click()
    shown(page, "Restored")
    command = page.locator("#command").text_content()
    suggested, content = downloaded(page, "#download")
    assert suggested == (f"{name}.zip" if zarr else name)
    mine = tmp_path / "mine"
    mine.mkdir()
    if zarr:
        unpacked(content, mine)
    else:
        (mine / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert run_command(*shlex.split(command)[1:], "--quiet")[0] == 0
    assert files(mine / name) == files(tmp_path / "restored" / name)


def test_a_file_that_names_no_axes_is_a_question(visit, client, tmp_path):
    stack = np.random.default_rng(0).integers(0, 999, (4, 60, 70), np.uint16)
    np.save(tmp_path / "stack.npy", stack)
    page = visit(client)
    page.locator("body.begun").wait_for()
    page.locator("#files").set_input_files(tmp_path / "stack.npy")
    page.get_by_text("What are the dimensions of this image?").wait_for()
    assert page.locator("#restore").is_disabled()
    page.get_by_label("planes of one stack (ZYX)").check()
    page.get_by_role("button", name="Use these", exact=True).click()
    page.locator("#question").wait_for(state="hidden")
    page.locator("#field-task").select_option("axial")
    page.get_by_text("say first how large its pixels are").wait_for()
    for letter, size in zip("ZYX", ("0,4", "0.1", "0.1"), strict=True):
        page.locator(f"#size-{letter}").fill(size)
    page.get_by_role("button", name="Use these sizes").click()
    page.locator("#command", has_text="--voxel-size 0.4,0.1,0.1").wait_for()
    page.locator("#restore").click()
    shown(page, "Restored")
    assert downloaded(page, "#download")[0] == "stack.npy"


def test_several_images_are_restored_in_turn_stopped_and_zipped(
    visit, client, tmp_path, write_noisy
):
    paths = [write_noisy(tmp_path / f"{k}.tif") for k in range(3)]
    page = visit(client)
    page.locator("body.begun").wait_for()
    drop(page, *paths)
    page.get_by_role("button", name="Restore all (3)").click()
    page.locator("#list .done").nth(2).wait_for()
    name, content = downloaded(page, "#download-all")
    assert name == "restored.zip"
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert sorted(names) == ["0.tif", "1.tif", "2.tif"]
    drop(page, write_noisy(tmp_path / "large.tif", (2000, 2000)))
    page.locator("#list button.open[aria-current]", has_text="large.tif").wait_for()
    page.locator("#restore:enabled").click()
    page.locator("#stop").click()
    page.get_by_text("Stopped. Nothing half done is left.").wait_for()
    page.get_by_label("Remove large.tif").click()
    page.locator("#list button.open", has_text="large.tif").wait_for(state="detached")


def test_results_are_not_lost_by_a_click(visit, client, noisy: Path):
    page = visit(client)
    page.locator("body.begun").wait_for()
    drop(page, noisy)
    page.locator("#restore:enabled").click()
    shown(page, "Restored")
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_label("Remove cells.tif").click()
    page.get_by_role("button", name="Quit").click()
    assert ["cells.tif" in question for question in asked] == [True, True]
    assert page.locator("#list button.open").count() == 1
    downloaded(page, "#download")
    page.get_by_label("Remove cells.tif").click()
    page.locator("#list button.open").wait_for(state="detached")
    assert len(asked) == 2


def test_what_is_wrong_is_said_and_ticked(visit, client):
    page = visit(client)
    page.locator("#sample").click()
    page.locator("#diagnose:enabled").click()
    page.locator("#diagnosis li", has_text="photon").first.wait_for()
    assert page.evaluate(CONTRAST) == []
    page.get_by_role("button", name="Tick what was found").click()
    page.locator("#command", has_text="--defect noise").wait_for()
    name, content = downloaded(page, "#diagnosis button:has-text('Save the report')")
    assert name == "dsb2018_095_noise_diagnosis.html"
    assert b"<html" in content


def test_images_of_the_folder_are_opened_where_they_are(visit, serve, tmp_path, write_noisy):
    (tmp_path / "data" / "day 1").mkdir(parents=True)
    write_noisy(tmp_path / "data" / "day 1" / "a.ome.zarr", (3, 60, 70), "ZYX")
    page = visit(serve(tmp_path / "data"))
    page.get_by_role("button", name="Open from data…").click()
    page.get_by_role("button", name="day 1").click()
    page.get_by_label("a.ome.zarr").check()
    page.get_by_role("button", name="Open", exact=True).click()
    shown(page, "Preview")
    page.locator("#restore").click()
    page.get_by_text("Saved: restored/day 1/a.ome.zarr").wait_for()
    assert (tmp_path / "data" / "restored" / "day 1" / "a.ome.zarr" / "zarr.json").exists()
    assert page.locator("#download").is_hidden()


def chosen_by_keyboard(page):
    """Press Enter on the button; a window that is not in front yet takes the key for itself."""
    from playwright.sync_api import TimeoutError as Late

    for _ in range(4):
        page.bring_to_front()
        page.locator("#choose").focus()
        try:
            with page.expect_file_chooser(timeout=5000) as waiting:
                page.keyboard.press("Enter")
        except Late:
            continue
        return waiting.value
    raise AssertionError("the files are not asked for")


def test_without_a_mouse(visit, client, noisy: Path):
    page = visit(client)
    page.locator("body.begun").wait_for()

    def go_to(selector: str) -> None:
        for _ in range(60):
            if page.locator(f"{selector}:focus").count():
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{selector} is not reached by the keyboard")

    chosen_by_keyboard(page).set_files(noisy)
    shown(page, "Preview")
    go_to("#canvas")
    for key in ("+", "ArrowRight", "-", "0", ",", "."):
        page.keyboard.press(key)
    go_to("#split")
    page.keyboard.press("Home")
    assert page.locator("#split").input_value() == "0"
    go_to("#hints input")
    page.keyboard.press("Space")
    go_to("#restore")
    page.keyboard.press("Enter")
    shown(page, "Restored")
    go_to("#download")
    with page.expect_download():
        page.keyboard.press("Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_it_is_readable_everywhere(visit, serve, noisy: Path, tmp_path, scheme, width):
    page = visit(serve(tmp_path), width, scheme)
    page.locator("body.begun").wait_for()
    assert page.evaluate(CONTRAST) == []
    page.locator("#files").set_input_files(noisy)
    shown(page, "Preview")
    for summary in page.locator("summary").all():
        if summary.locator("..").get_attribute("open") is None:
            summary.click()
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#restore").click()
    shown(page, "Restored")
    assert page.evaluate(CONTRAST) == []
    page.locator("#choose-root").click()
    page.get_by_role("checkbox", name=noisy.name).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(UNNAMED) == 0


def test_a_page_without_the_key_shows_nothing(visit, client, noisy: Path):
    client.upload(noisy)
    page = visit(client, key="wrong")
    page.get_by_text("this page has no key").wait_for()
    assert page.locator("#work").is_hidden()
    assert page.get_by_text(noisy.name).count() == 0


def test_the_key_leaves_the_address_and_a_reload_stays_in(visit, client, noisy: Path):
    client.upload(noisy)
    page = visit(client)
    page.get_by_text(noisy.name).first.wait_for()
    assert client.session.token not in page.url
    page.reload()
    page.get_by_text(noisy.name).first.wait_for()


def test_markup_in_names_is_text(visit, client, tmp_path, write_noisy):
    name = "a &lt;b&gt; 'x' $(id).tif"
    page = visit(client)
    page.locator("body.begun").wait_for()
    drop(page, write_noisy(tmp_path / name))
    page.locator("#list .name", has_text=name).wait_for()
    page.locator("#command", has_text="$(id)").wait_for()
    command = shlex.split(page.locator("#command").text_content())
    assert command[:3] == ["microscopygan", "restore", name]


def test_what_is_refused_says_why(visit, client, tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"II*\0nothing")
    page = visit(client)
    page.locator("body.begun").wait_for()
    drop(page, tmp_path / "bad.tif")
    page.locator(".notice", has_text="bad.tif was not opened").wait_for()
    page.get_by_label("Close").click()
    assert page.locator(".notice").count() == 0


def test_a_thousand_squared_from_drop_to_comparison(visit, client, tmp_path, write_noisy):
    page = visit(client)
    page.locator("body.begun").wait_for()
    source = write_noisy(tmp_path / "large.tif", (1024, 1024))
    begun = time.perf_counter()
    drop(page, source)
    shown(page, "Preview")
    assert time.perf_counter() - begun < 30  # 3 s on a machine that does nothing else
