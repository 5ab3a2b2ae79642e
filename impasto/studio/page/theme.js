"use strict";
// Runs before the first paint, so that a page that was set to dark never flashes light. The button's behavior is in app.js.
try {
  const theme = localStorage.getItem("impasto.theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the page follows the system.
}
