"""The page in a real browser: controls, addresses, widths, accessibility, and no complaint."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch

import bnexp
from bnexp.report.page import write_report

TOOLS = Path(__file__).parents[1] / "browser"
SCRIPT = Path(__file__).parents[2] / "bnexp" / "report" / "explorer.js"
needs_tools = pytest.mark.skipif(
    not (TOOLS / "node_modules").is_dir(),
    reason="`npm install --prefix tests/browser` was not run",
)


def foreign(address):
    """The address, in a list, unless it is the page's own."""
    return [] if address.startswith(("file:", "data:")) else [address]


# One experiment and its page serve all of these tests.
pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture
def opened(browser, page):
    """Opens the page; at the end, nothing may have been requested or complained about."""
    contexts, complaints = [], []

    def visit(fragment="", file=page, **options):
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: complaints.extend(foreign(request.url)))
        tab.goto(f"{file.as_uri()}{fragment}")
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def curves(tab, side="left"):
    """The lines of a panel, as drawn."""
    paths = tab.locator(f".side[data-side={side}] .curve").all()
    return [path.get_attribute("d") for path in paths]


def readout(tab, side="left"):
    """What is said below a panel."""
    return tab.locator(f".side[data-side={side}] .readout").inner_text()


def test_the_variants_stand_side_by_side_on_shared_axes(opened):
    """Three lines each, the middle one heavier, and the same numbers at both axes."""
    tab = opened()
    assert [len(curves(tab, side)) for side in ("left", "right")] == [3, 3]
    axes = [
        tab.locator(f".side[data-side={side}] .panel text").all_text_contents()
        for side in ("left", "right")
    ]
    assert axes[0] == axes[1]
    assert any(text.startswith("\u2212") for text in axes[0])  # a minus sign, no hyphen
    assert not any(text.startswith("-") for text in axes[0])
    assert tab.locator(".side h3").all_inner_texts() == ["plain", "normalized"]
    assert "gamma" in readout(tab, "right")
    assert "gamma" not in readout(tab, "left")


