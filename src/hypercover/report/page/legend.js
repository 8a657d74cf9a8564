/* The legends of the layers on the stage: hover lights a class up, a box hides it. */

class Legends {
  constructor(box, view, changed) {
    Object.assign(this, { box, view, changed, hidden: {}, lit: {} });
    for (const name of Object.keys(view.legends)) this.hidden[name] = new Set();
  }

  /* Show the legends of these layers, each legend once. */
  show(layers) {
    const shown = new Map();
    for (const layer of layers) {
      const key = layer.kind === "share" ? "share" : layer.legend;
      if (key && !shown.has(key)) shown.set(key, layer);
    }
    this.lit = {};
    this.box.replaceChildren(...[...shown].map(([key, layer]) => (key === "share" ? this.#ramp() : this.#list(key, layer))));
    if (!shown.size) this.box.append(part("p", { class: "faint" }, "A colour composite has no legend: choose a map or the labels."));
  }

  #ramp() {
    return part("div", { class: "ramp" }, part("span", {}, "low 0"), part("span", { class: "colours", role: "img", "aria-label": "from dark to yellow" }), part("span", {}, "1 high"));
  }

  #list(key, layer) {
    const rows = this.view.legends[key].filter(({ code }) => key !== "land" || this.view.layers.some((one) => one.legend === "land" && one.counts.has(code)));
    const list = part("ul", {}, ...rows.map((row) => this.#item(key, row, layer)));
    list.addEventListener("pointerleave", () => this.light(key, null));
    const title = { land: "Classes", parts: "Parts of the split", check: "Class check" }[key];
    const all = part("button", { type: "button", class: "quiet" }, "all");
    const none = part("button", { type: "button", class: "quiet" }, "none");
    const boxes = () => [...list.querySelectorAll("input")];
    for (const [button, on] of [[all, true], [none, false]]) {
      button.setAttribute("aria-label", `${title}: show ${on ? "all" : "none"}`);
      button.addEventListener("click", () => {
        for (const box of boxes()) box.checked = on;
        this.hidden[key] = new Set(on ? [] : rows.map(({ code }) => code));
        this.changed();
      });
    }
    const counts = part("span", { class: "faint" }, layer.name);
    return part("section", { class: "legend", "aria-label": title }, part("h3", {}, title, part("span", { class: "pick" }, all, none)), counts, list);
  }

  #item(key, { code, name, color }, layer) {
    const box = part("input", { type: "checkbox" });
    box.checked = !this.hidden[key].has(code);
    box.addEventListener("change", () => {
      this.hidden[key][box.checked ? "delete" : "add"](code);
      this.changed();
    });
    const count = layer.counts.get(code) ?? 0;
    const item = part("li", {}, part("label", {}, box, swatch(color), part("span", { class: "name" }, name)),
      part("span", { class: "count", title: `${counted(count, "pixel")} in ${layer.name}` }, count.toLocaleString("en")));
    item.dataset.code = code;
    item.addEventListener("pointerenter", () => this.light(key, code));
    item.addEventListener("focusin", () => this.light(key, code));
    item.addEventListener("focusout", () => this.light(key, null));
    return item;
  }

  light(key, code) {
    if ((this.lit[key] ?? null) === code) return;
    this.lit = code === null ? {} : { [key]: code };
    this.changed();
  }

  paint(layer) {
    layer.paint(this.hidden[layer.legend] ?? new Set(), this.lit[layer.legend] ?? null);
  }
}
