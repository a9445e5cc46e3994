// Preferences in the browser's local storage; without storage the defaults apply.

export function stored(key, fallback) {
  try {
    return localStorage.getItem(`heqis.${key}`) ?? fallback;
  } catch {
    return fallback;
  }
}

export function store(key, value) {
  try {
    localStorage.setItem(`heqis.${key}`, value);
  } catch {
    // Without storage the preference lasts until the page is reloaded.
  }
}
