/* The view: everything the run kept for this page, unpacked. */

class View {
  static async open() {
    const holder = document.getElementById("view");
    if (!holder || typeof DecompressionStream === "undefined") return null;
    const view = Object.assign(new View(), JSON.parse(holder.textContent));
    holder.remove();
    view.layers = await Promise.all(view.layers.map(async (about) =>
      new Layer(about, view.legends[about.legend] ?? [], await unpacked(about.data), view.shown)));
    view.byKey = new Map(view.layers.map((layer) => [layer.key, layer]));
    for (const model of view.models) {
      model.answers = model.held ? await unpacked(model.held) : view.byKey.get(`map-${model.name}`)?.values;
      model.first = once(async () => [await unpacked(model.codes), await unpacked(model.shares)]);
    }
    view.classes = new Map(view.legends.land.map((row) => [row.code, row]));
    if (view.spectra) view.unpackedSpectra = once(() => view.#unpackSpectra());
    return view;
  }

  async #unpackSpectra() {
    const { spectra } = this;
    const names = ["low", "high", "lower", "upper", "means", "deviations"];
    const arrays = await Promise.all(names.map((name) => unpacked(spectra[name])));
    return Object.assign({}, spectra, Object.fromEntries(names.map((name, at) => [name, arrays[at]])));
  }

  get first() {
    const named = [`map-${this.best}`, ...this.models.map(({ name }) => `map-${name}`), "labels"];
    return this.byKey.get(named.find((key) => this.byKey.has(key)));
  }

  pixel({ row, col }) { return row * this.shown[1] + col; }

  /* Row and column in the whole scene, counted from 0. */
  inScene({ row, col }) { return { row: row * this.step, col: col * this.step }; }

  place(at) {
    const { row, col } = this.inScene(at);
    const words = `row ${row}, column ${col}`;
    if (!this.transform) return { words, ground: "" };
    const [a, b, c, d, e, f] = this.transform;
    const [x, y] = [a * (col + 0.5) + b * (row + 0.5) + c, d * (col + 0.5) + e * (row + 0.5) + f];
    const digits = Math.max(Math.abs(x), Math.abs(y)) > 1000 ? 1 : 6;
    return { words, ground: `x ${x.toFixed(digits)}, y ${y.toFixed(digits)}` };
  }

  nameOf(code) { return this.classes.get(code)?.name ?? (code ? `Class ${code}` : "no class"); }

  colorOf(code) { return this.classes.get(code)?.color ?? "#8a8f98"; }

  /* The kept spectrum that lies nearest to a pixel, and where that is. */
  async spectrum(at) {
    const spectra = await this.unpackedSpectra();
    const size = this.shape.map((side) => Math.ceil(side / spectra.step));
    const here = this.inScene(at);
    const near = [here.row, here.col].map((value, side) => Math.min(Math.round(value / spectra.step), size[side] - 1));
    const position = near[0] * size[1] + near[1];
    const values = spectra.bands.map((_, band) => {
      const place = band * size[0] * size[1] + position;
      const level = spectra.lower[place] + 256 * spectra.upper[place];
      const [low, high] = [spectra.low[band], spectra.high[band]];
      return level ? low + ((level - 1) / spectra.levels) * (high - low) : NaN;
    });
    const [row, col] = near.map((value) => value * spectra.step);
    return { values, row, col, exact: row === here.row && col === here.col };
  }

  /* Mean and deviation of the training pixels of a class; null where it has none. */
  async meanOf(code) {
    const spectra = await this.unpackedSpectra();
    const at = spectra.codes.indexOf(code);
    if (at < 0) return null;
    const part = (values) => [...values.subarray(at * spectra.bands.length, (at + 1) * spectra.bands.length)];
    return { code, values: part(spectra.means), spread: part(spectra.deviations), count: spectra.counts[at] };
  }

  /* What a plot of spectra needs besides its lines. */
  async frame() {
    const { bands, waves, breaks, units } = await this.unpackedSpectra();
    return { across: waves ?? bands, breaks, along: waves ? "wavelength (nm)" : "band", up: units || "value in the file" };
  }

  /* Test pixels of one class that a model took for another, as one byte a pixel.
     Where the map was made by a model that has seen them, those of one that has not. */
  confused(model, reference, answer) {
    const [labels, parts] = ["labels", "split"].map((key) => this.byKey.get(key)?.values);
    const answers = this.models.find(({ name }) => name === model)?.answers;
    if (!labels || !parts || !answers) return null;
    const test = this.legends.parts.find(({ name }) => name === "test").code;
    return Uint8Array.from(labels, (code, at) => Number(code === reference && parts[at] === test && answers[at] === answer));
  }
}
