/* Start: open the view and everything that is drawn from it. */

async function start() {
  const view = await View.open();
  const box = document.querySelector(".viewer");
  const viewer = view && box ? new Viewer(box, view) : null;
  for (const table of document.querySelectorAll(".confusion")) openMatrix(table, viewer);
  if (viewer) {
    fillStills(view, viewer);
    viewer.stage.draw();
    await fillMeans(view, document.querySelector(".means"));
  }
  document.documentElement.dataset.ready = viewer ? "view" : "plain";
}

start();
