/* The inspector: a pixel's spectrum beside the class means, and what each model says of it. */

class Inspector {
  constructor(box, view) { Object.assign(this, { box, view, turn: 0 }); }

  /* Show a pixel; `model` is the one whose answer is drawn beside the label. */
  async show(at, model) {
    this.turn += 1;
    const { turn, view } = this;
    const facts = await this.#facts(at);
    const plot = view.spectra ? await this.#plot(at, model) : null;
    if (turn !== this.turn) return;
    const { words, ground } = view.place(at);
    const title = part("h3", {}, `Pixel at ${words}`, part("span", { class: "faint" }, ` counted from 0${ground ? `; ${ground}` : ""}${ground && view.crs ? ` (${view.crs})` : ""}`));
    this.box.replaceChildren(part("div", { class: "facts-of-pixel" }, title, ...facts), ...(plot ? [plot] : []));
    this.box.dataset.pixel = `${view.inScene(at).row},${view.inScene(at).col}`;
  }

  /* One sentence for those who hear the page. */
  summary(at) {
    const { view } = this;
    const pixel = view.pixel(at);
    const label = view.byKey.get("labels").values[pixel];
    const answers = view.models.map(({ name }) => `${name}: ${view.nameOf(view.byKey.get(`map-${name}`).values[pixel])}`);
    return [`Selected: ${view.place(at).words}`, `label: ${label ? view.nameOf(label) : "unlabelled"}`, ...answers].join(" · ");
  }

  async #facts(at) {
    const { view } = this;
    const pixel = view.pixel(at);
    const label = view.byKey.get("labels").values[pixel];
    const splits = view.layers.filter(({ legend }) => legend === "parts");
    const list = part("dl", {}, part("dt", {}, "label"), part("dd", { class: "label" }, ...this.#named(label, "unlabelled")));
    for (const layer of splits) list.append(part("dt", {}, layer.name), part("dd", {}, layer.say(pixel)));
    const models = await Promise.all(view.models.map((model) => this.#model(model, pixel, label)));
    const head = part("tr", {}, ...["Model", "Predicted", "Confidence", "Highest scores"].map((word) => part("th", { scope: "col" }, word)));
    const table = part("table", { class: "answers" }, part("caption", { class: "out" }, "Prediction of each model for this pixel"), part("thead", {}, head), part("tbody", {}, ...models));
    return models.length ? [list, part("div", { class: "scroll" }, table), this.#footnote()] : [list];
  }

  #named(code, nothing) {
    return code ? [part("span", { class: "named" }, swatch(this.view.colorOf(code)), part("span", {}, this.view.nameOf(code)))] : [nothing];
  }

  async #model(model, pixel, label) {
    const { view } = this;
    const answer = view.byKey.get(`map-${model.name}`).values[pixel];
    const sure = view.byKey.get(`confidence-${model.name}`);
    const verdict = !label || !answer ? "" : answer === label ? part("span", { class: "verdict agrees" }, "✓ as labelled") : part("span", { class: "verdict differs" }, "✗ not as labelled");
    const next = await this.#ranked(model, pixel);
    return part("tr", {}, part("th", { scope: "row" }, model.name), part("td", {}, ...this.#named(answer, "no data"), verdict),
      part("td", { class: "n" }, sure && answer ? sure.say(pixel) : "–"), part("td", {}, next));
  }

  async #ranked(model, pixel) {
    const [codes, shares] = await model.first();
    const size = this.view.shown[0] * this.view.shown[1];
    const rows = [];
    for (let rank = 0; rank < model.ranks; rank += 1) {
      const [code, share] = [codes[rank * size + pixel], shares[rank * size + pixel] / 255];
      if (!code || (rank && share < 0.005)) break;
      const bar = part("span", { class: "share", "aria-hidden": "true" });
      bar.style.setProperty("--share", share);
      bar.style.setProperty("--color", this.view.colorOf(code));
      rows.push(part("li", {}, bar, part("span", { class: "name" }, this.view.nameOf(code)), ` ${percentage(share)} %`));
    }
    return rows.length ? part("ol", { class: "ranked" }, ...rows) : "gives no shares";
  }

  #footnote() {
    const raw = this.view.models.filter(({ ranks, calibrated }) => ranks && !calibrated).map(({ name }) => name);
    return raw.length ? part("p", { class: "faint" }, `The scores of ${raw.join(", ")} are not calibrated: they rank classes, but 90 % does not mean correct nine times in ten.`) : "";
  }

  /* The class means to draw: that of the label and that of the answer, each once. */
  async #means(at, model) {
    const { view } = this;
    const pixel = view.pixel(at);
    const label = view.byKey.get("labels").values[pixel];
    const answer = view.byKey.get(`map-${model}`)?.values[pixel] ?? 0;
    const classes = new Map();
    if (label) classes.set(label, "its label");
    if (answer) classes.set(answer, classes.has(answer) ? `label and prediction of ${model}` : `prediction of ${model}`);
    const found = await Promise.all([...classes].map(async ([code, why]) => ({ why, mean: await view.meanOf(code) })));
    return found.filter(({ mean }) => mean);
  }

  async #plot(at, model) {
    const { view } = this;
    const own = await view.spectrum(at);
    const means = await this.#means(at, model);
    const series = means.map(({ mean }) => ({ ...mean, color: view.colorOf(mean.code), kind: "mean" }));
    const known = own.values.some(Number.isFinite);
    if (known) series.push({ values: own.values, kind: "own" });
    if (!series.length) return part("p", { class: "faint" }, "This pixel holds no data.");
    const named = means.map(({ mean, why }) => `mean of ${view.nameOf(mean.code)}, ${why}`);
    const words = `Spectrum of the pixel at ${view.place(at).words}${named.length ? `, with the ${named.join(" and the ")}` : ""}`;
    const frame = await view.frame();
    const key = part("ul", { class: "lines" }, part("li", {}, part("span", { class: "stroke own" }), own.exact ? "this pixel" : `nearest kept pixel: row ${own.row}, column ${own.col}`));
    for (const { mean, why } of means) {
      const stroke = part("span", { class: "stroke" });
      stroke.style.background = view.colorOf(mean.code);
      key.append(part("li", {}, stroke, `${view.nameOf(mean.code)}: ${why} (mean ± sd of ${counted(mean.count, "training pixel")})`));
    }
    return part("figure", { class: "spectra" }, plotSpectra({ ...frame, series, words, width: Math.min(Math.max(this.box.clientWidth, 320), 600) }), key, this.#table(frame, own.values, means));
  }

  /* The same numbers for those who cannot see a line. */
  #table(frame, values, means) {
    const heads = [frame.along, "pixel", ...means.map(({ mean }) => `mean of ${this.view.nameOf(mean.code)}`)];
    const show = (value) => (Number.isFinite(value) ? label(value) : "–");
    const body = part("tbody");
    const fill = once(() => body.append(...frame.across.map((place, at) => part("tr", {}, part("th", { scope: "row" }, label(place)),
      part("td", { class: "n" }, show(values[at])), ...means.map(({ mean }) => part("td", { class: "n" }, show(mean.values[at])))))) ?? true);
    const table = part("table", {}, part("thead", {}, part("tr", {}, ...heads.map((word) => part("th", { scope: "col" }, word)))), body);
    const folded = part("details", { class: "numbers" }, part("summary", {}, "As numbers"), part("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Spectrum as numbers" }, table));
    folded.addEventListener("toggle", fill);
    return folded;
  }
}
