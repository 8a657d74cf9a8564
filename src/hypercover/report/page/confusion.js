/* Confusion matrices: a cell says what it counts, and lights its pixels up on the map. */

function openMatrix(table, viewer) {
  const readout = table.closest("figure").querySelector(".cell");
  const cells = [...table.tBodies[0].rows].map((row) => [...row.querySelectorAll("td")]);
  const find = (cell) => {
    const row = cells.findIndex((one) => one.includes(cell));
    return [row, cells[row].indexOf(cell)];
  };
  const enter = (cell) => {
    for (const other of table.querySelectorAll("td[tabindex='0']")) other.tabIndex = -1;
    cell.tabIndex = 0;
    readout.textContent = sentence(table, cells, ...find(cell));
  };
  table.setAttribute("role", "grid");
  for (const cell of cells.flat()) cell.tabIndex = -1;
  if (cells[0]?.[0]) cells[0][0].tabIndex = 0;
  table.addEventListener("pointerover", ({ target }) => target.matches?.("td") && (readout.textContent = sentence(table, cells, ...find(target))));
  table.addEventListener("focusin", ({ target }) => target.matches?.("td") && enter(target));
  table.addEventListener("click", ({ target }) => target.matches?.("td") && act(...find(target)));
  table.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (!event.target.matches("td")) return;
    const [row, col] = find(event.target);
    const [down, across] = moves[event.key] ?? [];
    if (event.key === "Enter" || event.key === " ") act(row, col);
    else if (down !== undefined) cells[row + down]?.[col + across]?.focus();
    else return;
    event.preventDefault();
  });

  function act(row, col) {
    const codes = table.dataset.codes.split(" ").map(Number);
    const mask = viewer?.view.confused(table.dataset.model, codes[row], codes[col]);
    if (!mask) return;
    const shown = mask.reduce((sum, one) => sum + one, 0);
    const [reference, answer] = [viewer.view.nameOf(codes[row]), viewer.view.nameOf(codes[col])];
    const what = row === col ? `${reference} found by ${table.dataset.model}` : `${reference} taken for ${answer} by ${table.dataset.model}`;
    viewer.show("left", `${viewer.view.models.some(({ name, held }) => name === table.dataset.model && held) ? "check" : "map"}-${table.dataset.model}`);
    viewer.show("right", "labels");
    viewer.light(mask, `${counted(shown, "test pixel")} of ${what}${table.dataset.of}`, cells[row][col]);
    viewer.lit.scrollIntoView({ block: "center" });
    viewer.lit.querySelector(".back").focus({ preventScroll: true });
  }
}

function sentence(table, cells, row, col) {
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.title);
  const count = Number(cells[row][col].dataset.count);
  const share = count / (cells[row].reduce((sum, cell) => sum + Number(cell.dataset.count), 0) || 1);
  const what = row === col ? `of ${names[row]} found` : `of ${names[row]} taken for ${names[col]}`;
  return `${counted(count, "test pixel")} ${what}: ${percentage(share)} % of this class.`;
}
