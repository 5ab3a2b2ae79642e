// The queue: all that waits, runs, is paused or on hold; and what ended without a picture.

import { at } from "./api.js";
import { $, h } from "./shared/dom.js";
import { controls } from "./controls.js";
import { OPEN, changes, isOpen, jobs, pictureOf } from "./jobs.js";
import { status, title } from "./words.js";

const rows = new Map();

function build(job) {
  const name = h("h2", { tabindex: -1 }, h("bdi"));
  const text = h("p", { class: "soft small" });
  const bar = h("progress", { max: 1 });
  const image = h("img", { alt: "", width: 72, height: 72 });
  const error = h("p", { class: "problem", role: "alert", hidden: true });
  image.addEventListener("error", () => (image.hidden = true));
  const buttons = controls(job, error, { moves: true });
  const element = h("li", { class: "job" }, image, h("div", { class: "grow" }, name, text, bar, error), h("div", { class: "line wrap end" }, ...buttons.elements));
  return { element, name, text, bar, image, buttons };
}

const rank = (job) => 1e6 * OPEN.indexOf(job.state) + (job.place || 0);

function draw() {
  const open = [...jobs.values()].filter(isOpen).sort((a, b) => rank(a) - rank(b) || a.created - b.created);
  const ended = [...jobs.values()].filter((job) => ["failed", "cancelled"].includes(job.state) && !job.result).sort((a, b) => b.created - a.created);
  const waiting = open.filter((job) => job.state === "queued").length;
  const there = new Set([...open, ...ended].map((job) => job.id));
  for (const [id, { element }] of rows) {
    if (there.has(id)) continue;
    const next = element.contains(document.activeElement) && (element.nextElementSibling || element.previousElementSibling);
    element.remove();
    rows.delete(id);
    if (next) next.querySelector("h2").focus();
  }
  for (const [list, shown] of [[$("queue-list"), open], [$("ended-list"), ended]]) {
    shown.forEach((job, index) => {
      if (!rows.has(job.id)) rows.set(job.id, build(job));
      const { element, name, text, bar, image, buttons } = rows.get(job.id);
      place(list, element, index);
      name.firstChild.textContent = title(job);
      if (text.textContent !== status(job)) text.textContent = status(job);
      text.classList.toggle("bad", ["failed", "held"].includes(job.state));
      bar.hidden = !isOpen(job) || (job.state === "queued" && !job.done);
      bar.value = job.done;
      bar.setAttribute("aria-label", title(job));
      const address = pictureOf(job, 160) || (job.photo ? at.image(job.photo.id, 160) : job.styles[0] ? at.style(job.styles[0].id, 160) : "");
      if (image.getAttribute("src") !== address) {
        image.hidden = !address;
        image.src = address;
      }
      buttons.update(job, waiting);
    });
  }
  $("queue-empty").hidden = open.length > 0;
  $("queue-list").hidden = !open.length;
  $("ended").hidden = !ended.length;
  $("queue-count").hidden = !open.length;
  $("queue-count").textContent = open.length ? String(open.length) : "";
  const running = open.find((job) => job.state === "running");
  document.title = running ? `${Math.round(100 * running.done)} % · impasto studio` : "impasto studio";
}

/** Put a row at its index; a row that moves keeps the focus. */
function place(list, element, index) {
  if (list.children[index] === element) return;
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  list.insertBefore(element, list.children[index] || null);
  focused?.focus();
}

export function startQueue() {
  let waiting = 0;
  const soon = () => (waiting ||= setTimeout(() => { waiting = 0; draw(); }, 50)); // a timer: a hidden tab shows the progress in its title
  for (const name of ["job", "removed", "reload"]) changes.on(name, soon);
  draw();
}
