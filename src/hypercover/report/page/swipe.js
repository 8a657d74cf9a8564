/* The border between the two layers: a slider for hand and keyboard. */

class Swipe {
  constructor(handle, stage, changed) {
    Object.assign(this, { handle, stage, changed });
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      event.stopPropagation();
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const box = stage.box.getBoundingClientRect();
      this.set((event.clientX - box.left) / box.width);
    });
    handle.addEventListener("keydown", (event) => this.#key(event));
    this.set(0.5);
  }

  set(share) {
    this.stage.swipe = Math.min(Math.max(share, 0), 1);
    const percent = Math.round(100 * this.stage.swipe);
    this.handle.style.left = `${100 * this.stage.swipe}%`;
    this.handle.setAttribute("aria-valuenow", percent);
    this.handle.setAttribute("aria-valuetext", `${percent} % left layer`);
    this.stage.draw();
    if (this.stage.left && this.stage.right) this.changed();
  }

  #key(event) {
    const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.set(this.stage.swipe + steps[event.key]);
  }
}
