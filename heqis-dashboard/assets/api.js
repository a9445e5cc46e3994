// The server's answers, and its stream of events.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Reads `path` with a query made of what is neither undefined nor empty. */
export async function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const asked = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const answer = await fetch(asked, { credentials: "same-origin" });
  const body = await answer.json().catch(() => ({ error: answer.statusText }));
  if (!answer.ok) throw new Refused(answer.status, body.error);
  return body;
}

export async function post(path) {
  const answer = await fetch(path, { method: "POST", credentials: "same-origin" });
  if (!answer.ok) throw new Refused(answer.status, (await answer.json().catch(() => ({}))).error);
}

/** Keeps one stream open while the page is seen. `on` has live, decisions, resync and state ("good" or "bad"). */
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
    for (const name of ["live", "decisions", "resync"]) {
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
