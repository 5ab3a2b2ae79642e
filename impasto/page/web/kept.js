// Own paintings, kept in this browser (IndexedDB). Where it keeps nothing, as in some private windows, they last for the visit.

const STORE = "paintings";

let database = null;

function opened() {
  database ||= new Promise((done, fail) => {
    const request = indexedDB.open("impasto", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
  return database;
}

async function request(mode, ask) {
  const store = (await opened()).transaction(STORE, mode).objectStore(STORE);
  return new Promise((done, fail) => {
    const asked = ask(store);
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => fail(asked.error);
  });
}

/** All, {id, name, blob, thumbnail}, oldest first. */
export const all = async () => (await request("readonly", (store) => store.getAll()).catch(() => [])).sort((a, b) => a.added - b.added);

/** Whether it is kept beyond this visit. */
export const put = (painting) => request("readwrite", (store) => store.put(painting)).then(() => true, () => false);

export const remove = (id) => request("readwrite", (store) => store.delete(id)).catch(() => {});