def test_a_variant_that_is_alone_stands_there_once(opened, tmp_path):
    """As a model of the user's own: there is no side to choose, and no empty section."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
    with bnexp.record(model, tmp_path / "own", torch.nn.Tanh, variant="mine") as recorder:
        for _ in range(20):
            recorder.step(train_loss=model(torch.ones(5, 3)).mean())
    assert write_report([tmp_path / "own"], tmp_path / "own.html") == []
    tab = opened(file=tmp_path / "own.html")
    assert tab.locator(".side h3").all_inner_texts() == ["mine"]
    visible = [label.inner_text() for label in tab.locator(".controls label:visible").all()]
    assert [text.split()[0] for text in visible] == ["Layer", "Unit", "Colour", "Step"]
    assert "Settings" not in tab.locator("h2").all_inner_texts()


def test_each_control_changes_the_picture(opened):
    """Layer, unit, side, colours and step; by the controls and by the map."""
    tab = opened("#layer=1&unit=3&row=5")
    before = curves(tab)
    tab.locator("[name=unit]").fill("4")
    assert curves(tab) != before
    before = curves(tab)
    tab.locator("[name=layer]").select_option("2")
    assert curves(tab) != before
    assert tab.locator(".side[data-side=left] .map button").count() == 9
    before = curves(tab)
    tab.locator(".side[data-side=right] .map button").nth(7).click()
    assert curves(tab) != before
    assert tab.locator("[name=unit]").input_value() == "7"
    step = readout(tab)
    tab.locator("[name=row]").press("End")
    assert readout(tab).startswith("Step 300")
    assert readout(tab) != step
    shades = tab.locator(".side[data-side=left] .map button").first.get_attribute("style")
    tab.locator("[name=colour]").select_option("width")
    other = tab.locator(".side[data-side=left] .map button").first.get_attribute("style")
    assert other != shades
    tab.locator("[name=left]").select_option("normalized")
    assert tab.locator(".side h3").all_inner_texts() == ["normalized", "normalized"]


def test_arrow_keys_walk_through_the_units(opened):
    """Focus goes with them, and one unit of a map is in the order of the tab key."""
    tab = opened("#layer=1&unit=3")
    buttons = tab.locator(".side[data-side=left] .map button")
    assert tab.locator(".side[data-side=left] .map button[tabindex='0']").count() == 1
    buttons.nth(3).focus()
    tab.keyboard.press("ArrowRight")
    assert tab.locator("[name=unit]").input_value() == "4"
    assert tab.evaluate("document.activeElement.dataset.unit") == "4"


def test_a_click_or_a_touch_on_a_panel_moves_through_training(opened):
    """To the step below the pointer."""
    tab = opened("#row=0", has_touch=True)
    panel = tab.locator(".side[data-side=left] .panel")
    width = panel.bounding_box()["width"]
    panel.click(position={"x": 0.4 * width, "y": 50})
    clicked = readout(tab)
    assert not clicked.startswith("Step 0;")
    panel.tap(position={"x": 0.2 * width, "y": 50})
    assert readout(tab) != clicked


def test_play_goes_through_training_and_stops(opened):
    """Until it is paused; the button says what it does."""
    tab = opened("#row=0")
    play = tab.locator("[name=play]")
    play.click()
    assert play.inner_text() == "Pause"
    tab.wait_for_function("!document.querySelector('.readout').textContent.startsWith('Step 0;')")
    play.click()
    assert play.inner_text() == "Play"
    paused = readout(tab)
    tab.wait_for_timeout(300)
    assert readout(tab) == paused


def test_the_address_holds_the_view_and_restores_it(opened):
    """What one reader sees is what another one gets."""
    tab = opened()
    tab.locator("[name=layer]").select_option("1")
    tab.locator("[name=unit]").fill("5")
    tab.locator("[name=colour]").select_option("width")
    tab.locator("[name=row]").press("Home")
    fragment = tab.evaluate("location.hash")
    again = opened(fragment)
    assert curves(again) == curves(tab)
    assert readout(again) == readout(tab)
    assert again.locator("[name=colour]").input_value() == "width"


@pytest.mark.parametrize(
    "fragment", ["#layer=99&unit=-1", "#unit=1e9&row=zzz&left=nobody", "#%%%", "#unit=999&row=9999"]
)
def test_an_address_that_makes_no_sense_shows_the_nearest_view(opened, fragment):
    """Never an empty panel or an error."""
    tab = opened(fragment)
    assert all(curves(tab))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(opened, scheme):
    """At 360 pixels what is wide scrolls in a place of its own."""
    tab = opened(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_caption_of_a_table_stays_in_sight_where_the_table_scrolls(opened):
    """On a phone, whichever columns are shown."""
    tab = opened(viewport={"width": 360, "height": 740})
    table = tab.locator(".wide").first
    table.evaluate("table => { table.scrollLeft = table.scrollWidth; }")
    assert table.evaluate("table => table.scrollLeft") > 0
    box = table.locator("caption").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


def test_without_javascript_everything_but_the_explorer_is_there(opened):
    """And the page says what is missing."""
    tab = opened(java_script_enabled=False)
    assert tab.locator("table").count() >= 2
    assert tab.locator(".drawing svg").count() >= 1
    assert "needs JavaScript" in tab.locator("noscript").first.inner_text()
    assert not tab.locator(".controls").first.is_visible()


def test_on_paper_the_explorer_is_left_out(opened):
    """It cannot be used there; figures and tables stay."""
    tab = opened()
    tab.emulate_media(media="print")
    assert not tab.locator(".explorer").first.is_visible()
    assert tab.locator("table").first.is_visible()


def test_the_numbers_that_are_shown_are_those_of_the_summary(opened, experiment):
    """As the browser has them, and rounded to what is read."""
    tab = opened()
    summary = json.loads((experiment / "summary.json").read_text())
    numbers = tab.locator("[data-path]").all()
    assert len(numbers) >= 8
    for number in numbers:
        value = summary
        for key in json.loads(number.get_attribute("data-path")):
            value = value[key]
        shown = number.inner_text().split()[0].replace(",", "")
        places = len(shown.partition(".")[2])
        assert float(shown) == pytest.approx(value, abs=0.5001 * 10**-places)


@needs_tools
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_axe_finds_no_serious_violation(opened, width, scheme):
    """Contrast, names, roles and the order of focus, by axe-core.

    Colours follow from the scheme and the arrangement from the width, neither from both.
    """
    tab = opened(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.evaluate((TOOLS / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = tab.evaluate("axe.run()")["violations"]
    serious = [each for each in found if each["impact"] in {"serious", "critical"}]
    assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []


def tool(name, *words, **options):
    """Run a program of node's; what it says, where it is not content."""
    done = subprocess.run(
        [TOOLS / "node_modules" / ".bin" / name, *words],
        cwd=TOOLS,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@needs_tools
def test_the_script_is_formatted_linted_and_typed():
    """By prettier, eslint's recommended rules, and the TypeScript compiler over its comments."""
    style = SCRIPT.with_name("page.css")
    assert tool("prettier", "--print-width", "100", "--check", str(SCRIPT), str(style)) == ""
    source = SCRIPT.read_text()
    assert tool("eslint", "--stdin", "--stdin-filename", SCRIPT.name, input=source) == ""
    options = ["--noEmit", "--checkJs", "--allowJs", "--strict", "--target", "es2022"]
    options.append("--skipLibCheck")  # TypeScript's own declarations are not ours to check
    assert tool("tsc", *options, "--lib", "dom,dom.iterable,es2023", str(SCRIPT)) == ""


def test_the_script_is_small():
    """At most 600 lines, without a framework."""
    source = SCRIPT.read_text()
    assert len(source.splitlines()) <= 600
    assert not re.search(r"\bimport\b.*from|require\(", source)
