// Everything that was made, newest first.

import { api, at } from "./api.js";
import { $, act, button, h, icon, problem } from "./shared/dom.js";
import { ENDED, changes, remove } from "./jobs.js";
import { confirmDrop, isPicture, openVersus, openViewer } from "./viewer.js";
import { facts, title } from "./words.js";

const PAGE = 24;

const cards = new Map(); // by id: {job, element}
let picked = []; // ids to compare, two at most
let loaded = false;
let version = 0;

function build(job) {
  const name = title(job);
  const wide = job.result.width / job.result.height;
  const image = h("img", { src: at.result(job, { size: 480 }), alt: "", loading: "lazy", decoding: "async", width: 480, height: Math.max(1, Math.round(480 / wide)) });
  const open = h("button", { type: "button", class: "open", "aria-label": `Open ${name}`, on: { click: () => openViewer(cards.get(job.id).job) } }, image, job.video ? icon("play") : null);
  const pick = h("input", { type: "checkbox", "aria-label": `Compare ${name}` });
  pick.addEventListener("change", () => toggle(job.id, pick.checked));
  const bin = button("", (event) => act(event.currentTarget, $("gallery-problem"), () => drop(job)), { look: "plain round", image: "trash", label: `Delete ${name}` });
  const element = h(
    "li",
    { class: "card" },
    open,
    h("p", { class: "caption", title: name }, h("bdi", { text: name })),
    h("div", { class: "line" }, h("p", { class: "soft small grow", text: facts(job) }), job.video ? null : h("label", { class: "check small" }, pick, "Compare"), bin),
  );
  return { job, element, pick };
}

async function drop(job) {
  if (!(await confirmDrop(job))) return;
  const { element } = cards.get(job.id);
  const next = element.nextElementSibling || element.previousElementSibling;
  await remove(job);
  (next?.querySelector(".open") || $("search")).focus();
}

function forget(id) {
  cards.get(id)?.element.remove();
  cards.delete(id);
  picked = picked.filter((one) => one !== id);
  drawPair();
  if (loaded) drawEmpty();
}

function drawEmpty() {
  const text = $("search").value.trim();
  $("gallery-empty").hidden = cards.size > 0;
  $("gallery-empty").textContent = cards.size ? "" : text ? `Nothing here is called “${text}”.` : "Nothing yet. What you paint is kept here.";
}

async function load({ fresh = false } = {}) {
  const mine = ++version;
  const last = fresh ? null : [...cards.values()].at(-1)?.job.id;
  const filter = { state: ENDED.join(","), result: 1, limit: PAGE, query: $("search").value.trim(), before: last };
  try {
    const { jobs: found, more } = await api.jobs(filter);
    if (mine !== version) return;
    problem($("gallery-problem"), null);
    if (fresh) {
      cards.clear();
      $("wall").replaceChildren();
    }
    let first = null;
    for (const job of found.filter((one) => isPicture(one) && !cards.has(one.id))) {
      cards.set(job.id, build(job));
      $("wall").append(cards.get(job.id).element);
      first ||= cards.get(job.id).element;
    }
    $("more").hidden = !more;
    loaded = true;
    picked = picked.filter((id) => cards.has(id));
    drawPair();
    drawEmpty();
    return first;
  } catch (error) {
    if (mine === version) problem($("gallery-problem"), error);
  }
}

async function more() {
  const first = await load();
  first?.querySelector(".open").focus();
}

function toggle(id, on) {
  picked = picked.filter((one) => one !== id);
  if (on) picked.push(id);
  if (picked.length > 2) picked.shift();
  drawPair();
}

function drawPair() {
  for (const [id, { pick }] of cards) pick.checked = picked.includes(id);
  $("pair").hidden = !picked.length;
  $("pair-open").disabled = picked.length < 2;
  const text = picked.length < 2 ? "Choose one more" : "Two chosen";
  if ($("pair-text").textContent !== text) $("pair-text").textContent = text;
}

/** A picture that was just finished goes to the front; with a search, ask again. */
function arrived(job) {
  if (!loaded || !isPicture(job)) return;
  if (cards.has(job.id)) cards.get(job.id).job = job;
  else if ($("search").value.trim()) load({ fresh: true });
  else {
    const card = build(job);
    const rest = [...cards];
    cards.clear();
    cards.set(job.id, card);
    for (const [id, one] of rest) cards.set(id, one);
    $("wall").prepend(card.element);
    drawEmpty();
  }
}

/** When the view is opened. */
export function showGallery() {
  if (!loaded) load({ fresh: true });
}

export function startGallery() {
  let typing = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(load, 250, { fresh: true });
  });
  $("more").addEventListener("click", more);
  $("pair-open").addEventListener("click", () => openVersus(...picked.map((id) => cards.get(id).job)));
  $("pair-clear").addEventListener("click", () => {
    picked = [];
    drawPair();
    $("search").focus();
  });
  changes.on("job", ({ job }) => arrived(job));
  changes.on("removed", forget);
  changes.on("reload", () => loaded && load({ fresh: true }));
}
