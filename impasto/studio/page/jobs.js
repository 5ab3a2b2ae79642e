// The jobs that the page knows, kept current by events.

import { api, at, connected, server, stayOpenWhile } from "./api.js";
import { bus } from "./shared/dom.js";
import { state } from "./state.js";

export const jobs = new Map();
export const changes = bus(); // "job": one is new or changed; "removed": id; "reload"

export const OPEN = ["running", "queued", "paused", "held"];
export const ENDED = ["done", "cancelled", "failed"];
export const isOpen = (job) => OPEN.includes(job.state);

function accept(job) {
  const before = jobs.get(job.id);
  jobs.set(job.id, job);
  changes.emit("job", { job, before });
}

/** From an answer rather than an event: the events know better, if there are any. */
export function learn(job) {
  if (job && (!connected || !jobs.has(job.id))) accept(job);
}

function forget(id) {
  jobs.delete(id);
  changes.emit("removed", id);
}

/** Read all open jobs, and the one that the editor shows. */
export async function reload() {
  const { jobs: open } = await api.jobs({ state: OPEN.join(","), limit: 200 });
  const there = new Set(open.map((job) => job.id));
  for (const job of [...jobs.values()]) if (isOpen(job) && !there.has(job.id)) await recheck(job.id);
  open.forEach(accept);
  if (state.job && !jobs.has(state.job)) await recheck(state.job);
  changes.emit("reload");
}

async function recheck(id) {
  try {
    accept(await api.job(id));
  } catch (error) {
    if (error.status === 404) forget(id);
  }
}

export async function create(job) {
  const made = await api.newJob(job);
  learn(made);
  return made;
}

export async function control(job, action) {
  learn(await api.act(job.id, action));
}

export async function move(job, place) {
  learn(await api.moveJob(job.id, place));
}

export async function remove(job) {
  try {
    await api.dropJob(job.id);
  } catch (error) {
    if (error.status !== 404) throw error;
  }
  forget(job.id);
}

/** The best picture there is of a job, or "". */
export function pictureOf(job, size) {
  if (job.result && job.kind !== "batch") return at.result(job, { size });
  return job.preview && isOpen(job) ? at.preview(job) : "";
}

stayOpenWhile(() => [...jobs.values()].some((job) => job.state === "running" || job.state === "queued"));
server.on("job", accept);
server.on("removed", ({ id }) => forget(id));
server.on("reload", () => reload().catch(() => {})); // when it fails, the connection is lost again, which the page says
