"""The playground of the book: its numbers against the library's, in Node and in a browser.

Both are optional programs: tests that need one are skipped where it is not installed.
"""

import base64
import io
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinysmooth as ts
from tinysmooth.plots import style

STATIC = Path(__file__).parent.parent / "chapters" / "_static"
NODE = shutil.which("node")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

REFERENCE = [2.0, 1.0, 0.0, -1.0, 0.5]


def in_node(calls):
    """Evaluate calls such as ["loss", [logits, target, epsilon]] of smoothing.js in Node."""
    program = (
        "const S = require(process.argv[1]);"
        "const calls = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify(calls.map(([name, args]) => S[name](...args))));"
    )
    done = subprocess.run(
        [NODE, "-e", program, str(STATIC / "smoothing.js")],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def random_cases():
    rng = np.random.default_rng(0)
    for num_classes in (2, 3, 5, 10, 40):
        for epsilon in (0.0, 0.1, 0.37, 1.0):
            scale = rng.choice([0.1, 3.0, 30.0])
            logits = rng.normal(scale=scale, size=num_classes)
            yield logits, int(rng.integers(num_classes)), epsilon


@needs_node
def test_loss_and_gradient_equal_the_librarys():
    cases = [*random_cases(), (np.array([40.0, 0.0]), 0, 0.0), (np.array([1e4, 0.0, 0.0]), 1, 0.1)]
    calls = [[name, [z.tolist(), y, e]] for z, y, e in cases for name in ("loss", "gradient")]
    answers = iter(in_node(calls))
    for logits, target, epsilon in cases:
        loss = ts.cross_entropy(logits, target, label_smoothing=epsilon).item()
        np.testing.assert_allclose(next(answers), loss, rtol=1e-12)
        grad = ts.cross_entropy_gradient(logits, target, label_smoothing=epsilon)
        np.testing.assert_allclose(next(answers), grad, rtol=1e-9, atol=1e-15)


@needs_node
def test_softmax_targets_and_gap_equal_the_librarys():
    cases = list(random_cases())
    calls = []
    for logits, target, epsilon in cases:
        calls += [
            ["softmax", [logits.tolist()]],
            ["smoothedTargets", [target, len(logits), epsilon]],
            ["meanGap", [logits.tolist(), target]],
        ]
    answers = iter(in_node(calls))
    for logits, target, epsilon in cases:
        np.testing.assert_allclose(next(answers), ts.softmax(logits).data, rtol=1e-13, atol=1e-300)
        smoothed = ts.smooth_targets([target], len(logits), epsilon)[0]
        np.testing.assert_allclose(next(answers), smoothed, rtol=1e-13)
        gap = ts.metrics.logit_gap(logits[None], [target])
        np.testing.assert_allclose(next(answers), gap, rtol=1e-12, atol=1e-12)


@needs_node
def test_floor_and_resting_gap_equal_the_librarys():
    cases = [(k, e) for k in (2, 3, 10, 1000) for e in (0.01, 0.1, 0.5, 1.0)]
    floors = in_node([["lossFloor", [k, e]] for k, e in cases])
    gaps = in_node([["restingGap", [k, e]] for k, e in cases])
    for (k, e), floor, gap in zip(cases, floors, gaps, strict=True):
        np.testing.assert_allclose(floor, ts.loss_floor(k, e), rtol=1e-12)
        np.testing.assert_allclose(gap, ts.resting_gap(k, e), rtol=1e-12, atol=1e-15)
    assert in_node([["lossFloor", [10, 0.0]], ["restingGap", [10, 0.0]]]) == [0, None]  # infinity


@needs_node
def test_descent_marches_settles_and_unlearns_as_gradient_descent_in_numpy():
    """The numbers of chapter 9: 100, 1000 and 10000 steps, then the steps to change the mind."""
    for epsilon, trained in ((0.0, 100), (0.0, 1000), (0.1, 1000), (0.1, 10000)):
        logits = np.zeros(10)
        for _ in range(trained):
            logits -= 0.1 * ts.cross_entropy_gradient(logits, 0, label_smoothing=epsilon)
        (in_browser,) = in_node([["descend", [[0.0] * 10, 0, epsilon, 0.1, trained]]])
        np.testing.assert_allclose(in_browser, logits, atol=1e-9)
        steps = 0
        while logits.argmax() != 1 or logits[0] == logits[1]:
            logits -= 0.1 * ts.cross_entropy_gradient(logits, 1, label_smoothing=epsilon)
            steps += 1
        assert in_node([["stepsToLearn", [in_browser, 1, epsilon, 0.1, 1000]]]) == [steps]


@needs_node
def test_descent_leaves_its_argument_as_it_is():
    program = (
        "const S = require(process.argv[1]); const z = [0, 0];"
        "S.descend(z, 0, 0.1, 1, 5); console.log(JSON.stringify(z));"
    )
    done = subprocess.run(
        [NODE, "-e", program, str(STATIC / "smoothing.js")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == [0, 0]


# The browser reads commands from descriptor 3 and answers on 4.
LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for pipe, place in zip(pipes, (3, 4)):
    os.dup2(pipe, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """Headless Chromium driven over its debugging pipe, with the standard library alone."""

    def __init__(self, profile):
        commands, self.write = os.pipe()
        self.read, answers = os.pipe()
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(commands), str(answers), CHROMIUM, *options],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self.buffer, self.count, self.events, self.session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def message(self, deadline):
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            piece = os.read(self.read, 1 << 16)
            if not piece:
                raise RuntimeError("the browser is gone")
            self.buffer += piece
        raw, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(raw)

    def call(self, method, **params):
        self.count += 1
        request = {"id": self.count, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.write, json.dumps(request).encode() + b"\0")
        deadline = time.monotonic() + 60
        while (answer := self.message(deadline)).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url):
        self.events.clear()
        # A page of its own each time: the same address with another # would not load anew.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def value(self, code):
        answer = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, code):
        deadline = time.monotonic() + 30
        while not self.value(code):
            assert time.monotonic() < deadline, f"never true: {code}"
            time.sleep(0.05)

    def text(self, element):
        return self.value(f"document.getElementById({element!r}).textContent")

    def number(self, element):
        return float(self.text(element).replace("−", "-").replace(",", ""))

    def click(self, element):
        self.value(f"document.getElementById({element!r}).click()")

    def press(self, key):
        for kind in ("rawKeyDown", "keyUp"):
            codes = {"ArrowRight": 39, "Tab": 9, "Home": 36, "End": 35, "ArrowDown": 40}
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
            )

    def asked(self):
        """Addresses that the page has asked for."""
        requests = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in requests]

    def failures(self):
        return [e for e in self.events if e.get("method") == "Runtime.exceptionThrown"]

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        os.close(self.read)
        os.close(self.write)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A bare page with the playground, as the book embeds it."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("smoothing.js", "playground.js", "playground.css"):
        shutil.copy(STATIC / name, folder)
    address = folder / "page.html"
    address.write_text(
        '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="playground.css">'
        '<div id="playground-bars" class="playground"></div>'
        '<div id="playground-race" class="playground"></div>'
        '<script src="smoothing.js"></script><script src="playground.js"></script>',
        encoding="utf-8",
    )
    return address.as_uri()


