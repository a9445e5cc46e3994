// What the page remembers in this browser. Where nothing may be kept, it forgets.

export function kept(key, otherwise) {
  try {
    return localStorage.getItem(`heqis.${key}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function keep(key, value) {
  try {
    localStorage.setItem(`heqis.${key}`, value);
  } catch {
    // A browser that keeps nothing shows the page as it is set up.
  }
}
