"""Makes the pictures of the web page that README.md and docs/guide.md show: docs/images/page-*.png.

    python scripts/screenshots.py

A server of its own, on a database that is thrown away, is given a project over REST, as four people would
have made it; then Chromium looks at it. The page's clock stands still, so that any two runs make the same
pictures.
"""

from __future__ import annotations

import argparse
import base64
import re
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.support.server import Server, new_id

IMAGES = REPOSITORY / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--lang=en-GB",
]
MOST_BYTES = 150_000
PATIENCE_MS = 15_000
NOW = "2026-05-12T10:00:00Z"
WINDOW = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
TEAM = ("Rosa Alvarez", "Jim Parker", "Mei Lin", "Tom Okafor")

Json = dict[str, Any]

# One node a line: type, name, its status in brackets, then other properties; two spaces indent a level.
PLAN = """
phase Arrival and survey [Complete] target_date=2026-02-14 budget=400
  job Document the truck as it came [Done] area=Not decided hours_planned=6 hours_spent=7
    task Photograph every side and the underbody [Done]
    task Note all numbers and tags [Done]
    task Compression test, cold [Done]
  job Paperwork [Done] hours_planned=3
    record Title
    record Bill of sale
phase Teardown [Complete] target_date=2026-03-21 budget=900
  job Strip the interior [Done] area=Interior due_date=2026-03-06
  job Take off the body panels [Done] area=Body and sheet metal due_date=2026-03-14
  job Pull engine and gearbox [Done] area=Engine due_date=2026-03-20
  finding Hole behind the battery tray [Repaired] severity=Must be repaired
phase Frame and axles [In progress] target_date=2026-05-29 budget=6200
  job Repair the frame [In progress] area=Frame and chassis due_date=2026-05-15 hours_spent=21
    task Sandblast [Done] assigned_to=Tom_Okafor
    task Measure for straightness [Done] assigned_to=Tom_Okafor
    task Weld the crack at the steering box [To be checked] assigned_to=Rosa_Alvarez
    task Box the rear rails [In progress] assigned_to=Tom_Okafor due_date=2026-05-13
    task Prime and paint [To do] due_date=2026-05-15
    part Boxing plates, rear [On the shelf] quantity=2 unit_price=84.5
    part Chassis paint, 4 l [Ordered] quantity=2 unit_price=61
  job Disc brakes in front [Waiting for parts] area=Brakes due_date=2026-05-22 hours_planned=14 estimate=1450
    task Fit the spindles [Done]
    task Set the wheel bearings [Waiting]
    task Run new hard lines [To do]
    part Front disc brake kit [On backorder] quantity=1 unit_price=879 part_number=DBK-6675
    part Master cylinder, dual [On the shelf] quantity=1 unit_price=148
    part Stainless brake lines [Ordered] quantity=1 unit_price=212.4
  job Regear to 4.11 [Waiting for a decision] area=Axles and suspension due_date=2026-05-29
  finding Play in the steering box [Decision needed] severity=Unsafe to drive estimate=640
phase Engine and driveline [In progress] target_date=2026-07-11 budget=9800
  job Rebuild the 289 [At an outside shop] area=Engine due_date=2026-06-12 estimate=3900
    part Piston set, 0.030 over [Fitted] quantity=1 unit_price=389
    part Camshaft and lifters [Out for rebuild] quantity=1 unit_price=274
    finding Stripped thread in the left head [Repair planned] severity=Must be repaired
  job Five-speed gearbox [Ready to start] area=Transmission and driveline due_date=2026-06-26
    part NV3550 adapter kit [Quoted] quantity=1 unit_price=1149
phase Body and paint [Not started] target_date=2026-09-05 budget=11500
  job Weld new floor pans [Not started] area=Body and sheet metal
  job Paint, Caribbean Turquoise [Not started] area=Paint
phase Assembly [Not started] target_date=2026-10-24 budget=3000
phase Shakedown [Not started] target_date=2026-11-14 budget=500
"""

NOTES = """**Take the hoses off both sides** before the calipers go on.

- Spindles are the *1976 Dana 44* ones, not the early ones
- Bearings: pack, then 50 lb ft, back off, 35 in lb

The kit has been on backorder since 3 April.
"""

# Of a picture: its width, its height and its pixels, four bytes each.
PIXELS = """
async address => {
  const picture = await createImageBitmap(await (await fetch(address)).blob());
  const pen = new OffscreenCanvas(picture.width, picture.height).getContext('2d');
  pen.drawImage(picture, 0, 0);
  const { data } = pen.getImageData(0, 0, picture.width, picture.height);
  const reader = new FileReader();
  reader.readAsDataURL(new Blob([data]));
  await new Promise(done => { reader.onload = done; });
  return [picture.width, picture.height, reader.result];
}
"""

