/* The stage: two layers over the scene in one canvas, with pan, zoom and a swipe. */

const MOST_ZOOM = 48;

class Stage {
  constructor(box, shown) {
    this.box = box;
    this.canvas = box.querySelector("canvas");
    [this.rows, this.cols] = shown;
    Object.assign(this, { left: null, right: null, base: null, veil: null, fade: 1, swipe: 0.5, mode: "swipe" });
    Object.assign(this, { zoom: 1, x: this.cols / 2, y: this.rows / 2, cursor: null, picked: null, waiting: false });
    new ResizeObserver(() => this.draw()).observe(box);
  }

  /* The parts of the canvas that show a layer each, in CSS pixels. */
  views() {
    const { clientWidth: width, clientHeight: height } = this.box;
    if (this.mode === "side") {
      const half = width / 2;
      return [
        { layer: this.left, side: "left", from: 0, to: half - 2, middle: half / 2, width: half, height },
        { layer: this.right, side: "right", from: half + 2, to: width, middle: half * 1.5, width: half, height },
      ];
    }
    const cut = this.mode === "one" ? width : width * this.swipe;
    const whole = { middle: width / 2, width, height };
    return [
      { layer: this.left, side: "left", from: 0, to: cut, ...whole },
      { layer: this.right, side: "right", from: cut, to: width, ...whole },
    ];
  }

  /* CSS pixels that a pixel of the scene measures. */
  get scale() {
    const { width, height } = this.views()[0];
    return this.zoom * Math.min(width / this.cols, height / this.rows);
  }

  /* Which view and pixel of the scene lie under a place of the box; null beside the scene. */
  find(across, down) {
    const view = this.views().find(({ from, to }) => across >= from && across < to);
    if (!view) return null;
    const col = Math.floor((across - view.middle) / this.scale + this.x);
    const row = Math.floor((down - view.height / 2) / this.scale + this.y);
    return row >= 0 && row < this.rows && col >= 0 && col < this.cols ? { view, row, col } : null;
  }

  /* Zoom by a factor and keep what lies under a place of the box where it is. */
  zoomAt(factor, across, down) {
    const view = this.views().find(({ from, to }) => across >= from && across < to) ?? this.views()[0];
    const place = [(across - view.middle) / this.scale, (down - view.height / 2) / this.scale];
    const most = Math.max(1, MOST_ZOOM * (this.zoom / this.scale));
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), most);
    const after = [(across - view.middle) / this.scale, (down - view.height / 2) / this.scale];
    this.move(place[0] - after[0], place[1] - after[1]);
  }

  zoomBy(factor) {
    const view = this.views()[0];
    this.zoomAt(factor, view.middle, view.height / 2);
  }

  /* Move what is shown by pixels of the scene; the scene never leaves the view. */
  move(across, down) {
    const view = this.views()[0];
    const keep = (value, size, half) => (half * 2 >= size ? size / 2 : Math.min(Math.max(value, half), size - half));
    this.x = keep(this.x + across, this.cols, view.width / 2 / this.scale);
    this.y = keep(this.y + down, this.rows, view.height / 2 / this.scale);
    this.draw();
  }

  reset() {
    this.zoom = 1;
    this.move(0, 0);
  }

  /* Bring a pixel into view. */
  reveal({ row, col }) {
    const view = this.views()[0];
    const [wide, high] = [view.width / 2 / this.scale, view.height / 2 / this.scale];
    const nearer = (gap, half) => Math.sign(gap) * Math.max(0, Math.abs(gap) - half + 1);
    this.move(nearer(col + 0.5 - this.x, wide), nearer(row + 0.5 - this.y, high));
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#draw();
    });
  }

  #draw() {
    const dots = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.box;
    if (!width || !height) return;
    this.canvas.width = Math.round(width * dots);
    this.canvas.height = Math.round(height * dots);
    const context = this.canvas.getContext("2d");
    context.scale(dots, dots);
    for (const view of this.views()) this.#drawView(context, view);
    this.drawn?.();
  }

  #drawView(context, view) {
    const { scale } = this;
    context.save();
    context.beginPath();
    context.rect(view.from, 0, Math.max(0, view.to - view.from), view.height);
    context.clip();
    context.imageSmoothingEnabled = scale < 1;
    const place = [view.middle - this.x * scale, view.height / 2 - this.y * scale, this.cols * scale, this.rows * scale];
    if (this.base) context.drawImage(this.base.picture, ...place);
    if (view.layer && view.layer !== this.base) {
      context.globalAlpha = this.fade;
      context.drawImage(view.layer.picture, ...place);
      context.globalAlpha = 1;
    }
    if (this.veil) context.drawImage(this.veil, ...place);
    if (this.picked) this.#mark(context, place, this.picked, 2);
    if (this.cursor) this.#cross(context, place, view, this.cursor);
    context.restore();
  }

  /* Frame a pixel in white and black, which stand out from every colour. */
  #mark(context, [left, top], { row, col }, around) {
    const { scale } = this;
    const side = Math.max(scale, 7) + around * 2;
    const [x, y] = [left + (col + 0.5) * scale - side / 2, top + (row + 0.5) * scale - side / 2];
    for (const [color, thick] of [["#000", 4], ["#fff", 1.8]]) {
      context.strokeStyle = color;
      context.lineWidth = thick;
      context.strokeRect(x, y, side, side);
    }
  }

  #cross(context, place, view, { row, col }) {
    const [left, top] = place;
    const [x, y] = [left + (col + 0.5) * this.scale, top + (row + 0.5) * this.scale];
    const gap = Math.max(this.scale / 2, 4) + 3;
    for (const [color, thick] of [["#000", 3.4], ["#fff", 1.4]]) {
      context.strokeStyle = color;
      context.lineWidth = thick;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + dx * gap, y + dy * gap);
        context.lineTo(x + dx * (gap + 11), y + dy * (gap + 11));
      }
      context.stroke();
    }
  }
}
