"use strict";

/* Enlarge a picture. */
const dialog = document.getElementById("enlarged");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const shown = button.querySelector("img");
    const large = dialog.querySelector("img");
    large.src = shown.src;
    large.alt = shown.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.tagName === "IMG") dialog.close();
});

/* Sort a table by a column: numbers by size with gaps last, names by letter. */
for (const table of document.querySelectorAll(".sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      sortRows(table.tBodies[0], column, rising);
    });
  });
}

function sortRows(body, column, rising) {
  const rows = [...body.rows].map((row) => ({ row, value: row.cells[column].dataset.value }));
  const words = rows.some(({ value }) => value !== "" && Number.isNaN(Number(value)));
  rows.sort((one, two) => {
    if (one.value === "" || two.value === "") return (one.value === "") - (two.value === "");
    const order = words ? one.value.localeCompare(two.value) : one.value - two.value;
    return rising ? order : -order;
  });
  body.append(...rows.map(({ row }) => row));
}

/* A picture that stands on the page twice is kept in the file once. */
for (const image of document.querySelectorAll("[data-from]")) {
  image.src = document.getElementById(image.dataset.from).src;
  const hero = image.closest(".hero");
  if (hero) hero.hidden = false;
}

/* Lay one picture over the scene, fade it, and read the class under the pointer. */
const viewer = document.querySelector(".viewer");
if (viewer) openViewer(viewer);

function openViewer(viewer) {
  const choice = viewer.querySelector("select");
  const fade = viewer.querySelector("input");
  const layers = [...viewer.querySelectorAll(".over")];
  const legends = [...viewer.querySelectorAll(".legend")];
  const here = viewer.querySelector(".here");
  const stack = viewer.querySelector(".stack");
  const show = () => {
    layers.forEach((layer, index) => { layer.hidden = index !== Number(choice.value); });
    legends.forEach((legend, index) => { legend.hidden = index !== Number(choice.value); });
    layers[choice.value].style.opacity = fade.value / 100;
  };
  const readers = new Map();
  stack.addEventListener("pointermove", (event) => {
    const layer = layers[choice.value];
    if (!readers.has(layer)) readers.set(layer, reader(layer, legends[choice.value]));
    const box = stack.getBoundingClientRect();
    const text = readers.get(layer)((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    here.textContent = text;
  });
  choice.addEventListener("change", show);
  fade.addEventListener("input", show);
  viewer.hidden = false;
  show();
}

/* Return a function that names the colour of a picture at a place in its land. */
function reader(image, legend) {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const share = (name) => Number(image.style.getPropertyValue(name));
  const names = [...legend.querySelectorAll("li")].map((row) => {
    const color = getComputedStyle(row.querySelector(".swatch")).backgroundColor;
    return { color: color.match(/\d+/g).slice(0, 3).map(Number), text: row.textContent.trim() };
  });
  return (across, down) => {
    const x = Math.floor((share("--left") + across * share("--wide")) * canvas.width);
    const y = Math.floor((share("--top") + down * share("--high")) * canvas.height);
    const [red, green, blue] = context.getImageData(x, y, 1, 1).data;
    const near = names.find(({ color }) => Math.abs(color[0] - red) + Math.abs(color[1] - green) + Math.abs(color[2] - blue) <= 4);
    if (!names.length) return "";
    return near ? near.text : "no class here";
  };
}
