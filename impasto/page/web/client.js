// The page's side of the worker. Calls are answered one after the other.

let worker = null;
let count = 0;
let line = Promise.resolve(); // ends with the last call
let current = null; // {number, resolve, reject, level, progress}: what the worker does

/** A call was cancelled, most often because a newer one takes its place. */
export class Cancelled extends Error {}

/** The worker has not enough memory. It has ended, and the next call starts another one, which knows nothing. */
export class OutOfMemory extends Error {}

function begin() {
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
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
    end(new Error(event.message || "The page's worker could not be started."));
  };
}

/** End the worker; what it does fails. */
export function end(error = new Cancelled()) {
  worker?.terminate();
  worker = null;
  current?.reject(error);
}

/** Call the worker. level, progress: called while it works. signal: an AbortSignal, heard before the start and between levels. */
export function call(name, values = {}, { level, progress, transfer = [], signal } = {}) {
  const answer = line.then(() => {
    if (signal?.aborted) throw new Cancelled();
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
