// The button for light and dark colors. theme.js has chosen before the first paint.

import { icon } from "./dom.js";

const root = document.documentElement;
const isDark = () => root.dataset.theme === "dark";

/** Have a button change the colors, and remember the choice in this browser. */
export function themeButton(button) {
  const draw = () => {
    button.replaceChildren(icon(isDark() ? "sun" : "moon"));
    button.setAttribute("aria-pressed", String(isDark()));
  };
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    root.dataset.theme = theme;
    try {
      localStorage.setItem("impasto.theme", theme);
    } catch {
      // It holds until the page is closed.
    }
  });
  new MutationObserver(draw).observe(root, { attributeFilter: ["data-theme"] }); // by the button, or by the system
  draw();
}
