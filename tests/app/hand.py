"""A person's mouse and keys on the page's picture, counted."""

from __future__ import annotations

from selenium import webdriver

# Seconds of a person, after Card, Moran and Newell, "The keystroke-level model" (CACM 23, 1980): a
# key, pointing at something, pressing or releasing the button, and thinking once for a correction.
KEY, POINT, PRESS, THINK = 0.28, 1.1, 0.1, 1.35


class Hand:
    """A person's mouse on the picture, in pixels of the image; waits for each answer.

    Counts what the person does: keys, things pointed at, presses and releases, corrections.
    """

    def __init__(self, browser) -> None:
        self.browser = browser
        self.actions = self.keys = self.points = self.presses = 0

    def seconds(self) -> float:
        """What a practised person needs for it, without waiting for the page."""
        hand = self.keys * KEY + self.points * POINT + self.presses * PRESS
        return hand + self.actions * THINK

    def at(self, x: float, y: float):
        """An action chain that has moved to a point."""
        svg = self.browser.find(".bccd-figure svg")
        to = self.browser.driver.execute_script(
            "const p = new DOMPoint(arguments[1], arguments[2])"
            ".matrixTransform(arguments[0].getScreenCTM()), r = arguments[0]"
            ".getBoundingClientRect(); arguments[0].scrollIntoView({block: 'nearest'});"
            "return [p.x - r.x - r.width / 2, p.y - r.y - r.height / 2]", svg, x, y
        )  # fmt: skip
        chain = webdriver.ActionChains(self.browser.driver, duration=20)
        return chain.move_to_element_with_offset(svg, round(to[0]), round(to[1])), svg

    def click(self, x: float, y: float) -> None:
        self.points, self.presses = self.points + 1, self.presses + 2
        self.at(x, y)[0].click().perform()

    def drag(self, points) -> None:
        self.points, self.presses = self.points + len(points), self.presses + 2
        chain, svg = self.at(*points[0])
        chain.click_and_hold()
        scale = svg.rect["width"] / 400
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            chain.move_by_offset(round((x1 - x0) * scale), round((y1 - y0) * scale))
        chain.release().perform()

    def said(self) -> str:
        """What stands beside the tools."""
        return self.browser.driver.execute_script(
            "return document.querySelector('.bccd-state').textContent"
        )

    def key(self, key: str) -> None:
        self.keys += 1
        webdriver.ActionChains(self.browser.driver).send_keys(key).perform()

    def done(self, cells: int, state: str) -> None:
        """The answer has come."""
        self.actions += 1
        self.browser.until(lambda: self.said() == state, f"it does not say {state!r}")
        self.browser.shows("cells", str(cells))
        assert len(self.browser.all(".bccd-cell:not(.off)")) == cells