@needs_browser
@pytest.mark.parametrize(("epsilon", "target"), [(0.1, 0), (0.0, 3), (0.37, 4)])
def test_the_page_shows_the_librarys_numbers(browser, page, epsilon, target):
    address = ",".join(map(str, REFERENCE))
    browser.open(f"{page}#epsilon={epsilon}&target={target}&logits={address}")
    logits = np.array(REFERENCE)
    loss = ts.cross_entropy(logits, target, label_smoothing=epsilon).item()
    floor = ts.loss_floor(5, epsilon)
    probs, grad = (
        ts.softmax(logits).data,
        ts.cross_entropy_gradient(logits, target, label_smoothing=epsilon),
    )
    shown = {name: browser.number(f"pg-{name}") for name in ("loss", "floor", "excess", "gap")}
    gap = ts.metrics.logit_gap(logits[None], [target])
    expected = {"loss": loss, "floor": floor, "excess": loss - floor, "gap": gap}
    assert shown == pytest.approx(expected, abs=5.1e-5)
    assert browser.text("pg-rest") == ("∞" if epsilon == 0 else f"{ts.resting_gap(5, epsilon):.4f}")
    for k in range(5):
        assert browser.number(f"pg-p-{k}") == pytest.approx(probs[k], abs=5.1e-5)
        assert browser.number(f"pg-g-{k}") == pytest.approx(grad[k], abs=5.1e-5)
    assert not browser.failures()


