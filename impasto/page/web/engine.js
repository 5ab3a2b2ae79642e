// The network, once for the page: when it is loaded, what it computes with, and starting it again when memory ran out.

import { Cancelled, OutOfMemory, call as asked, onEnd } from "./client.js";
import { $, problem } from "./shared/dom.js";
import { keep } from "./offline.js";
import { bytes } from "./shared/words.js";

const MOST_THREADS = 4;
const VERDICT = "impasto.webgpu"; // what the comparison of WebGPU with the processor found, for this version of the page

const { version, files } = self.IMPASTO;
let loading = null;
let known = new Set(); // own paintings that the worker has

/** Workers that ended: what an earlier one was given, the present one does not have. */
export let generation = 0;

export { Cancelled, OutOfMemory };

/** Whether WebGPU is to be tried: a real graphics processor, not found wrong before. */
async function wantsGpu() {
  try {
    if (localStorage.getItem(VERDICT) === `${version} no`) return false;
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
  } catch {
    return false;
  }
}

function remember(verdict) {
  try {
    localStorage.setItem(VERDICT, `${version} ${verdict}`);
  } catch {
    // It is compared again at the next visit.
  }
}

/** Bytes that loading the network takes. */
function total(gpu) {
  const other = gpu ? "paint" : "webgpu";
  const wanted = ([name, [, , kind]]) => name.endsWith(".packed") && !name.startsWith("styles/") && !(name.startsWith("runtime/") && kind === other);
  return Object.entries(files).filter(wanted).reduce((sum, [, [, size]]) => sum + size, 0);
}

const threads = crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;

/** Say what computes: "wasm" or "webgpu". */
export function computesOn(on) {
  const processor = `the processor, with ${threads > 1 ? `${threads} threads` : "one thread"} (WebAssembly)`;
  $("engine").textContent = `Paints on ${on === "webgpu" ? "the graphics processor (WebGPU)" : processor}.`;
}

async function load() {
  const gpu = await wantsGpu();
  const all = total(gpu);
  let done = 0;
  $("loading").hidden = false;
  const progress = (count) => {
    done += count;
    $("loading-bar").value = Math.min(1, done / all);
    $("loading-text").textContent = done < all ? `Loading the painter: ${bytes(done)} of ${bytes(all)}` : "Starting the painter";
  };
  try {
    const { on } = await asked("load", { gpu, threads }, { progress });
    if (gpu) remember(on === "webgpu" ? "yes" : "no");
    computesOn(on);
    asked("warm").catch(() => {}); // the first picture says it again
    keep(gpu).then((all) => ($("offline").textContent = all ? "Saved on this device: the page works offline." : ""));
  } finally {
    $("loading").hidden = true;
  }
}

/** Load the network, once. */
export function ready() {
  if (loading) return loading;
  const mine = load();
  loading = mine;
  mine.catch(() => {
    if (loading === mine) loading = null;
  });
  return mine;
}

/** Forget a worker that ended. */
function lost() {
  generation++;
  loading = null;
  known = new Set();
}

onEnd(lost);

/** Call the worker, with the network loaded. */
export async function call(name, values, more) {
  await ready();
  return asked(name, values, more);
}

/** Do what needs several calls; again where the worker ended before it came to one of them. */
export async function together(action) {
  for (;;) {
    const before = generation;
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Cancelled) || generation === before) throw error;
    }
  }
}

/** Have the worker know an own painting. Returns what it says of a new one. */
export async function teach({ id, blob }) {
  if (known.has(id)) return null;
  const answer = await call("painting", { id, blob });
  known.add(id);
  return answer;
}

export async function forget(id) {
  if (known.delete(id)) await call("forget", { id });
}

export const failed = (error) => problem($("paint-problem"), error instanceof Cancelled ? null : error);
