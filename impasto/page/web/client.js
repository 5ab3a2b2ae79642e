// The page's side of the worker. Calls are answered one after the other.

import { bus } from "./shared/dom.js";

let worker = null;
let count = 0;
let line = Promise.resolve(); // ends with the last call
let ended = 0; // workers
const listeners = bus();
let current = null; // {number, resolve, reject, level, progress}: what the worker does

/** A call was cancelled: a newer one takes its place, or the worker ended before it came to it. */
export class Cancelled extends Error {}

/** The worker has not enough memory. It has ended. */
export class OutOfMemory extends Error {}

function begin() {
  const mine = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker = mine;
  worker.onmessage = ({ data: { number, ...answer } }) => {
    if (number !== current?.number) return;
    if ("level" in answer) return current.level?.(answer.level);
    if ("progress" in answer) return current.progress?.(answer.progress);
    if (answer.done) return current.resolve(answer.done);
    if (answer.cancelled) return current.reject(new Cancelled());
    if (!answer.failed.memory) return current.reject(new Error(answer.failed.message));
    end(new OutOfMemory(answer.failed.message));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    if (worker === mine) end(new Error(event.message || "The page's worker could not be started."));
  };
}

/** End the worker; what it does fails. The next call starts another one, which knows nothing. */
function end(error) {
  worker.terminate();
  worker = null;
  ended++;
  listeners.emit("ended");
  current?.reject(error);
}

/** Have a function called whenever a worker ended. */
export const onEnd = (listener) => listeners.on("ended", listener);

/** Call the worker. level, progress: called while it works. signal: an AbortSignal, heard before the start and between levels. */
export function call(name, values = {}, { level, progress, transfer = [], signal } = {}) {
  const before = ended;
  const answer = line.then(() => {
    if (signal?.aborted || ended !== before) throw new Cancelled();
    if (!worker) begin();
    const number = ++count;
    const abort = () => worker?.postMessage({ call: "cancel", which: number });
    signal?.addEventListener("abort", abort);
    return new Promise((resolve, reject) => {
      current = { number, resolve, reject, level, progress };
      worker.postMessage({ call: name, number, ...values }, transfer);
    }).finally(() => {
      current = null;
      signal?.removeEventListener("abort", abort);
    });
  });
  line = answer.catch(() => {});
  return answer;
}
