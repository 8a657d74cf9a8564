"""The map that can be moved and asked: what it shows is what the run kept, pixel by pixel."""

import numpy as np
import pytest

CORN = (0xE6, 0x19, 0x4B)
AT = (5, 20)
"""A row and column that is labelled corn."""


@pytest.fixture
def page(opened, report):
    opened_page = opened(report)
    opened_page.page.locator(".viewer").scroll_into_view_if_needed()
    return opened_page


def show(page, **sides):
    for side, key in sides.items():
        page.page.locator(f"select[name={side}]").select_option(key)
    page.page.wait_for_timeout(100)


def compare(page, how):
    page.page.locator(".modes label", has_text=how).click()
    page.page.wait_for_timeout(100)


def near(color, wanted):
    return max(abs(one - two) for one, two in zip(color, wanted, strict=True)) <= 3


def colour_of(land, code):
    return land.legend[code].rgb


def test_layers_switch_and_show_the_colours_of_their_pixels(page, land, maps):
    names = page.page.locator("select[name=left] option").all_inner_texts()
    assert names == [
        "false colour (950, 850, 500 nm)",
        "false colour, near infrared (850, 600, 550 nm)",
        "labels",
        "split: blocks",
        "split: random",
        "map: svm",
        "confidence: svm",
        "class check: svm",
        "map: cnn",
        "confidence: cnn",
        "class check: cnn",
    ]
    compare(page, "Left only")
    show(page, left="labels")
    assert near(page.color(*page.spot(*AT, land.shape)), CORN)
    for model in ("svm", "cnn"):
        show(page, left=f"map-{model}")
        for at in ((3, 3), (20, 30), (33, 12), (36, 45)):
            wanted = colour_of(land, int(maps[model][at]))
            assert near(page.color(*page.spot(*at, land.shape)), wanted), at


def test_the_class_check_is_that_of_the_map(page, land, maps, split):
    compare(page, "Left only")
    show(page, left="check-svm")
    wrong = (land.labels > 0) & (land.labels != maps["svm"]) & (split.parts != 1)
    row, col = np.argwhere(wrong)[7]
    assert near(page.color(*page.spot(row, col, land.shape)), (0xD7, 0x26, 0x1E))


def test_fading_lays_the_layer_over_the_scene(page, land):
    show(page, left="labels", right="labels")
    full = page.color(*page.spot(*AT, land.shape))
    page.page.locator("input[name=fade]").fill("0")
    page.page.wait_for_timeout(100)
    bare = page.color(*page.spot(*AT, land.shape))
    page.page.locator("input[name=fade]").fill("50")
    page.page.wait_for_timeout(100)
    half = page.color(*page.spot(*AT, land.shape))
    assert near(full, CORN)
    assert not near(bare, CORN)
    assert near(half, [(one + two) / 2 for one, two in zip(full, bare, strict=True)])


def test_the_swipe_parts_the_two_layers_by_hand_and_by_key(page, land):
    show(page, left="labels", right="confidence-cnn")
    at = page.spot(5, 36, land.shape)
    beside = page.color(*at)
    assert not near(beside, CORN)
    handle = page.page.locator(".swipe")
    box = handle.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.43)
    page.page.mouse.move(*middle)
    page.page.mouse.down()
    page.page.mouse.move(at[0] + 40, middle[1], steps=4)
    page.page.mouse.up()
    page.page.wait_for_timeout(100)
    assert near(page.color(*at), CORN)
    assert int(handle.get_attribute("aria-valuenow")) > 60
    handle.focus()
    page.page.keyboard.press("Home")
    page.page.wait_for_timeout(100)
    assert handle.get_attribute("aria-valuenow") == "0"
    assert near(page.color(*at), beside)
    page.page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "2"


def test_side_by_side_shows_one_place_twice(page):
    compare(page, "Side by side")
    show(page, left="labels", right="labels")
    box = page.page.locator(".stage").bounding_box()
    spot = (box["x"] + box["width"] * 0.27, box["y"] + box["height"] * 0.42)
    other = (spot[0] + box["width"] / 2, spot[1])
    assert page.color(*spot) == page.color(*other)
    assert not page.page.locator(".swipe").is_visible()


