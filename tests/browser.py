"""A headless Chromium, driven by its own driver over the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

import base64
import contextlib
import functools
import http.client
import http.server
import io
import json
import shutil
import subprocess
import tempfile
import threading
import time

OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage",
    # WebGL by software.
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
]


def is_there():
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


class Browser:
    """A window."""

    def __init__(self, port):
        self.port = port
        self.session = ""

    def ask(self, method, path, **body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, f"{self.session}{path}", json.dumps(body) if method == "POST" else None, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def open(self, url):
        self.ask("POST", "/url", url=url)

    def run(self, script):
        """What a script returns."""
        return self.ask("POST", "/execute/sync", script=script, args=[])

    def wait(self, script, seconds, what):
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
            time.sleep(0.2)
        return value

    def picture(self):
        """The window as an array of (rows, columns, red green blue)."""
        import numpy as np
        from PIL import Image

        png = base64.b64decode(self.ask("GET", "/screenshot"))
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@contextlib.contextmanager
def browser(width=1200, height=900, *options):
    """A browser with a profile of its own."""
    with tempfile.TemporaryDirectory(prefix="emfs-browser-", ignore_cleanup_errors=True) as profile:
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            line = next(line for line in driver.stdout if "successfully on port" in line)
            window = Browser(int(line.rstrip(".\n").rpartition(" ")[2]))
            threading.Thread(target=driver.stdout.read, daemon=True).start()
            arguments = [*OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}", *options]
            started = window.ask("POST", "/session", capabilities={"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments}}})
            window.session = f"/session/{started['sessionId']}"
            yield window
            window.ask("DELETE", "")
        finally:
            driver.terminate()
            driver.wait(20)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def pages(folder):
    """A server of the files of a folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
