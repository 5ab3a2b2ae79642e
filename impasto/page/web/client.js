// The page's side of the worker: one call at a time, in order.

let worker = null;
let count = 0;
let waiting = new Map(); // number: {resolve, reject, level, progress}

/** A call was cancelled because a newer one took its place. */
export class Cancelled extends Error {}

/** The worker failed for lack of memory. It has ended; `start` starts another one. */
export class OutOfMemory extends Error {}

function begin() {
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data: { number, ...answer } }) => {
    const call = waiting.get(number);
    if (!call) return;
    if ("level" in answer) return call.level?.(answer.level);
    if ("progress" in answer) return call.progress?.(answer.progress);
    waiting.delete(number);
    if (answer.done) call.resolve(answer.done);
    else if (answer.cancelled) call.reject(new Cancelled());
    else call.reject(new (answer.failed.memory ? OutOfMemory : Error)(answer.failed.message));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    end(new Error(event.message || "The page's worker could not be started."));
  };
}

/** End the worker; every call that waits for it fails. */
export function end(error = new Cancelled()) {
  worker?.terminate();
  worker = null;
  const calls = [...waiting.values()];
  waiting = new Map();
  for (const { reject } of calls) reject(error);
}

/** Call the worker. Returns {number, answer}: a promise. level, progress: called while it works. */
export function call(name, values = {}, { level, progress, transfer = [] } = {}) {
  if (!worker) begin();
  const number = ++count;
  const answer = new Promise((resolve, reject) => waiting.set(number, { resolve, reject, level, progress }));
  worker.postMessage({ call: name, number, ...values }, transfer);
  return { number, answer };
}

export const cancel = (which) => worker?.postMessage({ call: "cancel", which });
