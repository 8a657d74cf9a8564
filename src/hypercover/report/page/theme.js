/* Dark, light, or what the screen asks for. */

for (const button of document.querySelectorAll(".theme")) {
  const dark = () => (document.documentElement.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const say = () => { button.textContent = dark() ? "Light page" : "Dark page"; };
  button.addEventListener("click", () => {
    document.documentElement.style.colorScheme = dark() ? "light" : "dark";
    say();
  });
  button.hidden = false;
  say();
}