LINE = re.compile(
    r"(?P<indent> *)(?P<type>\w+) (?P<name>.+?)(?: \[(?P<status>[^\]]+)\])?(?P<rest>(?: \w+=.+)?)$"
)


class Bronco:
    """The project and the ids of its nodes by name."""

    def __init__(self, server: Server) -> None:
        self.server = server
        made = server.post(
            "/projects", {"template_id": "restomod", "project_name": "1966 Bronco"}, headers=by(0)
        )
        self.session_id: str = made.json()["session_id"]
        self.root: str = made.json()["graph"]["roots"][0]["id"]
        schema = server.ask("/templates/restomod/schema")
        self.types: dict[str, dict[str, Json]] = {
            each["id"]: {prop["id"]: prop for prop in each["properties"]} for each in schema["node_types"]
        }
        self.ids = {"1966 Bronco": self.root}

    def run(self, who: int, command_type: str, /, **data: Any) -> None:
        self.server.execute(self.session_id, command_type, data, actor=TEAM[who], command_id=new_id())

    def value(self, node_type: str, prop: str, text: str) -> Any:
        """What stands for this text: the uuid of the option of this name, a number, or the text."""
        known = self.types[node_type][prop]
        if known["type"] == "select":
            return next(each["uuid"] for each in known["options"] if each["name"] == text)
        return float(text) if known["type"] in ("number", "currency") else text.replace("_", " ")

    def set(self, who: int, name: str, node_type: str, prop: str, text: str) -> None:
        value = self.value(node_type, prop, text)
        self.run(who, "UpdateProperty", node_id=self.ids[name], property_id=prop, value=value)

    def fill(self) -> None:
        for prop, text in {
            "make_model": "Ford Bronco U13", "year": "1966", "goal": "Restomod", "status": "In work",
            "budget": "32000", "target_date": "2026-11-30",
        }.items():  # fmt: skip
            self.set(0, "1966 Bronco", "vehicle", prop, text)
        above = [self.root]
        phase: list[Json] = []
        turn = 0
        for line in PLAN.strip("\n").splitlines():
            found = LINE.match(line)
            assert found, line
            level = len(found["indent"]) // 2
            if level == 0 and len(phase) > 1:
                self.run(turn % 2, "Batch", commands=phase)
                phase, turn = [], turn + 1
            del above[level + 1 :]
            words = re.split(r" (?=\w+=)", found["rest"].strip()) if found["rest"] else []
            texts = dict(each.split("=") for each in words)
            if found["status"]:
                texts["status"] = found["status"]
            made = new_id()
            properties = {prop: self.value(found["type"], prop, text) for prop, text in texts.items()}
            data = {"node_id": made, "parent_id": above[level], "blueprint_type_id": found["type"]}
            phase.append(
                {
                    "command_type": "CreateNode",
                    "data": {**data, "name": found["name"], "properties": properties},
                }
            )
            self.ids[found["name"]] = made
            above.append(made)
        self.run(0, "Batch", commands=phase)
        self.run(
            1, "UpdateProperty", node_id=self.ids["Disc brakes in front"], property_id="notes", value=NOTES
        )
        self.set(2, "Front disc brake kit", "part", "expected_on", "2026-05-20")
        self.run(
            2, "MoveNode", node_id=self.ids["Regear to 4.11"], parent_id=self.ids["Frame and axles"], index=2
        )
        self.set(3, "Box the rear rails", "task", "hours_spent", "5")
        self.run(
            3,
            "CreateNode",
            parent_id=self.ids["Frame and axles"],
            blueprint_type_id="task",
            name="Call the paint shop",
            index=0,
        )
        self.server.try_undo(self.session_id, actor=TEAM[3]).raise_for_status()
        self.set(0, "Weld the crack at the steering box", "task", "checked_by", "Jim_Parker")


def by(who: int) -> dict[str, str]:
    return {"Talus-Actor": TEAM[who]}


