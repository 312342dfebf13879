"""The page in headless Chromium: what a person sees, presses, and can rely on."""

import os
import time
from pathlib import Path

import pytest

from follow_robot.dashboard.server import DashboardServer
from follow_robot.dashboard.settings import DashboardSettings
from tests.follow_robot.dashboard.browser import Browser, start_chromium
from tests.follow_robot.dashboard.fake_app import FakeApp, draw

DESKTOP, PHONE = (1280, 800), (360, 740)
SPACE, ESCAPE, ENTER, RIGHT = " ", "\ue00c", "\ue007", "\ue014"
TOKEN = "a token of the test's own"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver):
    """On an empty page, at desktop size, with nothing in its logs."""
    driver.get("about:blank")
    browser = Browser(driver)
    browser.resize(*DESKTOP)
    browser.console(), browser.requests()
    return browser


@pytest.fixture
def app():
    app = FakeApp(draw())
    yield app
    app.close()


@pytest.fixture
def server(app):
    with DashboardServer(app.hub, DashboardSettings(port=0)) as server:
        yield server


def middle(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def lock_on(browser, app, track=3):
    browser.until(lambda: "person %d" % track in button_texts(browser))
    browser.click_frame(*middle(app.people()[track]), 640, 480)
    browser.until(lambda: "target %d" % track in button_texts(browser))


def button_texts(browser):
    return [
        t.lower()
        for t in browser.js(
            "return [...document.querySelectorAll('#people button')].map(b => b.textContent)"
        )
    ]


# -- seeing --------------------------------------------------------------------------------------


def test_the_page_shows_the_frame_and_everything_said_about_it(browser, app, server):
    app.status = {"warnings": ["The camera is dark."]}
    browser.open(server.url)
    browser.until(lambda: browser.text("title") == "Hold")
    image = app.hub.newest().image
    spots = [(110, 220), (600, 60)]  # a person's coat, and the wall
    pixels = browser.js(
        """const copy = document.createElement('canvas');
        [copy.width, copy.height] = [640, 480];
        const pen = copy.getContext('2d', { willReadFrequently: true });
        pen.drawImage(document.getElementById('video'), 0, 0);
        return arguments[0].map(([x, y]) => [...pen.getImageData(x, y, 1, 1).data])""",
        spots,
    )
    for (x, y), (red, green, blue, _) in zip(spots, pixels):
        assert [blue, green, red] == pytest.approx(image[y, x].tolist(), abs=12)
    assert browser.text("battery") == "11.9 V" and browser.text("fps") == "14.8 /s"
    assert button_texts(browser) == ["person 3", "person 5", "person 8"]
    assert "The camera is dark." in browser.text("reasons")
    assert "on hold" in browser.text("reasons")
    assert "running, 20 Hz" in browser.text("parts") and "✗ off" in browser.text("parts")
    assert "detect31.0 ms" in browser.text("stages") and browser.text("total") == "46.3 ms"
    lock_on(browser, app)
    browser.until(lambda: browser.text("similarity") == "0.74")
    assert browser.text("distance") == "1.80 m"
    assert browser.console() == []


def test_a_similarity_stays_for_a_second_as_not_every_frame_is_compared(browser, app, server):
    box = app.people()[3]
    lock = {"state": "locked", "track": 3, "box": box, "similarity": 0.61, "margin": 0.2}
    app.status = {"lock": lock}
    browser.open(server.url)
    browser.until(lambda: browser.text("similarity") == "0.61")
    app.status = {"lock": {**lock, "similarity": None, "margin": None}}
    before_s = app.hub.newest().frame_time_s
    browser.until(lambda: browser.text("similarity") == "–")
    assert app.hub.newest().frame_time_s - before_s > 0.5


def test_the_target_is_marked_by_more_than_colour(browser, app, server):
    """Without any colour it still differs: by heavy corners, and by a word above the box."""
    browser.open(server.url)
    left, top = app.people()[3][:2]
    corner = [left - 4, top - 4, 20, 20]
    above = [left + 30, top - 20, 60, 12]  # beside the number that everybody has
    read = """const boxes = document.getElementById('boxes'), scale = boxes.width / 640;
        const copy = document.createElement('canvas');
        [copy.width, copy.height] = [boxes.width, boxes.height];
        const pen = copy.getContext('2d', { willReadFrequently: true });
        pen.drawImage(boxes, 0, 0);
        return arguments[0].map((place) => {
          const { data } = pen.getImageData(...place.map((v) => Math.round(v * scale)));
          let drawn = 0;
          for (let i = 3; i < data.length; i += 4) drawn += data[i] > 0;
          return drawn / (data.length / 4);
        })"""

    def drawn():  # share of the two places that anything is drawn on
        return browser.js(read, [corner, above])

    browser.until(lambda: drawn()[0] > 0.1)
    before = drawn()
    assert before[1] == 0
    lock_on(browser, app)
    browser.until(lambda: drawn()[0] > 1.3 * before[0] and drawn()[1] > 0.9)


def test_a_picture_that_stands_still_is_said_and_veiled(browser, app, server):
    browser.open(server.url)
    browser.until(lambda: browser.text("title") == "Hold")
    app.paused.set()
    browser.until(lambda: browser.text("title") == "Picture stands still")
    assert "s old" in browser.text("veil") and browser.shown("veil")
    app.paused.clear()
    browser.until(lambda: browser.text("title") == "Hold" and not browser.shown("veil"))


def test_a_page_that_is_slow_says_how_old_its_picture_is(browser, app, server):
    browser.open(server.url)
    browser.until(lambda: browser.text("title") == "Hold")
    browser.js(
        """const real = window.createImageBitmap;
        window.createImageBitmap = async (blob) => {
          await new Promise((done) => setTimeout(done, 3000));
          return real(blob);
        }"""
    )
    browser.until(lambda: browser.text("title") == "Picture stands still")
    seconds = float(browser.text("age").split()[0])
    assert 1 <= seconds < 60 and not app.paused.is_set()


@pytest.mark.parametrize(
    "status, tone, title",
    [
        ({"mode": "go", "lock": {"state": "locked", "track": 3}}, "go", "Following person 3"),
        ({"mode": "go", "lock": {"state": "enrolling"}}, "hold", "Learning the person"),
        ({"mode": "go", "lock": {"state": "occluded"}}, "warn", "Target hidden"),
        ({"mode": "go", "lock": {"state": "searching"}}, "warn", "Looking for the target"),
        ({"mode": "go", "lock": {"state": "lost"}}, "warn", "Target lost"),
        ({"mode": "go", "lock": {"state": "idle"}}, "warn", "Nobody chosen"),
        ({"mode": "hold", "lock": {"state": "locked", "track": 3}}, "hold", "Hold"),
        ({"stop": {"pressed": True, "reasons": ["joystick"]}}, "stop", "Stopped"),
        ({"people": None, "lock": None, "took_ms": None, "target": None}, "hold", "Hold"),
    ],
)
def test_every_state_has_its_words_and_its_sign(browser, app, server, status, tone, title):
    app.status = status
    browser.open(server.url)
    browser.until(lambda: browser.text("title") == title)
    assert browser.js("return document.getElementById('state').dataset.tone") == tone
    assert browser.js("return document.getElementById('state-shape').getAttribute('href')") == (
        "#shape-" + tone
    )
    assert browser.driver.title == title + " · follow-robot"
    assert browser.console() == []


# -- choosing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size, phone", [(DESKTOP, False), (PHONE, True)])
@pytest.mark.parametrize("height, width", [(480, 640), (960, 1280)])
def test_a_click_on_a_person_chooses_its_box_in_pixels_of_the_frame(
    browser, size, phone, height, width
):
    app = FakeApp(draw(height, width))
    try:
        with DashboardServer(app.hub, DashboardSettings(port=0)) as server:
            browser.resize(*size, phone=phone)
            browser.open(server.url)
            browser.until(lambda: "person 5" in button_texts(browser))
            x, y = middle(app.people()[5])
            browser.click_frame(x, y, width, height)
            intent = app.wait_for("choose")
            assert intent.track == 5 and intent.box == pytest.approx(app.people()[5], abs=1e-3)
            # A pixel of the screen is up to four of the frame.
            assert intent.point == pytest.approx((x, y), abs=4)
            assert browser.js("return document.getElementById('video').width") == 640
    finally:
        app.close()


def test_where_boxes_overlap_the_smaller_is_meant_and_a_near_miss_counts(browser, app, server):
    browser.open(server.url)
    browser.until(lambda: len(button_texts(browser)) == 3)
    browser.click_frame(365, 300, 640, 480)  # in the boxes of 5 and of 8
    assert app.wait_for("choose").track == 8
    browser.click_frame(60, 200, 640, 480)  # ten pixels left of 3
    browser.until(lambda: app.wait_for("choose", 1) and len(app.intents) >= 2)
    assert app.intents[-1].track == 3


def test_a_click_on_nobody_says_so_and_wishes_nothing(browser, app, server):
    browser.open(server.url)
    browser.until(lambda: len(button_texts(browser)) == 3)
    browser.click_frame(560, 40, 640, 480)
    browser.until(lambda: "nobody" in browser.text("notice"))
    assert app.intents == []


def test_people_are_chosen_by_keyboard_and_keep_the_focus(browser, app, server):
    browser.open(server.url)
    browser.until(lambda: len(button_texts(browser)) == 3)
    browser.js("document.querySelectorAll('#people button')[1].focus()")
    time.sleep(0.4)  # several pictures later
    browser.keys(ENTER)
    assert app.wait_for("choose").track == 5
    browser.until(lambda: "target 5" in button_texts(browser))
    assert browser.js("return document.activeElement.textContent") == "Target 5"


def test_another_target_while_the_car_follows_takes_a_second_step(browser, app, server):
    browser.open(server.url)
    lock_on(browser, app)
    browser.click("go")
    browser.until(lambda: browser.text("title") == "Following person 3")
    browser.click_frame(*middle(app.people()[5]), 640, 480)
    browser.until(lambda: browser.shown("confirm"))
    assert "person 5 instead of person 3" in browser.text("question")
    assert [i.track for i in app.intents if i.kind == "choose"] == [3]
    browser.click("yes")
    assert app.wait_for("choose", 2).track == 5


def test_the_buttons_wish_what_they_say(browser, app, server):
    browser.open(server.url)
    browser.until(lambda: browser.text("title") == "Hold")
    for name, kind in (
        ("front", "choose_front"),
        ("go", "go"),
        ("hold", "hold"),
        ("release", "release"),
    ):
        browser.click(name)
        app.wait_for(kind)
        if name in ("go", "hold"):
            browser.until(lambda: browser.find(name).get_attribute("aria-pressed") == "true")  # noqa: B023
    assert [i.kind for i in app.intents] == ["choose_front", "go", "hold", "release"]
    assert browser.text("control") == "You control"


def test_a_slider_sets_its_parameter_within_the_limits(browser, app, server):
    browser.open(server.url)
    browser.until(lambda: browser.js("return !!document.getElementById('set-distance_m')"))
    output = "return document.querySelector('#set-distance_m').parentElement.innerText"
    assert "1.5 m" in browser.js(output)
    browser.until(lambda: browser.enabled("set-distance_m"))
    browser.js("document.getElementById('set-distance_m').focus()")
    browser.keys(RIGHT)
    assert app.wait_for("set").values == pytest.approx({"distance_m": 1.6})
    browser.until(lambda: "1.6 m" in browser.js(output))
    ends = "const s = document.getElementById('set-speed_mps'); return [s.min, s.max]"
    assert browser.js(ends) == ["0", "0.5"]
    # What the car has in force is shown, whoever set it.
    app.status = {"parameters": {"distance_m": 2.4, "speed_mps": 0.3}}
    browser.until(lambda: "2.4 m" in browser.js(output))


# -- stopping ------------------------------------------------------------------------------------


def test_stop_is_pressed_at_once_and_shown(browser, app, server):
    browser.open(server.url)
    browser.until(lambda: browser.text("title") == "Hold")
    app.paused.set()  # the application's next frame never comes
    browser.find("stop").click()
    assert app.stopped.wait(20)
    assert app.pressed_in[0] == "dashboard" and app.pressed == ["STOP pressed by page 1"]
    browser.until(lambda: browser.text("title") == "STOP sent")
    app.paused.clear()
    browser.until(lambda: browser.text("title") == "Stopped")
    assert "STOP pressed by page 1" in browser.text("detail")
    assert "STOP pressed by page 1" in browser.text("events")
    assert browser.text("alert") == "Stopped"
    assert not browser.shown("go") and browser.shown("rearm") and browser.shown("stop")
    assert len(app.pressed) == 1, "a press is one STOP, though it is a touch and a click"


def test_stop_goes_when_the_finger_comes_down(browser, app, server):
    from selenium.webdriver.common.action_chains import ActionChains

    browser.open(server.url)
    actions = ActionChains(browser.driver).click_and_hold(browser.find("stop"))
    actions.perform()
    assert app.stopped.wait(20)
    ActionChains(browser.driver).release().perform()


@pytest.mark.parametrize("key", [SPACE, ESCAPE])
@pytest.mark.parametrize("focus", ["", "go", "set-distance_m", "yes"])
def test_space_and_escape_are_stop_wherever_the_focus_is(browser, app, server, key, focus):
    browser.open(server.url)
    lock_on(browser, app)
    if focus == "yes":  # while the page asks something
        browser.click("go")
        browser.until(lambda: browser.text("title") == "Following person 3")
        browser.click_frame(*middle(app.people()[5]), 640, 480)
        browser.until(lambda: browser.shown("confirm"))
    if focus:
        browser.until(lambda: browser.enabled(focus))
        browser.js("document.getElementById(arguments[0]).focus()", focus)
    goes = len([i for i in app.intents if i.kind == "go"])
    browser.keys(key)
    assert app.stopped.wait(20)
    browser.until(lambda: browser.text("title") == "Stopped")
    assert not browser.shown("confirm")
    assert len([i for i in app.intents if i.kind == "go"]) == goes
    assert len([i for i in app.intents if i.kind == "choose"]) == 1


def test_stop_by_enter_for_who_uses_the_keyboard_or_a_screen_reader(browser, app, server):
    browser.open(server.url)
    browser.js("document.getElementById('stop').focus()")
    browser.keys(ENTER)
    assert app.stopped.wait(20)


def test_rearming_takes_a_second_step_and_leaves_the_car_on_hold(browser, app, server):
    browser.open(server.url)
    lock_on(browser, app)
    browser.click("go")
    app.wait_for("go")
    browser.find("stop").click()
    browser.until(lambda: browser.text("title") == "Stopped")
    browser.click("rearm")
    browser.until(lambda: browser.shown("confirm"))
    assert browser.js("return document.activeElement.id") == "no", "Enter must not re-arm"
    assert browser.shown("stop") and app.pressed, "STOP stays in reach"
    browser.click("no")
    assert not browser.shown("confirm") and app.pressed
    browser.click("rearm")
    browser.click("yes")
    app.wait_for("rearm")
    browser.until(lambda: browser.text("title") == "Hold")
    assert not app.pressed and browser.shown("go")
    assert [i.kind for i in app.intents].count("go") == 1


# -- several pages -------------------------------------------------------------------------------


def test_a_second_page_observes_may_stop_and_takes_over_on_purpose(browser, app, server):
    browser.open(server.url)
    browser.click("hold")
    app.wait_for("hold")
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("window")
    second = browser.driver.current_window_handle
    try:
        browser.open(server.url)
        browser.until(lambda: browser.text("control") == "Observing: page 1 controls")
        for name in ("go", "hold", "front", "release", "set-distance_m"):
            assert not browser.enabled(name), name
        browser.click_frame(*middle(app.people()[3]), 640, 480)
        browser.until(lambda: "observing" in browser.text("notice"))
        browser.find("stop").click()
        browser.until(lambda: browser.text("title") == "Stopped")
        assert app.pressed == ["STOP pressed by page 2"]
        browser.click("take")
        browser.until(lambda: browser.text("control") == "You control")
        browser.driver.switch_to.window(first)
        browser.until(lambda: browser.text("control") == "Observing: page 2 controls")
        assert not browser.enabled("rearm") and browser.shown("take")
    finally:
        browser.driver.switch_to.window(second)
        browser.driver.close()
        browser.driver.switch_to.window(first)
    browser.until(lambda: browser.text("control") == "Nobody controls")
    assert [i.kind for i in app.intents] == ["hold", "stop"], "a page that goes moves nothing"


# -- connection ----------------------------------------------------------------------------------


def test_a_lost_connection_is_said_and_mended_and_stop_is_sent_then(browser, app, server):
    browser.open(server.url)
    browser.until(lambda: browser.text("title") == "Hold")
    assert browser.console() == []
    server.close()
    browser.until(lambda: browser.text("title") == "No connection")
    assert browser.shown("veil") and not browser.enabled("go") and not browser.enabled("hold")
    assert "switch" in browser.text("detail")
    assert app.intents == [], "a connection that goes moves nothing"
    browser.find("stop").click()
    browser.until(lambda: "STOP has not reached the car" in browser.text("detail"))
    # Chromium itself notes each attempt to reach the server.
    assert all(
        "ERR_CONNECTION_REFUSED" in line or "WebSocket" in line for line in browser.console()
    )
    with DashboardServer(app.hub, DashboardSettings(port=server.port)):
        browser.until(lambda: browser.text("link") == "Connected")
        assert app.stopped.wait(20)
        browser.until(lambda: browser.text("title") == "Stopped")
        browser.until(lambda: not browser.shown("veil"))


def test_the_token_in_the_address_opens_the_page_and_leaves_the_address(browser, app):
    browser.driver.delete_all_cookies()
    with DashboardServer(app.hub, DashboardSettings(port=0, token=TOKEN)) as server:
        browser.open(server.url)
        browser.until(lambda: browser.text("title") == "Hold")
        assert browser.js("return location.href") == "http://127.0.0.1:%d/" % server.port
        assert browser.js("return document.cookie") == ""
        browser.driver.refresh()
        browser.until(lambda: browser.text("link") == "Connected")
        assert TOKEN.replace(" ", "%20") not in " ".join(browser.requests())


def test_without_the_token_the_page_asks_for_it(browser, app):
    browser.driver.delete_all_cookies()
    with DashboardServer(app.hub, DashboardSettings(port=0, token=TOKEN)) as server:
        browser.open("http://127.0.0.1:%d/" % server.port, wait_for="Locked")
        assert browser.text("title") == "Token needed" and browser.shown("login")
        assert not browser.shown("stop"), "a button that cannot work is not shown"
        browser.find("token").send_keys("wrong token", ENTER)
        browser.until(lambda: "not the token" in browser.text("login-error"))
        browser.find("token").clear()
        browser.find("token").send_keys(TOKEN, ENTER)  # its spaces are typed, they stop nothing
        browser.until(lambda: browser.text("link") == "Connected")
        assert browser.shown("stop") and not browser.shown("login") and not app.stopped.is_set()


def test_the_page_asks_nobody_else_for_anything_and_complains_of_nothing(browser, app, server):
    browser.open(server.url)
    lock_on(browser, app)
    browser.click("go")
    browser.find("stop").click()
    browser.until(lambda: browser.text("title") == "Stopped")
    urls = [u for u in browser.requests() if not u.startswith(("about:", "data:"))]
    own = "//127.0.0.1:%d/" % server.port
    assert urls and all(u.partition(":")[2].startswith(own) for u in urls), urls
    assert {u.partition(own)[2] for u in urls} >= {"", "static/app.js", "static/style.css"}
    assert browser.console() == []
    # What the policy forbids, the browser refuses: another host, and code in the page.
    refused = browser.driver.execute_async_script(
        """const done = arguments[0];
        fetch('http://127.0.0.2:9/').then(() => done('came'), () => {
          const code = document.createElement('script');
          code.textContent = 'window.ran = true';
          document.body.append(code);
          done(window.ran ? 'ran' : 'refused');
        })"""
    )
    assert refused == "refused"
    assert len([m for m in browser.console() if "Content Security Policy" in m]) >= 2


# -- on every screen -----------------------------------------------------------------------------

SCREENS = [(1280, 800, False), (1000, 500, False), (360, 740, True), (740, 360, True)]


@pytest.mark.parametrize("width, height, phone", SCREENS)
def test_stop_is_in_reach_wherever_one_scrolls_and_nothing_is_too_small(
    browser, app, server, width, height, phone
):
    browser.resize(width, height, phone=phone)
    browser.open(server.url)
    lock_on(browser, app)
    for share in (0, 0.5, 1):
        browser.js("scrollTo(0, arguments[0] * document.documentElement.scrollHeight)", share)
        in_reach, place = browser.js(
            """const stop = document.getElementById('stop'), p = stop.getBoundingClientRect();
            const hits = [0.1, 0.5, 0.9].every((s) => stop.contains(
              document.elementFromPoint(p.left + s * p.width, p.top + s * p.height)));
            return [hits, [p.left, p.top, p.right, p.bottom]]"""
        )
        assert in_reach, (share, place)
        assert place[0] >= 0 and place[1] >= 0 and place[2] <= width and place[3] <= height
        assert place[3] - place[1] >= 64
    if phone and height > width:
        assert place[1] > 0.8 * height, "under the thumb"
        assert place[2] - place[0] > 0.9 * width
    assert browser.js("return document.documentElement.scrollWidth") <= width
    small = browser.js(
        """return [...document.querySelectorAll('button, input')]
        .map((e) => [e.id || e.textContent, e.getBoundingClientRect()])
        .filter(([, p]) => p.width > 0 && (p.width < 44 || p.height < 44)).map(([n]) => n)"""
    )
    assert small == []
    unnamed = browser.js(
        """return [...document.querySelectorAll('button, input')]
        .filter((e) => !(e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"""
    )
    assert unnamed == []


CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const part = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const paper = (e) => {
  for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c;
  }
  return [255, 255, 255];
};
return arguments[0].map((selector) => {
  const e = document.querySelector(selector);
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(paper(e))].sort((x, y) => y - x);
  return [selector, (a + 0.05) / (b + 0.05)];
});"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("tone", ["go", "hold", "warn", "stop", "off"])
def test_text_stands_out_in_light_and_dark(browser, app, server, dark, tone):
    """WCAG 2.1, 1.4.3: 4.5 to 1 (its formula for relative luminance)."""
    browser.resize(*DESKTOP, dark=dark)
    browser.open(server.url)
    lock_on(browser, app)
    browser.js("document.getElementById('state').dataset.tone = arguments[0]", tone)
    selectors = ["#title", "#detail", "#stop", "#hold", "#go", "#front", ".facts dt", ".facts dd"]
    selectors += ["#people button", "#people-hint", "figcaption span", ".parameter output"]
    selectors += [".parts dt", ".parts dd", ".stages dt", ".chip", "#reasons"]
    for selector, ratio in browser.js(CONTRAST, selectors):
        assert ratio >= 4.5, selector


@pytest.mark.parametrize("name, size, phone", [("desktop", DESKTOP, False), ("phone", PHONE, True)])
@pytest.mark.parametrize("dark", [False, True])
def test_screenshots_for_people_to_look_at(browser, app, server, tmp_path, name, size, phone, dark):
    """Into the folder $REID_EDGE_SHOTS where it is set."""
    folder = Path(os.environ.get("REID_EDGE_SHOTS", tmp_path))
    browser.resize(*size, phone=phone, dark=dark)
    browser.open(server.url)
    lock_on(browser, app)
    browser.click("go")
    browser.until(lambda: browser.text("title") == "Following person 3")
    browser.js("scrollTo(0, 0)")
    path = folder / ("dashboard-%s-%s.png" % (name, "dark" if dark else "light"))
    assert browser.driver.save_screenshot(str(path)) and path.stat().st_size > 10000
