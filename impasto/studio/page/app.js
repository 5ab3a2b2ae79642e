// The start: session, limits, theme, views.

import { UNREACHABLE, api, hush, listen, server } from "./api.js";
import { startBlend } from "./blend.js";
import { startDials } from "./dials.js";
import { $, problem, say } from "./shared/dom.js";
import { showGallery, startGallery } from "./gallery.js";
import { startInstant } from "./instant.js";
import { changes, reload } from "./jobs.js";
import { startPaint } from "./paint.js";
import { restorePhoto, startPhoto } from "./photo.js";
import { startQueue } from "./queue.js";
import { editor, restore, state } from "./state.js";
import { loadStyles, startStyles } from "./styles.js";
import { themeButton } from "./shared/theme-button.js";
import { startViewer } from "./viewer.js";
import { bytes, count, title } from "./words.js";

const LOW = 2e9; // bytes of free disk below which the page says so
const VIEWS = ["studio", "batch", "queue", "gallery"];

themeButton($("theme"));

// ---------------------------------------- views

let ready = false;
let view = "";

function route() {
  const wanted = location.hash.slice(1);
  if (wanted === "main") {
    $("main").focus();
    history.replaceState(null, "", view ? `#${view}` : location.pathname);
    return;
  }
  if (!ready) return;
  const next = VIEWS.includes(wanted) ? wanted : "studio";
  for (const name of VIEWS) $(`view-${name}`).hidden = name !== next;
  for (const link of $("nav").querySelectorAll("a")) {
    if (link.getAttribute("href") === `#${next}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view && view !== next) window.scrollTo(0, 0);
  view = next;
  if (next === "gallery") showGallery();
  if (next === "batch") import("./batch.js").then((one) => one.show(), () => problem($("batch-problem"), UNREACHABLE));
}

let brush = null;

/** The brush for regions is loaded with the first photograph. */
function startBrush() {
  if (!state.photo) return;
  brush ||= import("./regions.js").then((one) => one.startRegions(), () => {
    brush = null;
    problem($("regions-problem"), UNREACHABLE);
  });
}

window.addEventListener("hashchange", () => (tokenIn(location.hash) ? location.reload() : route()));

// ---------------------------------------- session

const tokenIn = (address) => new URLSearchParams(address.split("#").at(-1)).get("token");

async function session() {
  const token = tokenIn(location.hash);
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  await api.openSession(token).catch((error) => {
    if (error.status !== 401) throw error;
    problem($("signin-problem"), error);
  });
}

/** Nothing but one screen. */
function only(id) {
  for (const one of ["signin", "broken", ...VIEWS.map((name) => `view-${name}`)]) $(one).hidden = one !== id;
  $("nav").hidden = true;
}

server.on("locked", () => {
  hush();
  only("signin");
  if (ready) problem($("signin-problem"), "The session has ended.");
});

$("signin-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("token").value.trim();
  try {
    await api.openSession(tokenIn(text) || text);
    location.reload();
  } catch (error) {
    problem($("signin-problem"), error);
    $("token").focus();
  }
});

$("broken-again").addEventListener("click", () => location.reload());

// ---------------------------------------- limits

function drawLimits({ keep_days: days, free_disk: free }) {
  const low = typeof free === "number" && free < LOW;
  $("disk").hidden = !low;
  $("disk").textContent = low ? `Only ${bytes(free)} are free on the disk of the studio. Delete pictures that you do not need.` : "";
  $("keep-days").hidden = !days;
  if (days) $("keep-days").textContent = `Pictures are deleted after ${count(days, "day", "days")}, because the studio was started with --keep-days ${days}. Download those that you want to keep.`;
}

const checkDisk = () => api.limits().then(drawLimits, () => {});

// ---------------------------------------- start

server.on("connection", (now) => {
  $("lost").textContent = now ? "" : "Connection lost, trying again";
  if (now) for (const one of document.querySelectorAll(".problem")) if (one.textContent === UNREACHABLE) problem(one, null);
});

server.on("reload", () => ready && loadStyles().catch(() => {})); // when it fails, the connection is lost again

changes.on("job", ({ job, before }) => {
  if (!before || before.state === job.state) return;
  if (job.state === "done") say(`Done: ${title(job)}.`);
  if (job.state === "failed") say(`Failed: ${title(job)}. ${job.error || ""}`);
  if (["done", "failed"].includes(job.state)) checkDisk();
});

async function start() {
  restore();
  await session();
  const [limits] = await Promise.all([api.limits(), restorePhoto()]);
  drawLimits(limits);
  $("anywhere").hidden = !limits.anywhere;
  startDials(limits);
  startPhoto(limits);
  startInstant();
  editor.on("photo", startBrush);
  startPaint();
  startQueue();
  startViewer();
  startGallery();
  await startStyles();
  startBlend();
  editor.emit("photo");
  ready = true;
  $("nav").hidden = false;
  route();
  listen();
  await reload().catch((error) => problem($("queue-problem"), error));
  if (state.shown === "job") editor.emit("shown");
  setInterval(checkDisk, 300_000);
}

start().catch((error) => {
  if (error.status === 401) return;
  only("broken");
  $("broken-text").textContent = error.status === undefined ? "Something in the page failed. Load it again." : error.message;
  if (error.status === undefined) console.error(error);
});