class Studio:
    """Opens pages as members of the team, and takes their pictures."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self.browser, self.server = browser, server

    @contextmanager
    def page(self, who: int, path: str, *, dark: bool = False, phone: bool = False) -> Iterator[Page]:
        context = self.browser.new_context(
            viewport=PHONE if phone else WINDOW,
            device_scale_factor=1,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            has_touch=phone,
            is_mobile=phone,
            locale="en-GB",
            timezone_id="UTC",
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(f"localStorage.setItem('talus.name', {TEAM[who]!r})")
        page = context.new_page()
        page.clock.set_fixed_time(NOW)
        page.goto(self.server.url + path)
        if path != "/":
            expect(page.locator(".status-word")).to_have_text("live, all saved")
        yield page
        context.close()

    def take(self, page: Page, name: str) -> None:
        path = IMAGES / f"page-{name}.png"
        page.mouse.move(0, 0)
        path.write_bytes(self.smaller(page.screenshot(animations="disabled")))
        size = path.stat().st_size
        print(f"  {path.relative_to(REPOSITORY)}: {size / 1000:.0f} kB", flush=True)
        if size > MOST_BYTES:
            raise SystemExit(f"screenshots: {path.name} is larger than {MOST_BYTES // 1000} kB")

    def smaller(self, png: bytes) -> bytes:
        """The same picture in two thirds of the bytes: no filters, which do not suit plain grounds."""
        blank = self.browser.new_page()
        address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        width, height, pixels = blank.evaluate(PIXELS, address)
        blank.close()
        rgba = base64.b64decode(pixels.partition(",")[2])
        rgb = bytearray(width * height * 3)
        for channel in range(3):
            rgb[channel::3] = rgba[channel::4]
        lines = b"".join(b"\0" + rgb[at : at + 3 * width] for at in range(0, len(rgb), 3 * width))
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunks = (b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )


def row(page: Page, name: str) -> Locator:
    named = page.locator(".name", has_text=re.compile(f"^{re.escape(name)}$"))
    return page.locator(".row[data-id]").filter(has=named)


def pick(page: Page, name: str) -> None:
    """Selects this node; what was done long ago is folded up."""
    for done in ("Teardown", "Arrival and survey"):
        row(page, done).locator(".twisty").click()
    row(page, name).locator(".name").click()


def run(server: Server, browser: Browser) -> None:
    studio = Studio(browser, server)
    for who, template, name in (
        (3, "workshop-build", "Bench for the long wall"),
        (2, "software-release", "Release 2.4"),
    ):
        server.post("/projects", {"template_id": template, "project_name": name}, headers=by(who))
    bronco = Bronco(server)
    bronco.fill()
    address = f"/s/{bronco.session_id}"

    for name, dark in (("project", False), ("project-dark", True)):
        with studio.page(0, address, dark=dark) as page:
            pick(page, "Disc brakes in front")
            expect(page.get_by_role("region", name="Notes").locator("strong")).to_be_visible()
            studio.take(page, name)

    with studio.page(0, f"{address}?view=history") as page:
        pick(page, "Frame and axles")
        page.locator(".commit", has_text="Call the paint shop").last.click()
        expect(page.get_by_role("button", name="Back to the present")).to_be_visible()
        studio.take(page, "history")

    with studio.page(0, address) as page:
        pick(page, "Disc brakes in front")
        page.get_by_role("button", name="Filter").click()
        page.get_by_role("menu").get_by_text("Part", exact=True).click()
        page.keyboard.press("Escape")
        page.get_by_label("Search names and properties").fill("order")
        expect(page.get_by_text("3 found")).to_be_visible()
        studio.take(page, "filter")

    with (
        studio.page(0, address) as rosa,
        studio.page(1, address) as jim,
        studio.page(2, address) as mei,
        studio.page(0, "/") as start,
    ):
        pick(rosa, "Repair the frame")
        pick(jim, "Disc brakes in front")
        pick(mei, "Box the rear rails")
        expect(rosa.locator(".row-people .avatar")).to_have_count(2)
        start.reload()
        expect(start.get_by_text("3 here")).to_be_visible()
        start.get_by_label("Name", exact=True).focus()
        expect(start.get_by_text("Workshop build")).to_be_visible()
        studio.take(start, "start")
        # The page's clock stands still, so the marks of these changes do not fade.
        bronco.set(1, "Set the wheel bearings", "task", "status", "In progress")
        bronco.set(2, "Boxing plates, rear", "part", "status", "Fitted")
        expect(rosa.locator(".row.marked")).to_have_count(2)
        studio.take(rosa, "together")

    with studio.page(0, address, phone=True) as page:
        pick(page, "Disc brakes in front")
        studio.take(page, "narrow")


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        expect.set_options(timeout=PATIENCE_MS)
        try:
            run(server.start(), browser)
        finally:
            browser.close()
            if server.running:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
