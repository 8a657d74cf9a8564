/* Sort a table by a column: numbers by size with gaps last, names by letter. */

for (const table of document.querySelectorAll(".sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      for (const body of table.tBodies) sortRows(body, column, rising);
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

/* A printed page shows what is folded away on the screen. */
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("main details:not([open])")) {
    folded.open = true;
    folded.dataset.unfolded = "";
  }
});
addEventListener("afterprint", () => {
  for (const unfolded of document.querySelectorAll("[data-unfolded]")) {
    unfolded.open = false;
    delete unfolded.dataset.unfolded;
  }
});