@needs_browser
def test_bars_are_as_long_as_their_numbers(browser, page):
    browser.open(f"{page}#epsilon=0.1&target=0&logits={','.join(map(str, REFERENCE))}")
    widths = browser.value(
        "[...document.querySelectorAll('.pg-fill.pg-p')].map(bar =>"
        " bar.getBoundingClientRect().width / bar.parentElement.getBoundingClientRect().width)"
    )
    np.testing.assert_allclose(widths, ts.softmax(np.array(REFERENCE)).data, atol=2e-3)


@needs_browser
def test_the_resting_place_has_no_gradient_and_the_loss_at_its_floor(browser, page):
    browser.open(f"{page}#epsilon=0.1")
    browser.click("pg-settle")
    assert browser.text("pg-loss") == browser.text("pg-floor") == "0.5003"
    assert browser.text("pg-gap") == browser.text("pg-rest") == "4.5109"
    assert all(abs(browser.number(f"pg-g-{k}")) == 0 for k in range(10))


@needs_browser
def test_sliders_work_from_the_keyboard(browser, page):
    browser.open(f"{page}#epsilon=0.1&logits=0,0,0")
    browser.value("document.getElementById('pg-logit-0').focus()")
    for _ in range(3):
        browser.press("ArrowRight")
    assert browser.text("pg-logit-0-value") == "0.3"
    probs = ts.softmax(np.array([0.3, 0.0, 0.0])).data
    assert browser.number("pg-p-0") == pytest.approx(probs[0], abs=5.1e-5)
    browser.value("document.getElementById('pg-target-0').focus()")
    browser.press("ArrowDown")
    assert browser.value("document.getElementById('pg-target-1').checked")
    loss = ts.cross_entropy(np.array([0.3, 0.0, 0.0]), 1, label_smoothing=0.1).item()
    assert browser.number("pg-loss") == pytest.approx(loss, abs=5.1e-5)


@needs_browser
def test_every_control_is_named_and_can_be_reached(browser, page):
    browser.open(page)
    nameless = browser.value(
        "[...document.querySelectorAll('input, select, button, canvas')].filter(node =>"
        " !node.textContent.trim() && !node.getAttribute('aria-label')"
        " && !(node.labels && node.labels.length)).map(node => node.id)"
    )
    assert nameless == []
    ids = browser.value("[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert len(ids) == len(set(ids))
    assert browser.value("document.querySelectorAll('[tabindex=\"-1\"]').length") == 0


@needs_browser
def test_training_and_flipping_count_the_steps_of_chapter_nine(browser, page):
    browser.open(f"{page}#epsilon=0.1")
    for _ in range(10):
        browser.click("pg-more")
    assert browser.number("pg-hard-gap") == pytest.approx(9.2025, abs=6e-4)
    assert browser.number("pg-soft-gap") == pytest.approx(np.log(91), abs=6e-4)
    assert "10,000 steps" in browser.text("pg-status")
    browser.click("pg-flip")
    browser.until("document.getElementById('pg-status').textContent.includes('changed their mind')")
    assert (browser.number("pg-hard-unlearned"), browser.number("pg-soft-unlearned")) == (51, 32)


@needs_browser
def test_training_animates_pauses_and_starts_again(browser, page):
    browser.open(page)
    browser.click("pg-play")
    browser.until("document.getElementById('pg-hard-trained').textContent !== '0'")
    browser.click("pg-play")
    stopped = browser.number("pg-hard-trained")
    time.sleep(0.2)
    assert browser.number("pg-hard-trained") == stopped > 0
    browser.click("pg-again")
    assert browser.number("pg-hard-trained") == 0
    assert browser.value("document.getElementById('pg-flip').disabled")


@needs_browser
def test_the_chart_is_painted_in_the_colours_of_the_figures(browser, page):
    browser.open(page)
    browser.value(
        "document.documentElement.style.cssText ="
        f" '--one-hot: {style.ONE_HOT}; --smoothed: {style.SMOOTHED}; --limit: {style.LIMIT}'"
    )
    browser.click("pg-more")
    picture = browser.value("document.getElementById('pg-chart').toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(picture.split(",")[1]))) as image:
        colours = {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3)}
    for name in (style.ONE_HOT, style.SMOOTHED, style.LIMIT):
        wanted = tuple(int(name[i : i + 2], 16) for i in (1, 3, 5))
        nearest = min(max(abs(int(a) - b) for a, b in zip(c, wanted, strict=True)) for c in colours)
        assert nearest <= 8, name


@needs_browser
def test_the_page_asks_for_nothing_from_a_network(browser, page):
    browser.open(page)
    browser.click("pg-more")
    assert browser.asked()
    assert all(url.startswith(("file:", "about:", "data:")) for url in browser.asked())
