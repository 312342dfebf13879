"""Headless Chromium for the tests of the page; skips where there is none."""

import json
import shutil
import time
from pathlib import Path
from typing import Callable, List

import pytest

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
)


def start_chromium(profile: Path):
    """A driver with an empty profile in ``profile``."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs chromium and chromedriver, e.g. apt-get install chromium-driver")
    options = Options()
    options.binary_location = browser
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument("--user-data-dir=%s" % profile)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


class Browser:
    """What a person does with the page.

    Attributes:
        driver: Selenium's.
    """

    def __init__(self, driver):
        self.driver = driver

    def resize(self, width: int, height: int, phone: bool = False, dark: bool = False) -> None:
        command = self.driver.execute_cdp_cmd
        scale = 2 if phone else 1
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
        command("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        command("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, url: str, wait_for: str = "Connected") -> None:
        self.driver.get(url)
        if wait_for:
            self.until(lambda: self.text("link") == wait_for)

    def until(self, wanted: Callable[[], object], timeout_s: float = 30.0):
        """What ``wanted`` gives once it is true."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            found = wanted()
            if found:
                return found
            if time.monotonic() > deadline_s:
                raise AssertionError(
                    "waited in vain; the page says: %s" % self.js("return document.body.innerText")
                )
            time.sleep(0.02)

    def js(self, code: str, *arguments):
        return self.driver.execute_script(code, *arguments)

    def find(self, name: str):
        return self.driver.find_element("id", name)

    def text(self, name: str) -> str:
        return self.js("return document.getElementById(arguments[0]).textContent", name)

    def shown(self, name: str) -> bool:
        return self.find(name).is_displayed()

    def enabled(self, name: str) -> bool:
        return self.find(name).is_enabled()

    def click(self, name: str) -> None:
        self.until(lambda: self.shown(name) and self.enabled(name))
        self.find(name).click()

    def keys(self, *keys: str) -> None:
        """To whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def click_frame(self, x: float, y: float, width: float, height: float) -> None:
        """Click on the picture where the frame's pixel (x, y) is shown."""
        from selenium.webdriver.common.action_chains import ActionChains

        self.js("document.getElementById('stage').scrollIntoView({block: 'center'})")
        place = self.js(
            "const p = document.getElementById('stage').getBoundingClientRect();"
            "return [p.left, p.top, p.width, p.height]"
        )
        actions = ActionChains(self.driver)
        actions.w3c_actions.pointer_action.move_to_location(
            round(place[0] + x / width * place[2]), round(place[1] + y / height * place[3])
        )
        actions.w3c_actions.pointer_action.click()
        actions.perform()

    def console(self) -> List[str]:
        """Everything at level warning and above since the last call."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] not in ("INFO", "DEBUG", "FINE")
        ]

    def requests(self) -> List[str]:
        """Addresses of all requests and WebSockets since the last call."""
        urls = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
            elif message["method"] == "Network.webSocketCreated":
                urls.append(message["params"]["url"])
        return urls
