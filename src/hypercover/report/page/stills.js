/* Stills: a layer as a small picture on the page, which opens it in the viewer and prints. */

function fillStills(view, viewer) {
  for (const still of document.querySelectorAll("[data-layer]")) {
    const layer = view.byKey.get(still.dataset.layer);
    if (!layer) continue;
    const canvas = still.querySelector("canvas");
    [canvas.height, canvas.width] = view.shown;
    canvas.getContext("2d").drawImage(layer.paint(), 0, 0);
    still.hidden = false;
    still.addEventListener("click", () => {
      viewer.show("right", layer.key);
      viewer.box.scrollIntoView({ block: "start" });
      viewer.pad.focus({ preventScroll: true });
    });
  }
}

/* The mean spectra of all classes in one plot; a class under the pointer stands out. */
async function fillMeans(view, figure) {
  if (!figure || !view.spectra?.codes.length) return;
  const means = await Promise.all(view.spectra.codes.map((code) => view.meanOf(code)));
  const wide = document.querySelector("main").clientWidth;
  const few = means.length <= 4;
  const series = means.map(({ code, values, spread }) => ({ code, values, spread: few ? spread : undefined, color: view.colorOf(code), kind: "mean" }));
  const plot = plotSpectra({ ...(await view.frame()), series, width: Math.min(Math.max(wide, 320), 1120), height: wide > 700 ? 400 : 300, words: `Mean spectrum of the training pixels of ${counted(means.length, "class").replace("classs", "classes")}` });
  const list = part("ul", { class: "swatches" }, ...means.map(({ code, count }) => {
    const item = part("li", {}, swatch(view.colorOf(code)), view.nameOf(code), part("span", { class: "faint" }, ` ${count.toLocaleString("en")}`));
    const light = (on) => {
      plot.classList.toggle("lighting", on);
      for (const line of plot.querySelectorAll(".series")) line.classList.toggle("lit", on && Number(line.dataset.code) === code);
    };
    item.addEventListener("pointerenter", () => light(true));
    item.addEventListener("pointerleave", () => light(false));
    return item;
  }));
  figure.querySelector(".here-comes-the-plot").replaceWith(plot, list);
  figure.hidden = false;
}
