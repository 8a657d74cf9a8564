"""The report as a person meets it: in a browser that is really there."""

import pytest

from hypercover.maps.report import write_report


@pytest.fixture
def page(browser, run_folder):
    browser.open(write_report(run_folder))
    return browser


def test_nothing_fails_and_no_request_leaves_the_page(page):
    errors = [
        one for one in page.params("Log.entryAdded") if one["entry"]["level"] == "error"
    ]
    assert errors == []
    assert page.params("Runtime.exceptionThrown") == []
    assert page.params("Runtime.consoleAPICalled") == []
    addresses = [one["request"]["url"] for one in page.params("Network.requestWillBeSent")]
    assert addresses
    own = page.value("location.href")
    assert [one for one in addresses if one != own and not one.startswith("data:")] == []


def test_every_picture_is_there(page):
    missing = page.value(
        "[...document.images].filter(i => !i.closest('dialog') && !i.naturalWidth).length"
    )
    assert missing == 0
    assert page.value("document.images.length") > 10


def test_hostile_names_are_text(page):
    assert page.value("window.hacked === undefined")
    assert page.value("document.querySelectorAll('script').length") == 1
    assert "window.hacked=1" in page.value("document.body.innerText")


@pytest.mark.parametrize("width", [320, 400, 800])
def test_narrow_screens_need_no_sideways_scrolling(browser, run_folder, width):
    browser.open(write_report(run_folder), width=width)
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_classes_sort_by_number_with_gaps_last_and_by_name(page):
    names = "[...document.querySelectorAll('.sortable tbody tr')].map(r => r.cells[0].innerText)"
    click = "document.querySelectorAll('.sortable thead tr:last-child button')[{}].click()"
    page.value(click.format(4))
    assert page.value(names) == ["4", "1", "9"]
    page.value(click.format(4))
    assert page.value(names) == ["1", "4", "9"]
    assert page.value("document.querySelector('[aria-sort]').ariaSort") == "descending"
    page.value(click.format(0))
    assert page.value(names) == ["1", "4", "9"]


def test_viewer_lays_one_picture_over_the_scene_and_reads_it(page):
    assert page.value("document.querySelector('.viewer').hidden") is False
    shown = "[...document.querySelectorAll('.over')].filter(i => !i.hidden).map(i => i.alt)"
    assert page.value(shown) == ["Layer: map: cnn"]
    page.value(
        "(s => { s.value = 0; s.dispatchEvent(new Event('change')); })"
        "(document.querySelector('.viewer select'))"
    )
    assert page.value(shown) == ["Layer: labels"]
    # Row 5 of 40 and column 20 of 53 are labelled corn.
    page.value(
        "(s => { const b = s.getBoundingClientRect(); s.dispatchEvent(new PointerEvent("
        "'pointermove', {clientX: b.left + b.width * 20.5 / 53, "
        "clientY: b.top + b.height * 5.5 / 40})); })(document.querySelector('.stack'))"
    )
    assert page.value("document.querySelector('.here').textContent") == "Corn"


def test_layers_lie_exactly_over_each_other(page):
    places = page.value(
        "[...document.querySelectorAll('.stack .cut')].map(i => { i.hidden = false;"
        "const b = i.getBoundingClientRect(), s = i.style, n = k => "
        "Number(s.getPropertyValue(k));"
        "return [b.left + n('--left') * b.width, b.top + n('--top') * b.height,"
        "n('--wide') * b.width, n('--high') * b.height]; })"
    )
    assert len(places) > 8
    for place in places:
        assert place == pytest.approx(places[0], abs=0.6)


def test_pictures_enlarge_and_close(page):
    page.value("document.querySelector('.zoom').click()")
    assert page.value("document.getElementById('enlarged').open")
    assert page.value("document.querySelector('dialog img').naturalWidth > 0")
    page.value("document.querySelector('dialog img').click()")
    assert not page.value("document.getElementById('enlarged').open")


def test_keyboard_reaches_every_picture_and_every_wide_table(page):
    unreachable = page.value(
        "[...document.querySelectorAll('.zoom, .scroll')].filter(e => e.tabIndex < 0).length"
    )
    assert unreachable == 0
    unnamed = "[...document.querySelectorAll('button, [role=region]')]"
    unnamed += ".filter(e => !(e.ariaLabel || e.innerText).trim()).length"
    assert page.value(unnamed) == 0


def test_dark_screens_get_light_text_on_a_dark_page(browser, run_folder):
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser.ask("Emulation.setEmulatedMedia", features=[dark])
    browser.open(write_report(run_folder))
    lightness = "(c => c.match(/[0-9]+/g).slice(0, 3).reduce((a, b) => a + +b, 0))"
    style = "getComputedStyle(document.body)"
    page, ink = (
        browser.value(f"{lightness}({style}.{one})") for one in ("backgroundColor", "color")
    )
    browser.ask("Emulation.setEmulatedMedia", features=[])
    assert page < 120
    assert ink > 600


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_shade_of_a_table_leaves_its_figures_readable(browser, run_folder, scheme):
    chosen = {"name": "prefers-color-scheme", "value": scheme}
    browser.ask("Emulation.setEmulatedMedia", features=[chosen])
    browser.open(write_report(run_folder))
    found = browser.value("""(() => {
      const parts = c => c.match(/[0-9.]+/g).map(Number);
      const light = c => c.map(v => v / 255).map(
        v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4
      ).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], .05);
      const cell = document.querySelector('.confusion td');
      const card = parts(getComputedStyle(cell.closest('.scroll')).backgroundColor);
      return [...Array(101).keys()].map(percent => {
        cell.style.setProperty('--share', percent / 100);
        cell.classList.toggle('full', percent > 80);
        const style = getComputedStyle(cell), [r, g, b, a] = parts(style.backgroundColor);
        const back = light([r, g, b].map((v, i) => a * v + (1 - a) * card[i]));
        const ink = light(parts(style.color).slice(0, 3));
        return Math.max(back, ink) / Math.min(back, ink);
      });
    })()""")
    browser.ask("Emulation.setEmulatedMedia", features=[])
    assert min(found) > 3.5
