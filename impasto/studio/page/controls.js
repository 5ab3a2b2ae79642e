// The buttons of a job that waits or runs.

import { act, ask, button } from "./shared/dom.js";
import { control, move, remove } from "./jobs.js";
import { title } from "./words.js";

/** Buttons for a job. place: where errors are shown. compact: icons only. Returns {elements, update(job)}. */
export function controls(first, place, { moves = false } = {}) {
  let job = first;
  const run = (action) => (event) => act(event.currentTarget, place, action);
  const make = (name, image, action, shown) => ({ shown, name, element: button(name, run(action), { look: "small", image }) });
  const all = [
    make("Move up", "up", () => move(job, job.place - 1), () => moves && job.state === "queued" && job.place > 1),
    make("Move down", "down", () => move(job, job.place + 1), () => moves && job.state === "queued" && job.place < queued()),
    make("Pause", "pause", () => control(job, "pause"), () => ["queued", "running"].includes(job.state)),
    make("Resume", "play", () => control(job, "resume"), () => job.state === "paused"),
    make("Try again", "again", () => control(job, "retry"), () => ["failed", "held", "cancelled"].includes(job.state) && !job.result),
    make("Cancel", "close", cancel, () => ["queued", "running", "paused"].includes(job.state)),
    make("Delete", "trash", drop, () => ["held", "failed", "cancelled"].includes(job.state) && !job.result),
  ];
  async function cancel() {
    await control(job, "cancel");
  }
  async function drop() {
    if (await ask(`Delete “${title(job)}”?`, "Delete")) await remove(job);
  }
  let queued = () => 0;
  return {
    elements: all.map(({ element }) => element),
    /** waiting: how many jobs are in the queue. */
    update(next, waiting = 0) {
      job = next;
      queued = () => waiting;
      const focused = all.find(({ element }) => element === document.activeElement);
      for (const { element, name, shown } of all) {
        element.hidden = !shown();
        element.setAttribute("aria-label", `${name}: ${title(job)}`);
      }
      if (focused?.element.hidden) all.find(({ element }) => !element.hidden)?.element.focus();
    },
  };
}