def path_of(page, kind):
    """Return the points of the first line of a kind in the plot, in its own units."""
    text = page.page.locator(f".inspector .series.{kind} .line").first.get_attribute("d")
    return [
        tuple(map(float, point.split()))
        for run in text.split("M")[1:]
        for point in run.split("L")
    ]


def test_a_click_shows_the_spectrum_the_class_and_the_shares(page, land, maps, split):
    page.page.mouse.click(*page.spot(*AT, land.shape))
    page.page.wait_for_selector(".inspector h3")
    said = page.text(".inspector")
    assert "Pixel at row 5, column 20 counted from 0" in said
    assert "x 500410.0, y 4479890.0" in said
    assert page.text(".inspector dd.label").strip() == "Corn"
    part = ("in no part", "train", "validation", "test", "guard")[split.parts[AT]]
    assert page.text(".inspector dl dd:nth-of-type(2)") == part
    for model in ("svm", "cnn"):
        row = page.page.locator(".answers tbody tr", has=page.page.get_by_text(model)).first
        answer = int(maps[model][AT])
        name = " ".join(land.legend[answer].name.split())
        assert row.locator("td").first.inner_text().startswith(name)
        right = "✓ as labelled" if answer == 1 else "✗ not as labelled"
        assert right in row.inner_text()
        assert "80.0 %" in row.inner_text()
        assert row.locator("li").count() == 3
    assert "The scores of svm are not calibrated" in said


def test_the_spectrum_drawn_is_that_of_the_pixel(page, land):
    page.page.mouse.click(*page.spot(*AT, land.shape))
    page.page.wait_for_selector(".inspector h3")
    page.page.locator("details.numbers summary").click()
    page.page.wait_for_selector(".numbers tbody td")
    cells = page.page.locator(".numbers tbody tr").all()
    waves = [float(row.locator("th").inner_text().replace(",", "")) for row in cells]
    shown = [float(row.locator("td").first.inner_text().replace(",", "")) for row in cells]
    assert waves == land.wavelengths.tolist()
    values = land.cube.values[:, *AT]
    reach = np.nanmax(land.cube.values) - np.nanmin(land.cube.values)
    assert np.abs(np.array(shown) - values).max() < reach / 1000
    points = path_of(page, "own")
    assert len(points) == land.n_bands
    # Higher on the screen is a smaller y: the line rises and falls as the values do.
    fit = np.polyfit(shown, [y for _, y in points], 1)
    assert np.abs(np.polyval(fit, shown) - [y for _, y in points]).max() < 0.1
    assert fit[0] < 0


def test_the_mean_spectrum_is_that_of_the_training_pixels(page, land, split):
    page.page.mouse.click(*page.spot(*AT, land.shape))
    page.page.wait_for_selector(".inspector .mean")
    trained = (split.parts == 1) & (land.labels == 1) & land.valid
    assert f"{trained.sum()} training pixels" in page.text(".inspector .lines")
    points = path_of(page, "mean")
    wanted = land.cube.values[:, trained].mean(axis=1)
    page.page.locator("details.numbers summary").click()
    page.page.wait_for_selector(".numbers tbody td")
    column = page.page.locator(".numbers tbody td:nth-child(3)").all_inner_texts()
    assert [float(text) for text in column] == pytest.approx(wanted, rel=1e-5)
    assert np.corrcoef(wanted, [y for _, y in points])[0, 1] < -0.999


def test_the_line_breaks_where_bands_were_dropped(page, land):
    page.page.mouse.click(*page.spot(*AT, land.shape))
    page.page.wait_for_selector(".inspector .own")
    text = page.page.locator(".inspector .own .line").get_attribute("d")
    assert text.count("M") == 2


def test_the_legend_lights_a_class_up_and_hides_it(page, land):
    show(page, left="labels", right="labels")
    other = page.spot(20, 30, land.shape)
    before = page.color(*other)
    corn = page.page.locator(".legends li", has_text="Corn")
    corn.hover()
    page.page.wait_for_timeout(100)
    assert near(page.color(*page.spot(*AT, land.shape)), CORN)
    assert not near(page.color(*other), before)
    page.page.mouse.move(5, 5)
    page.page.wait_for_timeout(100)
    corn.locator("input").uncheck()
    page.page.mouse.move(5, 5)
    page.page.locator(".stage").focus()
    page.page.wait_for_timeout(100)
    assert not near(page.color(*page.spot(*AT, land.shape)), CORN)
    assert near(page.color(*other), before)


