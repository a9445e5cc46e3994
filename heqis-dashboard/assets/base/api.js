// The server's answers, and its stream of events.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** `path` with a query made of what is neither undefined, null nor empty. */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function read(answer) {
  const body = await answer.json().catch(() => ({ error: answer.statusText }));
  if (!answer.ok) throw new Refused(answer.status, body.error);
  return body;
}

export const get = async (path, query) => read(await fetch(address(path, query), { credentials: "same-origin" }));

/** Asks for an action; `body` is sent as JSON when there is one. */
export const post = async (path, body) => read(await fetch(path, {
  method: "POST", credentials: "same-origin",
  ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
}));

/** Keeps one stream open while the page is seen. `on` has live, decisions, resync, jobs and state ("good" or "bad"). */
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
      // A browser tries again by itself after a broken connection, but not after a refusal.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, 2000);
    };
    for (const name of ["live", "decisions", "resync", "jobs"]) {
      source.addEventListener(name, (event) => on[name](JSON.parse(event.data)));
    }
  };
  // Six connections are all that a browser gives a host: one that nobody looks at is given back.
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
