"use strict";
// Runs before the first paint, so that a dark page never flashes light. The button's behavior is in app.js.
const system = matchMedia("(prefers-color-scheme: dark)");
function follow() {
  let chosen = null;
  try {
    chosen = localStorage.getItem("impasto.theme");
  } catch {
    // Without storage the page follows the system.
  }
  document.documentElement.dataset.theme = chosen || (system.matches ? "dark" : "light");
}
system.addEventListener("change", follow);
follow();