def test_a_cell_of_the_matrix_lights_up_its_very_pixels(page, land, maps, split):
    test = split.parts == 3
    wanted = test & (land.labels == 1) & (maps["svm"] == 4)
    cell = (
        page.page.locator(".confusion[data-model=svm] tbody tr").first.locator("td").nth(1)
    )
    cell.click()
    said = page.text(".lit strong")
    assert said.startswith(f"{wanted.sum()} test pixels of Corn taken for <script>")
    assert said.endswith("by svm")
    compare(page, "Left only")
    row, col = np.argwhere(wanted)[0]
    assert near(page.color(*page.spot(row, col, land.shape)), (255, 255, 255))
    assert sum(page.color(*page.spot(20, 48, land.shape))) < 300
    page.page.locator(".back").click()
    assert page.value("document.activeElement.matches('.confusion td')")
    page.page.keyboard.press("ArrowDown")
    assert "found: " in page.text(".cell >> nth=0")
    page.page.locator(".clear").click()
    assert not page.page.locator(".lit").is_visible()


def test_wheel_and_buttons_zoom_and_dragging_moves(page):
    stage = page.page.locator(".stage")
    box = stage.bounding_box()
    middle = (box["x"] + box["width"] / 3, box["y"] + box["height"] * 0.43)
    page.page.mouse.move(*middle)
    top = page.value("scrollY")
    page.page.mouse.wheel(0, 40)
    page.page.wait_for_timeout(200)
    assert page.value("scrollY") > top, "an unclicked map lets the page scroll"
    page.value("document.querySelector('.stage').focus()")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    middle = (box["x"] + box["width"] / 3, box["y"] + box["height"] * 0.43)
    page.page.mouse.move(*middle)
    before = page.text(".here")
    for _ in range(6):
        page.page.mouse.wheel(0, -240)
    page.page.mouse.move(middle[0] + 1, middle[1])
    assert page.text(".here").split(" · ")[0] == before.split(" · ")[0]
    page.page.mouse.down()
    page.page.mouse.move(middle[0] + 120, middle[1], steps=5)
    page.page.mouse.up()
    assert page.page.locator(".inspector h3").count() == 0, "a drag is no click"
    page.page.locator(".whole").click()
    page.page.mouse.move(*middle)
    assert page.text(".here").split(" · ")[0] == before.split(" · ")[0]


def test_the_keyboard_reads_and_inspects_the_map(page):
    page.page.locator(".stage").focus()
    page.page.keyboard.press("ArrowRight")
    assert page.text(".here").startswith("row 20, column 26")
    assert page.page.locator(".here").get_attribute("aria-live") == "polite"
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowUp", "+", "-", "0"):
        page.page.keyboard.press(key)
    assert page.text(".here").startswith("row 11, column 27")
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector(".inspector h3")
    assert "row 11, column 27" in page.text(".inspector h3")
    assert page.text(".here").startswith("Selected: row 11, column 27 · label: ")
    assert " · svm: " in page.text(".here")


def test_small_pictures_open_their_layer_on_the_map(page):
    page.page.locator("#models .still[data-layer=check-svm]").click()
    assert page.page.locator("select[name=right]").input_value() == "check-svm"
    assert "right" in page.text(".legends")


def test_all_class_means_stand_in_one_plot(page, land):
    lines = page.page.locator(".means .series")
    assert lines.count() == 3
    page.page.locator(".means li", has_text="Corn").hover()
    assert page.page.locator(".means .series.lit").count() == 1


def test_fingers_pinch_the_map(opened, report):
    page = opened(report, has_touch=True)
    page.value("""(() => {
      const pad = document.querySelector('.stage'), box = pad.getBoundingClientRect();
      pad.setPointerCapture = () => {};
      const send = (kind, id, x) => pad.dispatchEvent(new PointerEvent(kind, {
        pointerId: id, pointerType: 'touch', bubbles: true,
        clientX: box.left + x, clientY: box.top + box.height / 2}));
      send('pointerdown', 1, 200); send('pointerdown', 2, 260);
      for (let step = 1; step <= 8; step += 1) {
        send('pointermove', 1, 200 - 10 * step); send('pointermove', 2, 260 + 10 * step);
      }
      send('pointerup', 1, 120); send('pointerup', 2, 340);
    })()""")
    assert page.page.locator(".stage.near").count() == 1
