/* Enlarge a picture that came as a file. */

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
