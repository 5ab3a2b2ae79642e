// The page's side of the service worker.

const TRIED = "impasto.isolation";
const PATIENCE = 5000; // milliseconds until the page starts without it

const workers = navigator.serviceWorker; // undefined where the address is not secure

/** Resolves once the service worker answers for this page; false where that takes too long. */
function controlled() {
  if (workers.controller) return Promise.resolve(true);
  return new Promise((done) => {
    workers.addEventListener("controllerchange", () => done(true), { once: true });
    setTimeout(done, PATIENCE, false);
  });
}

/**
 * Install the service worker, and load the page again if that isolates it, which several threads need; once in a visit at most.
 * Resolves when the page may start.
 */
export async function install() {
  if (!workers) return;
  try {
    await workers.register("sw.js", { updateViaCache: "none" });
    if (crossOriginIsolated) sessionStorage.removeItem(TRIED);
    else if (!sessionStorage.getItem(TRIED) && (await controlled())) {
      sessionStorage.setItem(TRIED, "1");
      location.reload();
      await new Promise(() => {});
    }
  } catch {
    // Without it, or without storage, the page needs its server, and one thread paints.
  }
}

/** Have everything kept for use offline. Returns whether it is. gpu: whether the files for WebGPU are used. */
export async function keep(gpu) {
  if (!workers || !(await controlled())) return false;
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise((done) => (port1.onmessage = ({ data }) => done(data.missing === 0)));
  workers.controller.postMessage({ kinds: ["shell", "paint", ...(gpu ? ["webgpu"] : [])] }, [port2]);
  return answer;
}
