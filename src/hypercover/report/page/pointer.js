/* Pointers on the stage: drag to pan, wheel or two fingers to zoom, a click to inspect. */

const STILL = 5;

class Pointer {
  constructor(viewer) {
    Object.assign(this, { viewer, stage: viewer.stage, pad: viewer.pad, down: new Map(), moved: 0 });
    this.pad.addEventListener("pointerdown", (event) => this.#press(event));
    this.pad.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) this.pad.addEventListener(end, (event) => this.#release(event));
    this.pad.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.pad.addEventListener("dblclick", (event) => this.stage.zoomAt(2, ...this.#place(event)));
  }

  #place(event) {
    const box = this.pad.getBoundingClientRect();
    return [event.clientX - box.left - this.pad.clientLeft, event.clientY - box.top - this.pad.clientTop];
  }

  #press(event) {
    if (event.button) return;
    this.pad.setPointerCapture(event.pointerId);
    if (!this.down.size) this.moved = 0;
    this.down.set(event.pointerId, this.#place(event));
  }

  #move(event) {
    const place = this.#place(event);
    const before = this.down.get(event.pointerId);
    if (before) this.#drag(event.pointerId, before, place);
    const at = this.stage.find(...place);
    this.viewer.here.setAttribute("aria-live", "off");
    if (at) this.viewer.say(at);
  }

  #drag(pointer, before, place) {
    const others = [...this.down].filter(([other]) => other !== pointer).map(([, where]) => where);
    this.down.set(pointer, place);
    this.moved += Math.hypot(place[0] - before[0], place[1] - before[1]);
    if (this.moved < STILL) return;
    if (others.length) {
      const far = (one) => Math.hypot(one[0] - others[0][0], one[1] - others[0][1]) || 1;
      this.stage.zoomAt(far(place) / far(before), (place[0] + others[0][0]) / 2, (place[1] + others[0][1]) / 2);
    } else {
      this.stage.move((before[0] - place[0]) / this.stage.scale, (before[1] - place[1]) / this.stage.scale);
    }
    this.pad.classList.toggle("near", this.stage.zoom > 1);
  }

  #release(event) {
    if (!this.down.delete(event.pointerId)) return;
    if (event.type === "pointerup" && !this.down.size && this.moved < STILL) {
      const at = this.stage.find(...this.#place(event));
      if (at) this.viewer.inspect({ row: at.row, col: at.col });
    }
  }

  /* The page scrolls as ever until the map is clicked, or with Ctrl. */
  #wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.pad) return;
    event.preventDefault();
    this.stage.zoomAt(Math.exp(-event.deltaY / (event.ctrlKey ? 120 : 480)), ...this.#place(event));
    this.pad.classList.toggle("near", this.stage.zoom > 1);
  }
}
