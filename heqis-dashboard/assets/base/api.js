// Requests to the server, and its event stream.

export class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Returns `path` with a query of the entries that are not undefined, null, false or empty. */
export function withQuery(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function read(response) {
  const body = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new RequestError(response.status, body.error);
  return body;
}

export const get = async (path, query) => read(await fetch(withQuery(path, query), { credentials: "same-origin" }));

/** Requests an action; `body`, if given, is sent as JSON. */
export const post = async (path, body) => read(await fetch(path, {
  method: "POST", credentials: "same-origin",
  ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
}));

/** Keeps one stream open while the page is visible. `on` has handlers live, decisions, resync, jobs and state ("good" or "bad"). */
export function listen(on) {
  let source;
  let retry;
  const open = () => {
    clearTimeout(retry);
    source?.close();
    source = new EventSource("/api/stream");
    source.onopen = () => on.state("good");
    source.onerror = () => {
      on.state("bad");
      // A browser reconnects by itself after a broken connection, but not after an error response.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, 2000);
    };
    for (const name of ["live", "decisions", "resync", "jobs"]) {
      source.addEventListener(name, (event) => on[name](JSON.parse(event.data)));
    }
  };
  // A browser opens at most six connections to a host: a hidden page releases its own.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(retry);
      source?.close();
    } else {
      open();
    }
  });
  open();
}
