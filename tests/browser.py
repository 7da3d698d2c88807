"""A notebook served by Voilà, and its page in a real browser: Chromium, driven through Playwright.

The browser is the first found of the environment variable DGLIB_BROWSER and of NAMES. It resolves no name
of the network, so that a page can only be what the server on this machine gives.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import psutil
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

try:
    from playwright.sync_api import expect
except ImportError:  # the tests are skipped then
    expect = None

ROOT = Path(__file__).parents[1]
PATIENCE = 120  # seconds; a loaded machine takes its time to import torch
RESOLVE = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
NAMES = (os.environ.get("DGLIB_BROWSER", ""), "chromium", "chromium-browser", "google-chrome")
CELL_FAILED = "There was an error when executing cell"  # says Voilà in the page, and why in its log
# What ipywidgets 7 says where MathJax, which it loads from the network for formulas in labels, is not there.
NO_MATHJAX = "Cannot read properties of undefined (reading 'Queue')"
WIDTH, HEIGHT = 1280, 900  # pixels, the smallest page that must show everything


def major(package: str) -> int:
    return int(version(package).partition(".")[0])


BROWSER = next((path for name in NAMES if name and (path := shutil.which(name))), None)
MISSING = [name for name in ("playwright", "voila") if importlib.util.find_spec(name) is None]
MISSING += [] if BROWSER else [f"one of $DGLIB_BROWSER, {', '.join(NAMES[1:])}"]
# The page's part of ipywidgets is a package of its own. With ipywidgets 7, too, pip installs that of
# ipywidgets 8, and a page then shows no widgets.
OTHER_WIDGETS = major("ipywidgets") == 7 and major("jupyterlab_widgets") > 1
MISSING += ["jupyterlab_widgets 1"] if OTHER_WIDGETS else []
needs_browser = pytest.mark.skipif(bool(MISSING), reason=f"no browser tests without {' and '.join(MISSING)}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER,
            args=["--no-sandbox", "--disable-dev-shm-usage", f"--host-resolver-rules={RESOLVE}"],
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True)
class Tab:
    """One page, and what a person does and reads there. A `css` names one widget or element."""

    page: Page
    errors: list[str]  # what JavaScript threw

    def value(self, name: str, within: str, more: str = "") -> Locator:
        """The element with ``data-value="name"`` below `within`; `more`: further selectors."""
        return self.page.locator(f'{within} [data-value="{name}"]{more}').first

    def number(self, name: str, within: str, more: str = "") -> float:
        return float(self.value(name, within, more).inner_text())

    def wait_for(self, condition: str, within: str) -> dict[str, Any]:
        """Wait until `condition` holds, in JavaScript, of the values below `within`, and return these.

        `v` has the text of each element with ``data-value`` under that name, as a number where it is one.
        """
        seen = self.page.wait_for_function(
            f"""within => {{
                const v = {{}};
                for (const each of document.querySelectorAll(within + ' [data-value]')) {{
                    const text = each.innerText;
                    v[each.dataset.value] = text.trim() === '' || isNaN(text) ? text : Number(text);
                }}
                return {condition} ? v : null;
            }}""",
            arg=within,
        )
        found: dict[str, Any] = seen.json_value()
        return found

    @contextmanager
    def new_marks(self, css: str) -> Iterator[None]:
        """The marks on a picture are others at the end of the block."""
        marks = self.page.locator(f"{css} svg")
        before = marks.evaluate("svg => svg.outerHTML")
        yield
        self.page.wait_for_function(
            "([css, before]) => document.querySelector(css + ' svg').outerHTML !== before", arg=[css, before]
        )

    def press(self, css: str, key: str, times: int = 1) -> None:
        """Focus a slider's handle and press a key, such as ``ArrowRight``."""
        # As ipywidgets 8 and 7 name it.
        handle = self.page.locator(f"{css} .noUi-handle, {css} .ui-slider-handle").first
        handle.focus()
        for _ in range(times):
            handle.press(key)

    def type(self, css: str, text: str) -> None:
        """Type a number into a slider's readout, as a person would: click, replace all, Enter."""
        readout = self.page.locator(f"{css} .widget-readout")
        readout.click()
        readout.press("ControlOrMeta+a")
        readout.press_sequentially(text)
        readout.press("Enter")

    def click(self, css: str) -> None:
        self.page.locator(f"button{css}").click()

    def play(self, css: str) -> None:
        """Press ▶ of a `Play` widget where it is shown: ipywidgets 7 cannot start it from the kernel."""
        button = self.page.locator(f"{css} button").first
        if button.is_visible():
            button.click()

    def cut_off(self, css: str) -> list[str]:
        """Elements below `css` that are beyond the page or whose text is wider than their box."""
        found: list[str] = self.page.evaluate(
            """css => [...document.querySelectorAll(css + ', ' + css + ' *')].filter(element => {
                const box = element.getBoundingClientRect();
                if (!box.width || !box.height || element.closest('svg')) return false;
                const beyond = box.left < -1 || box.right > document.documentElement.clientWidth + 1;
                const text = [...element.childNodes].some(
                    node => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
                const style = getComputedStyle(element);
                const clipped = (text || style.overflowX !== 'visible') && style.display !== 'inline'
                    && element.scrollWidth > element.clientWidth + 1;
                return beyond || clipped;
            }).map(e => `${e.tagName}.${e.className} “${e.textContent.trim().slice(0, 40)}”`)""",
            css,
        )
        return found


@contextmanager
def tab(browser: Browser, url: str, shows: str) -> Iterator[Tab]:
    """A page of its own at `url`, once the element `shows` is there; no cell or JavaScript of it may fail."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    try:
        context.set_default_timeout(1000 * PATIENCE)
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_function(
            "([shows, failed]) => document.querySelector(shows) || document.body.innerText.includes(failed)",
            arg=[shows, CELL_FAILED],
        )
        assert CELL_FAILED not in page.inner_text("body"), "see Voilà's log"
        yield Tab(page, errors)
        assert [error for error in errors if error != NO_MATHJAX] == []
        with page.expect_event("close"):
            page.close(run_before_unload=True)
    finally:
        context.close()


def with_parameters(notebook: Path, target: Path, **parameters: Any) -> Path:
    """Write a copy of `notebook` to `target`, with `parameters` injected as papermill does."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    nbformat.write(parameterize_notebook(load_notebook_node(str(notebook)), parameters), target)
    return target


@contextmanager
def served(notebook: Path, home: Path) -> Iterator[str]:
    """The address of ``voila NOTEBOOK``, which runs until the block ends, its kernels included.

    Args:
        home: a new directory for whatever Jupyter and IPython read or write of their own.
    """
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "TMPDIR")
    variables = {name: str(home / name.lower()) for name in names}
    for directory in variables.values():
        Path(directory).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home / "voila.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "voila", notebook, "--no-browser", f"--port={port}"],
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables, "OMP_NUM_THREADS": "1"},
        )
    try:
        deadline, started = time.monotonic() + PATIENCE, None
        while started is None:  # on another port where this one was taken meanwhile
            text = log.read_text(encoding="utf-8", errors="replace")
            assert process.poll() is None, f"voila exited with {process.returncode}:\n{text}"
            assert time.monotonic() < deadline, text
            started = re.search(r"is running at:\s+(http://[^\s/]+:\d+/)", text)
            time.sleep(0.05)
        yield started[1].replace("localhost", "127.0.0.1")
    finally:
        family = [] if process.poll() is not None else psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for kernel in psutil.wait_procs(family, timeout=5)[1]:
            kernel.kill()
