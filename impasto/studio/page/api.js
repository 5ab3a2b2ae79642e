// The server: requests, uploads, the session and the stream of events.

import { bus, wait } from "./shared/dom.js";

export const server = bus(); // "locked": a session is needed; "connection": true or false; "job", "removed", "style", "style-removed"; "reload": read the lists again

export class ServerError extends Error {
  constructor(message, status, option = null, retry = null) {
    super(message);
    this.status = status;
    this.option = option;
    this.retry = retry; // seconds after which to try again
  }
}

export const UNREACHABLE = "The studio does not answer. Is it still running?";

function failure(status, body, retry) {
  if (status === 401) server.emit("locked");
  const { error, option } = body && typeof body === "object" ? body : {};
  const text = typeof error === "string" && error ? error : `The studio could not do this (error ${status}).`;
  return new ServerError(text, status, option || null, Number(retry) || null);
}

async function send(method, path, { json, signal } = {}) {
  const request = { method, credentials: "same-origin", signal, headers: {} };
  if (json !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(`/api/${path}`, request);
  } catch (error) {
    throw error.name === "AbortError" ? error : new ServerError(UNREACHABLE, 0);
  }
  if (response.ok) return response;
  throw failure(response.status, await response.json().catch(() => null), response.headers.get("Retry-After"));
}

export async function json(method, path, body) {
  const response = await send(method, path, { json: body });
  return response.status === 204 ? null : response.json();
}

const id = encodeURIComponent;
const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value || value === 0)).toString();

export const api = {
  openSession: (token) => json("POST", "session", { token }),
  limits: () => json("GET", "limits"),
  image: (image) => json("GET", `images/${id(image)}`),
  dropImage: (image) => json("DELETE", `images/${id(image)}`),
  styles: () => json("GET", "styles"),
  tune: (style) => json("POST", `styles/${id(style)}/tune`),
  dropStyle: (style) => json("DELETE", `styles/${id(style)}`),
  instant: async (request, signal) => (await send("POST", "instant", { json: request, signal })).blob(),
  jobs: (filter) => json("GET", `jobs?${query(filter)}`),
  job: (job) => json("GET", `jobs/${id(job)}`),
  newJob: (job) => json("POST", "jobs", job),
  act: (job, action) => json("POST", `jobs/${id(job)}/${action}`),
  moveJob: (job, place) => json("PUT", `jobs/${id(job)}/place`, { place }),
  dropJob: (job) => json("DELETE", `jobs/${id(job)}`),
  record: (job) => json("GET", `jobs/${id(job)}/record`),
};

/** Addresses of pictures. */
export const at = {
  image: (image, size) => `/api/images/${id(image)}/picture?size=${size}`,
  style: (style, size) => `/api/styles/${id(style)}/picture?size=${size}`,
  preview: (job) => `/api/jobs/${id(job.id)}/preview?n=${job.preview}`,
  result: (job, values = {}) => `/api/jobs/${id(job.id)}/result?${query({ format: "jpg", ...values })}`,
};

/** Upload a file to images or styles. onProgress: receives 0..1. By XMLHttpRequest, because fetch reports no progress. */
export function upload(path, file, name, onProgress = () => {}) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/${path}`);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) done(request.response);
      else fail(failure(request.status, request.response, request.getResponseHeader("Retry-After")));
    });
    request.addEventListener("error", () => fail(new ServerError(UNREACHABLE, 0)));
    const form = new FormData();
    form.append("file", file, name);
    request.send(form);
  });
}

// ---------------------------------------- events

const HIDDEN_FOR = 60_000; // an idle hidden page closes its stream after this long: browsers allow six connections to one host
const SILENT_FOR = 45_000; // a server that sends "ping" every 15 s and is silent for this long is gone
let stream = null;
let attempt = 0;
let wanted = false;
let reopened = false;
let hiddenSince = 0;
let heard = 0; // when the last ping came
let busy = () => false;

export let connected = false;

/** A hidden page keeps its stream while this says so: its title shows the progress. */
export function stayOpenWhile(condition) {
  busy = condition;
}

function connection(now) {
  connected = now;
  server.emit("connection", now);
}

function open() {
  stream?.close();
  const mine = (stream = new EventSource("/api/events"));
  let first = true;
  mine.addEventListener("open", () => {
    attempt = 0;
    if (!connected) connection(true);
    if (first && reopened) server.emit("reload"); // a new stream does not know what the last one missed
    first = false;
    reopened = true;
  });
  mine.addEventListener("ping", () => (heard = Date.now()));
  for (const kind of ["job", "removed", "style", "style-removed"]) {
    mine.addEventListener(kind, (event) => server.emit(kind, JSON.parse(event.data)));
  }
  mine.addEventListener("reset", () => server.emit("reload"));
  mine.addEventListener("error", () => {
    if (mine !== stream) return;
    connection(false);
    if (mine.readyState === EventSource.CLOSED) again();
  });
}

/** The browser gave up, as it does when the answer is not a stream: try again, with longer pauses up to 10 seconds. */
async function again() {
  const mine = stream;
  await wait(Math.min(10_000, 500 * 2 ** attempt++));
  if (mine === stream && wanted && !document.hidden) open();
}

export function listen() {
  wanted = true;
  open();
}

export function hush() {
  wanted = false;
  stream?.close();
  stream = null;
}

document.addEventListener("visibilitychange", () => {
  const slept = hiddenSince && Date.now() - hiddenSince > 5 * HIDDEN_FOR; // the machine too, perhaps, and then the connection is stale
  hiddenSince = document.hidden ? Date.now() : 0;
  if (!document.hidden && wanted && (slept || !stream || stream.readyState === EventSource.CLOSED)) open();
});
setInterval(() => {
  if (hiddenSince && Date.now() - hiddenSince > HIDDEN_FOR && !busy()) stream?.close();
  if (wanted && heard && !document.hidden && Date.now() - heard > SILENT_FOR) {
    heard = 0;
    connection(false);
    open();
  }
}, 5000);
window.addEventListener("online", () => wanted && !connected && open());
