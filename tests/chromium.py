"""A headless Chromium that tests drive over its DevTools pipe; no driver, no package."""

import base64
import fcntl
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--hide-scrollbars", "--disable-component-update", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
)


def chromium() -> str | None:
    """The browser's program, None if there is none: $GROKTIMIZER_CHROMIUM or one of `NAMES`."""
    return os.environ.get("GROKTIMIZER_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page. Every request that it makes is in `requests`, every uncaught error and console message in `errors`."""

    def __init__(self, program: str) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        words = [program, *SWITCHES, f"--user-data-dir={self._folder.name}", "about:blank"]
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]  # clear of 3 and 4
        quiet = [(os.POSIX_SPAWN_OPEN, end, os.devnull, os.O_RDWR, 0) for end in (1, 2)]
        pipes = [(os.POSIX_SPAWN_DUP2, end, k + 3) for k, end in enumerate(high)]  # where it reads and answers
        self._process = os.posix_spawn(program, words, os.environ, file_actions=[*quiet, *pipes])
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self._input, self._output, self._rest, self._count = ours_in, ours_out, b"", 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._session: str | None = None
        target = next(t for t in self.do("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._output, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer}"
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._input, 1 << 20)
            assert piece, "the browser has gone"
            self._rest += piece
        first, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(first)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, parameters: Mapping[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        if method == "Runtime.exceptionThrown":
            self.errors.append(parameters["exceptionDetails"].get("exception", {}).get("description", "error"))
        if method == "Log.entryAdded":
            self.errors.append(parameters["entry"]["text"])

    def window(self, width: int, height: int, theme: str = "light") -> None:
        """Set the size of the view and the colours that the system asks for."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.do("Emulation.setDeviceMetricsOverride", **size)
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def open(self, page: Path) -> None:
        """Open a file and wait until it has run."""
        self.visit(page.resolve().as_uri())

    def visit(self, url: str) -> None:
        """Open an address and wait until it has run."""
        self.requests.clear()
        self.errors.clear()
        self.do("Page.navigate", url=url)
        waited = "new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        self.run(f"location.href === {json.dumps(url)} && {waited}")

    def run(self, code: str) -> Any:
        """The value of an expression, awaited."""
        given = {"expression": code, "awaitPromise": True, "returnByValue": True}
        answer = self.do("Runtime.evaluate", **given)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"].get("exception", answer)
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press a key and let it go."""
        for kind in ("rawKeyDown", "keyUp"):
            self.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, path: Path, whole: bool = False) -> Path:
        """Save a picture of the view, or of the whole page."""
        data = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    def close(self) -> None:
        """End the browser."""
        os.close(self._output)
        os.close(self._input)
        deadline = time.monotonic() + 10
        while os.waitpid(self._process, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(self._process, signal.SIGKILL)
                deadline = math.inf
            time.sleep(0.02)
        self._folder.cleanup()


if __name__ == "__main__":  # a picture of a page: uv run python tests/chromium.py PAGE.html PICTURE.png
    program = chromium()
    assert program is not None, "no Chromium"
    shot = Browser(program)
    shot.window(1280, 1010)
    shot.open(Path(sys.argv[1]))
    shot.run("new Promise((done) => setTimeout(done, 1500))")
    shot.picture(Path(sys.argv[2]))
    shot.close()
