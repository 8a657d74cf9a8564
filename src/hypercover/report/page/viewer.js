/* The viewer: controls, pointer and keyboard around a stage. */

class Viewer {
  constructor(box, view) {
    const find = (name) => box.querySelector(name);
    Object.assign(this, { box, view, here: find(".here"), lit: find(".lit"), handle: find(".swipe"), pad: find(".stage") });
    box.hidden = false;
    this.stage = new Stage(this.pad, view.shown);
    this.stage.base = view.layers[0];
    this.stage.base.paint();
    this.legends = new Legends(find(".legends"), view, () => this.#repaint());
    this.inspector = new Inspector(find(".inspector"), view);
    this.selects = Object.fromEntries(["left", "right"].map((side) => [side, this.#select(find(`select[name=${side}]`), side)]));
    this.#controls(find);
    new Swipe(this.handle, this.stage, () => this.#named());
    new Pointer(this);
    this.pad.addEventListener("keydown", (event) => this.#key(event));
    this.stage.drawn = () => this.#scale();
    this.show("left", view.layers[0].key);
    this.show("right", view.first.key);
    this.mode(view.shown[1] / view.shown[0] < 0.6 ? "side" : "swipe");
  }

  #select(select, side) {
    select.append(...this.view.layers.map(({ key, name }) => part("option", { value: key }, name)));
    select.addEventListener("change", () => this.show(side, select.value));
    return select;
  }

  #controls(find) {
    const fade = find("input[name=fade]");
    fade.addEventListener("input", () => {
      this.stage.fade = fade.value / 100;
      this.stage.draw();
    });
    for (const radio of this.box.querySelectorAll("input[name=mode]")) {
      radio.addEventListener("change", () => this.mode(radio.value));
    }
    find(".nearer").addEventListener("click", () => this.stage.zoomBy(1.6));
    find(".farther").addEventListener("click", () => this.stage.zoomBy(1 / 1.6));
    find(".whole").addEventListener("click", () => this.stage.reset());
    find(".exchange").addEventListener("click", () => {
      const [left, right] = [this.stage.left.key, this.stage.right.key];
      this.show("left", right);
      this.show("right", left);
    });
    find(".clear").addEventListener("click", () => this.clear());
    find(".back").addEventListener("click", () => this.origin?.focus());
  }

  /* Show a layer on one side. */
  show(side, key) {
    this.stage[side] = this.view.byKey.get(key);
    this.selects[side].value = key;
    if (this.stage.left && this.stage.right) {
      this.legends.show(this.stage.mode === "one" ? [this.stage.left] : [this.stage.right, this.stage.left]);
      this.#repaint();
      this.#named();
    }
  }

  /* Compare with a swipe, side by side, or show the left layer alone. */
  mode(name) {
    this.stage.mode = name;
    this.box.querySelector(`input[name=mode][value=${name}]`).checked = true;
    this.handle.hidden = name !== "swipe";
    this.box.dataset.mode = name;
    this.selects.right.disabled = name === "one";
    this.stage.reset();
    this.show("left", this.stage.left.key);
  }

  /* The model whose answer is drawn beside the label of a pixel. */
  get model() {
    const shown = [this.stage.right, this.stage.left].map(({ key }) => this.view.models.find(({ name }) => [`map-${name}`, `check-${name}`, `confidence-${name}`].includes(key)));
    return (shown.find(Boolean) ?? this.view.models.find(({ name }) => name === this.view.best) ?? this.view.models[0])?.name;
  }

  #repaint() {
    for (const layer of new Set([this.stage.left, this.stage.right])) this.legends.paint(layer);
    this.stage.draw();
  }

  #named() {
    for (const side of ["left", "right"]) this.box.querySelector(`.caption.${side}`).textContent = this.stage[side].name;
    this.pad.style.setProperty("--swipe", this.stage.swipe);
  }

  /* A bar of a round length, in metres where the size of a pixel is known. */
  #scale() {
    const each = (this.view.metres ?? 1) * this.view.step;
    const widest = (110 / this.stage.scale) * each;
    const size = 10 ** Math.floor(Math.log10(widest));
    const length = [5, 2, 1].map((one) => one * size).find((one) => one <= widest) ?? size;
    const bar = this.box.querySelector(".scale");
    bar.style.width = `${(length / each) * this.stage.scale}px`;
    const far = length >= 1000 ? `${length / 1000} km` : `${Number(length.toPrecision(3))} m`;
    bar.textContent = this.view.metres ? far : `${length < 1 ? Number(length.toPrecision(1)) : length} px`;
  }

  /* Say what lies at a pixel. */
  say(at) {
    const pixel = this.view.pixel(at);
    const { words } = this.view.place(at);
    const layers = [...new Set([this.stage.left, this.stage.mode === "one" ? this.stage.left : this.stage.right])];
    const values = layers.filter(({ kind }) => kind !== "rgb").map((layer) => `${layer.name}: ${layer.say(pixel)}`);
    this.here.textContent = [words, ...values].join(" · ");
  }

  async inspect(at) {
    this.stage.picked = at;
    this.stage.draw();
    await this.inspector.show(at, this.model);
    this.here.setAttribute("aria-live", "polite");
    this.here.textContent = this.inspector.summary(at);
  }

  /* Light pixels up and veil all others; `mask` holds one byte a pixel. */
  light(mask, words, origin) {
    const veil = part("canvas", { width: this.view.shown[1], height: this.view.shown[0] });
    const context = veil.getContext("2d");
    const image = context.createImageData(veil.width, veil.height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let at = 0; at < pixels.length; at += 1) pixels[at] = mask[at] ? packed(255, 255, 255, 255) : packed(14, 18, 24, 176);
    context.putImageData(image, 0, 0);
    this.stage.veil = veil;
    this.origin = origin;
    this.lit.hidden = false;
    this.lit.querySelector("strong").textContent = words;
    this.stage.draw();
  }

  clear() {
    this.stage.veil = null;
    this.lit.hidden = true;
    this.stage.draw();
  }

  #key(event) {
    const far = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: [0, -far], ArrowRight: [0, far], ArrowUp: [-far, 0], ArrowDown: [far, 0] };
    const acts = {
      Enter: () => this.inspect(this.#cursor), " ": () => this.inspect(this.#cursor),
      "+": () => this.stage.zoomBy(1.6), "=": () => this.stage.zoomBy(1.6), "-": () => this.stage.zoomBy(1 / 1.6),
      0: () => this.stage.reset(), Escape: () => this.clear(),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in moves || event.key in acts)) return;
    event.preventDefault();
    if (event.key in acts) acts[event.key]();
    else this.#step(...moves[event.key]);
  }

  get #cursor() {
    const within = (value, size) => Math.min(Math.max(Math.floor(value), 0), size - 1);
    const { stage } = this;
    return stage.cursor ?? { row: within(stage.y, stage.rows), col: within(stage.x, stage.cols) };
  }

  #step(down, across) {
    const { stage } = this;
    const { row, col } = this.#cursor;
    const within = (value, size) => Math.min(Math.max(value, 0), size - 1);
    stage.cursor = stage.cursor ? { row: within(row + down, stage.rows), col: within(col + across, stage.cols) } : { row, col };
    stage.reveal(stage.cursor);
    this.here.setAttribute("aria-live", "polite");
    this.say(stage.cursor);
  }
}
