// The service worker: keeps every file of the page, so that it opens offline, and adds the headers that static servers often cannot
// set. With them the page is isolated from other sites, and the browser lets it compute with several threads.
//
// A file is kept under its name and the SHA-256 that files.js states, and only if its bytes are these.

importScripts("files.js");

const { files } = self.IMPASTO;
const SCOPE = new URL(self.registration.scope);
const CACHE = `impasto ${SCOPE.pathname}`;
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' blob:; manifest-src 'self'; form-action 'none'; base-uri 'none'",
};

const key = (name) => new URL(`${name}?${files[name][0]}`, SCOPE).href;

/** The name of the file at an address, "" for others. */
function nameAt(address) {
  const url = new URL(address);
  if (url.origin !== SCOPE.origin || !url.pathname.startsWith(SCOPE.pathname)) return "";
  const name = decodeURIComponent(url.pathname.slice(SCOPE.pathname.length)) || "index.html";
  return Object.hasOwn(files, name) ? name : "";
}

async function digest(bytes) {
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...found].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** An answer with the headers of isolation. */
function isolated(answer) {
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}

const ask = (name) => fetch(new URL(name, SCOPE), { cache: "no-cache" });

async function keep(name, answer) {
  if (!answer.ok) return;
  const type = answer.headers.get("Content-Type") || "application/octet-stream";
  const bytes = await answer.arrayBuffer();
  if ((await digest(bytes)) !== files[name][0]) return; // of another version, while the page is being replaced on the server
  const cache = await caches.open(CACHE);
  await cache.put(key(name), new Response(bytes, { headers: { "Content-Type": type } }));
}

/** Keep the files of some kinds that are not kept yet. Returns how many are missing in the end. */
async function complete(kinds) {
  const names = Object.keys(files).filter((name) => kinds.includes(files[name][2]));
  let missing = 0;
  for (const name of names) {
    const cache = await caches.open(CACHE);
    if (await cache.match(key(name))) continue;
    await ask(name).then((answer) => keep(name, answer)).catch(() => {});
    if (!(await cache.match(key(name)))) missing++;
  }
  return missing;
}

self.addEventListener("install", (event) => event.waitUntil(complete(["shell"])));

async function activate() {
  const cache = await caches.open(CACHE);
  const wanted = new Set(Object.keys(files).map(key));
  for (const { url } of await cache.keys()) if (!wanted.has(url)) await cache.delete(url);
  await self.clients.claim();
}

self.addEventListener("activate", (event) => event.waitUntil(activate()));

async function answered(event, name) {
  const kept = await (await caches.open(CACHE)).match(key(name));
  if (kept) return isolated(kept);
  const answer = await ask(name);
  event.waitUntil(keep(name, answer.clone()));
  return isolated(answer);
}

/** The list itself, which cannot state its own hash. */
function listed() {
  return new Response(`self.IMPASTO = ${JSON.stringify(self.IMPASTO)};`, { headers: { "Content-Type": "text/javascript" } });
}

self.addEventListener("fetch", (event) => {
  if (event.request.url === new URL("files.js", SCOPE).href) return event.respondWith(isolated(listed()));
  const name = event.request.method === "GET" ? nameAt(event.request.url) : "";
  if (name) event.respondWith(answered(event, name));
});

self.addEventListener("message", (event) => {
  const [port] = event.ports;
  event.waitUntil(complete(event.data.kinds).then((missing) => port.postMessage({ missing })));
});
