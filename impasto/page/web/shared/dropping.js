// Files that are dropped on the page, pasted, or picked.

import { $ } from "./dom.js";

/** Give what an input for files was given to take(files, onStyles), and empty it. */
export function picker(input, onStyles, take) {
  input.addEventListener("change", () => {
    take(input.files, onStyles);
    input.value = "";
  });
}

/** Give dropped and pasted files to take(files, onStyles). words: what the veil over the page says, {photo, style}. */
export function dropping(take, words) {
  const veil = $("drop");
  let depth = 0;
  const holdsFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const overStyles = (event) => Boolean(event.target.closest?.("#styles"));
  const hide = () => {
    depth = 0;
    veil.hidden = true;
    $("styles").classList.remove("target");
  };
  const mark = (event) => {
    const styles = overStyles(event);
    veil.hidden = false;
    veil.classList.toggle("aside", styles);
    $("styles").classList.toggle("target", styles);
    veil.firstElementChild.textContent = styles ? words.style : words.photo;
  };
  window.addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    depth++;
    mark(event);
    event.preventDefault();
  });
  window.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    mark(event);
    event.preventDefault();
  });
  window.addEventListener("dragleave", (event) => holdsFiles(event) && --depth <= 0 && hide());
  window.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    hide();
    take(event.dataTransfer.files, overStyles(event));
  });
  window.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length) take(files, Boolean(document.activeElement?.closest("#styles")));
  });
}
