/* Layers: what each shows at a pixel, and its picture, one pixel of canvas for one of the scene. */

const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const PALE = 46;

class Layer {
  constructor(about, legend, values, shown) {
    Object.assign(this, { key: about.key, name: about.name, kind: about.kind, legend: about.legend, values });
    [this.rows, this.cols] = shown;
    this.classes = new Map(legend.map((row) => [row.code, row]));
    this.picture = part("canvas", { width: this.cols, height: this.rows });
  }

  /* The code or share at a pixel (position in rows of cols). */
  at(pixel) { return this.values[this.kind === "rgb" ? 3 * pixel : pixel]; }

  /* What a person would say of a pixel. */
  say(pixel) {
    if (this.kind === "rgb") return "";
    const value = this.at(pixel);
    if (this.kind === "share") return `${percentage(value / 255)} %`;
    const nothing = { land: "no class", parts: "in no part", check: "no data" }[this.legend];
    return value ? this.classes.get(value)?.name ?? `Class ${value}` : nothing;
  }

  /* Paint it; `hidden` codes are left out, and all but the `lit` one are pale. */
  paint(hidden = new Set(), lit = null) {
    const context = this.picture.getContext("2d");
    const image = context.createImageData(this.cols, this.rows);
    const pixels = new Uint32Array(image.data.buffer);
    if (this.kind === "rgb") this.#paintColours(pixels);
    else {
      const table = this.kind === "share" ? rampTable() : this.#table(hidden, lit);
      for (let at = 0; at < pixels.length; at += 1) pixels[at] = table[this.values[at]] ?? 0;
    }
    context.putImageData(image, 0, 0);
    return this.picture;
  }

  #paintColours(pixels) {
    for (let at = 0; at < pixels.length; at += 1) {
      pixels[at] = packed(this.values[3 * at], this.values[3 * at + 1], this.values[3 * at + 2], 255);
    }
  }

  #table(hidden, lit) {
    const table = [0];
    for (const [code, { color }] of this.classes) {
      const alpha = hidden.has(code) ? 0 : lit === null || lit === code ? 255 : PALE;
      table[code] = packed(...channels(color), alpha);
    }
    return table;
  }

  /* How many shown pixels each code has. */
  get counts() {
    if (!this.tally) {
      this.tally = new Map();
      for (const code of this.values) this.tally.set(code, (this.tally.get(code) ?? 0) + 1);
    }
    return this.tally;
  }
}

const channels = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));

/* Red, green, blue and alpha as the one number that little-endian pixels are. */
const packed = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

const rampTable = once(() => Array.from({ length: 256 }, (_, value) => {
  const along = (value / 255) * (RAMP.length - 1);
  const low = Math.min(Math.floor(along), RAMP.length - 2);
  return packed(...RAMP[low].map((one, at) => Math.round(one + (along - low) * (RAMP[low + 1][at] - one))), 255);
}));
