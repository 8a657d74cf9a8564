"""The report as a person meets it: in a browser that is really there."""

import pytest

from hypercover.report.report import write_report


@pytest.fixture
def page(opened, report):
    return opened(report)


def test_nothing_fails_and_no_request_leaves_the_page(page):
    page.inspect()
    page.page.locator("details.numbers summary").click()
    page.page.locator(".confusion td:not(.own)").first.click()
    page.page.locator("select[name=left]").select_option("check-svm")
    assert page.said == []
    own = page.value("location.href")
    assert [one for one in page.asked if one != own and not one.startswith("data:")] == []


def test_the_page_works_without_anything_to_draw_from(opened, old_folder):
    page = opened(write_report(old_folder))
    assert page.value("document.documentElement.dataset.ready") == "plain"
    assert page.page.locator(".viewer").count() == 0
    missing = "[...document.images].filter(i => !i.closest('dialog') && !i.naturalWidth)"
    page.value("Promise.all([...document.images].map(i => i.decode().catch(() => 0)))")
    assert page.value(f"{missing}.length") == 0
    assert page.value("document.images.length") > 10
    assert page.said == []


def test_hostile_names_are_text(page):
    page.inspect()
    assert page.value("window.hacked === undefined")
    assert page.value("document.querySelectorAll('script').length") == 1
    assert "window.hacked=1" in page.text(".legends")
    assert "window.hacked=1" in page.value("document.body.innerText")


@pytest.mark.parametrize("width", [320, 400, 800])
def test_narrow_screens_need_no_sideways_scrolling(opened, report, width):
    page = opened(report, width=width)
    page.inspect()
    assert page.value("document.documentElement.scrollWidth") <= width


def test_classes_sort_by_number_with_gaps_last_and_by_name(page):
    table = page.page.locator("#classes .sortable")
    heads = table.locator("thead tr").last.locator("button")

    def names():
        return table.locator("tbody tr td:first-child").all_inner_texts()

    heads.nth(4).click()
    assert names() == ["4", "1", "9"]
    heads.nth(4).click()
    assert names() == ["1", "4", "9"]
    assert table.locator("[aria-sort]").get_attribute("aria-sort") == "descending"
    heads.nth(0).click()
    assert names() == ["1", "4", "9"]


def test_pictures_enlarge_and_close(page):
    page.page.locator(".zoom").first.click()
    assert page.value("document.getElementById('enlarged').open")
    assert page.value("document.querySelector('dialog img').naturalWidth > 0")
    page.page.locator("dialog img").click()
    assert not page.value("document.getElementById('enlarged').open")


def test_everything_that_acts_can_be_reached_and_has_a_name(page):
    reachable = ".zoom, .scroll, .still, .stage, .swipe, select, input, summary"
    unreachable = f"[...document.querySelectorAll('{reachable}')]"
    unreachable += ".filter(e => e.tabIndex < 0).length"
    assert page.value(unreachable) == 0
    unnamed = "[...document.querySelectorAll('button, [role=region], [role=slider]')]"
    unnamed += ".filter(e => !(e.ariaLabel || e.textContent).trim()).length"
    assert page.value(unnamed) == 0
    unlabelled = "[...document.querySelectorAll('select, input')]"
    unlabelled += ".filter(e => !e.ariaLabel && !e.labels.length).length"
    assert page.value(unlabelled) == 0


def test_the_tab_key_goes_down_the_page_in_order(page):
    places = page.value(
        "[...document.querySelectorAll('a[href], button, select, input, summary, [tabindex]')]"
        ".filter(e => e.tabIndex >= 0 && e.checkVisibility()).map(e => e.tabIndex)"
    )
    assert len(places) > 30
    assert set(places) == {0}


def lightness(page, one):
    parts = page.value(
        f"getComputedStyle(document.body).{one}.match(/[0-9]+/g).map(Number)"
    )
    return sum(parts[:3])


def test_dark_screens_get_light_text_and_a_button_turns_it_round(opened, report):
    page = opened(report, color_scheme="dark")
    assert lightness(page, "backgroundColor") < 120
    assert lightness(page, "color") > 600
    page.page.locator(".theme").click()
    assert lightness(page, "backgroundColor") > 600
    assert page.text(".theme") == "Dark page"
    page.page.locator(".theme").click()
    assert lightness(page, "backgroundColor") < 120


CONTRAST = """(selector) => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[3] * top[i] + (1 - top[3]) * under[i]);
  const back = (element) => {
    const own = rgba(getComputedStyle(element).backgroundColor);
    if (own[3] > .995 || !element.parentElement) return own.slice(0, 3);
    return over(own, back(element.parentElement));
  };
  const light = (c) => c.map(v => v / 255).map(
    v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4
  ).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], .05);
  const ratio = (element) => {
    const under = back(element), ink = over(rgba(getComputedStyle(element).color), under);
    const [one, two] = [light(under), light(ink)];
    return Math.max(one, two) / Math.min(one, two);
  };
  const cell = document.querySelector('.confusion td');
  const shades = [...Array(101).keys()].map(percent => {
    cell.style.setProperty('--share', percent / 100);
    cell.classList.toggle('full', percent > 76);
    return ratio(cell);
  });
  const texts = [...document.querySelectorAll(selector)].filter(
    e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())
  ).map(e => [ratio(e), e.tagName + '.' + e.className]);
  return {shades: Math.min(...shades), texts: texts.sort((a, b) => a[0] - b[0]).slice(0, 3)};
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_as_much_as_it_should(opened, report, scheme):
    page = opened(report, color_scheme=scheme)
    page.inspect()
    found = page.page.evaluate(CONTRAST, "body *:not(script):not(.tick i)")
    assert found["shades"] >= 4.5
    assert found["texts"][0][0] >= 4.5, found["texts"]


def test_a_printed_page_unfolds_and_shows_the_layers_as_pictures(page, tmp_path):
    page.page.locator("details").first.evaluate("one => { one.open = false; }")
    page.page.emulate_media(media="print")
    page.value("dispatchEvent(new Event('beforeprint'))")
    assert page.value("[...document.querySelectorAll('main details')].every(d => d.open)")
    assert not page.page.locator(".viewer").is_visible()
    assert page.page.locator("[data-layer=map-cnn] canvas").last.is_visible()
    page.value("dispatchEvent(new Event('afterprint'))")
    assert not page.page.locator("details").first.evaluate("one => one.open")
