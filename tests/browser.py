"""A headless Chromium, driven over the DevTools protocol through a pipe: nothing beside the browser is needed."""

import base64
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 30
_QUIET = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
          "--disable-extensions", "--disable-background-networking", "--disable-component-update",
          "--hide-scrollbars", "--mute-audio", "--remote-debugging-pipe"]  # fmt: skip

_LOW_CONTRAST = """(() => {
const numbers = (colour) => {
  const found = colour.match(/-?[\\d.]+(e-?\\d+)?/g).map(Number);
  const scaled = colour.startsWith("color(") ? found.slice(0, 3).map((each) => 255 * each) : found.slice(0, 3);
  return [...scaled, found.length > 3 ? found[3] : 1];
};
const over = (top, below) => [0, 1, 2].map((each) => top[each] * top[3] + below[each] * (1 - top[3])).concat(1);
const ground = (element) => {
  if (!element) return [255, 255, 255, 1];
  const own = numbers(getComputedStyle(element).backgroundColor);
  return own[3] === 1 ? own : over(own, ground(element.parentElement));
};
const light = (colour) => {
  const [r, g, b] = colour.map((each) => each / 255)
    .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const seen = {};
for (const element of document.querySelectorAll("body *")) {
  if (!element.getClientRects().length) continue;
  if (element.closest("script, noscript, option, svg.matrix, .hidden, :disabled")) continue;
  const text = [...element.childNodes].filter((each) => each.nodeType === 3).map((each) => each.data).join("").trim();
  if (!text) continue;
  const style = getComputedStyle(element), below = ground(element);
  const colour = over(numbers(element.closest("svg") ? style.fill : style.color), below);
  const [one, other] = [light(colour), light(below)].sort((a, b) => b - a);
  const ratio = (one + 0.05) / (other + 0.05);
  if (ratio >= 4.5) continue;
  seen[`${element.tagName}.${element.className.baseVal ?? element.className}`] = [ratio, text.slice(0, 40)];
}
return seen;
})()"""


class Browser:
    """One tab. `troubles` collects exceptions, console errors, what a page's policy refused, and requests elsewhere.

    A page that is a file may ask for nothing, a served page for what is of its own `origin`; `asked` has that.
    """

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="hangtag-browser-")
        # The browser reads from descriptor 3 and writes to 4.
        ours, theirs = os.pipe(), os.pipe()
        read, write = (self._high(each) for each in (ours[0], theirs[1]))
        silent = os.open(os.devnull, os.O_RDWR)
        places = [(os.POSIX_SPAWN_DUP2, *pair) for pair in ((read, 3), (write, 4), (silent, 1), (silent, 2))]
        arguments = [CHROMIUM, *_QUIET, f"--user-data-dir={self.profile}", "about:blank"]
        self.process = os.posix_spawn(CHROMIUM, arguments, os.environ, file_actions=places, setpgroup=0)
        for each in (read, write, silent):
            os.close(each)
        self.into, self.out = ours[1], theirs[0]
        self.numbers, self.buffer, self.session, self.troubles, self.events = itertools.count(1), b"", None, [], []
        self.origin, self.asked = None, []
        tab = next(each for each in self.ask("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setFocusEmulationEnabled", enabled=True)

    @staticmethod
    def _high(descriptor):
        """The same pipe under a number that cannot be one of those the browser wants."""
        import fcntl

        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
        os.close(descriptor)
        return moved

    def close(self):
        for descriptor in (self.into, self.out):
            os.close(descriptor)
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        shutil.rmtree(self.profile, ignore_errors=True)

    def ask(self, method, **parameters):
        """Send a command and return its result; events that come meanwhile are noted."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.into, data) :]
        while True:
            answer = self._next(method)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _next(self, waiting_for):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.out], [], [], max(0, end - time.monotonic()))
            assert ready, f"the browser did not answer {waiting_for} within {PATIENCE} s"
            read = os.read(self.out, 1 << 20)
            assert read, f"the browser ended before it answered {waiting_for}"
            self.buffer += read
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        method, parameters = event.get("method"), event.get("params", {})
        self.events.append(method)
        if method == "Runtime.exceptionThrown":
            self.troubles.append(parameters["exceptionDetails"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.troubles.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.troubles.append(parameters["args"])
        elif method == "Network.requestWillBeSent":
            parts = urlsplit(parameters["request"]["url"])
            if f"{parts.scheme}://{parts.netloc}" == self.origin:
                self.asked.append(f"{parameters['request']['method']} {parts.path}")
            elif parts.scheme in ("http", "https", "ws", "wss"):
                self.troubles.append(parts.geturl())

    def open(self, page, width=1200, height=900, scheme="light", media="", scripts=True, motion=True):
        """Open a file, or a page of a server by its URL, afresh."""
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.screen(width, height, scheme, media, motion)
        self.troubles, self.events, self.asked = [], [], []
        served = str(page).startswith(("http://", "https://"))
        url = str(page) if served else Path(page).absolute().as_uri()
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(url)) if served else None
        self.ask("Page.navigate", url=url)
        while "Page.loadEventFired" not in self.events:
            self._note(self._next("loading"))

    def screen(self, width=1200, height=900, scheme="light", media="", motion=True):
        """The window's size in pixels, the colour scheme, `print` as the medium, and whether things may move."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "no-preference" if motion else "reduce"},
        ]
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)

    def run(self, code):
        """The value of a JavaScript expression."""
        done = self.ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def move(self, x, y):
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector):
        """Click in the middle of an element, as a mouse would."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def middle(self, selector):
        """An element's middle, after scrolling it into view."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        self.settle()
        return self.run(
            f"(() => {{const box = {element}.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2];})()"
        )

    def settle(self):
        """Wait until what was done is drawn, and what scrolling sets off has run."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def key(self, name, **more):
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=name, code=name, **(more if kind == "keyDown" else {}))

    def until(self, code, seconds=PATIENCE):
        """Wait until a JavaScript expression holds."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({code})"):
            assert time.monotonic() < end, f"not within {seconds} s: {code}"
            time.sleep(0.05)

    def drag(self, kind, files, x=300, y=200):
        """Drag files over a place of the window: `dragEnter`, `dragOver`, `drop` or `dragCancel`."""
        data = {"items": [], "files": [str(each) for each in files], "dragOperationsMask": 1}
        self.ask("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def drop(self, files, x=300, y=200):
        for kind in ("dragEnter", "dragOver", "drop"):
            self.drag(kind, files, x, y)

    def pick(self, selector, files):
        """Choose files in a file input, as its dialog would."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(each) for each in files])

    def paste(self, picture):
        """Put a PNG on the clipboard, and paste it with the keyboard."""
        self.ask("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        data = base64.b64encode(Path(picture).read_bytes()).decode()
        self.run(
            f"(async () => {{const bytes = Uint8Array.from(atob('{data}'), (each) => each.charCodeAt(0)); "
            "const blob = new Blob([bytes], {type: 'image/png'}); "
            "await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]); return true;})()"
        )
        self.key("v", modifiers=2, commands=["paste"])

    def low_contrast(self):
        """The texts that are shown at less than WCAG's 4.5 to 1, with their ratio: nothing, where all can be read."""
        return self.run(_LOW_CONTRAST)

    def pdf(self):
        return base64.b64decode(self.ask("Page.printToPDF", printBackground=True)["data"])

    def picture(self, **options):
        """The whole page as a PNG; `options` as the protocol has them."""
        shot = self.ask("Page.captureScreenshot", **{"captureBeyondViewport": True, **options})
        return base64.b64decode(shot["data"])
