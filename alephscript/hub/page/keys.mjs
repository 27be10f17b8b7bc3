// The keyboard: Tab goes from one list to the next, arrow keys go through it, `/` leads to the search.

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/**
 * Let arrow keys, Home and End go through what in a container matches a selector, of which Tab
 * reaches one. Returns a function to be called when the contents have changed.
 *
 * What matches has to be made with `tabindex` -1.
 */
export function roam(container, selector) {
  let current = null;
  const settle = (item) => {
    if (current !== item && current) current.tabIndex = -1;
    current = item ?? null;
    if (current) current.tabIndex = 0;
  };
  container.addEventListener("focusin", ({ target }) => {
    const item = target.closest(selector);
    if (item) settle(item);
  });
  container.addEventListener("keydown", (event) => {
    const at = event.target.closest(selector);
    if (at === null || event.ctrlKey || event.altKey || event.metaKey) return;
    const isEnd = event.key === "Home" || event.key === "End";
    if (!isEnd && !Object.hasOwn(STEPS, event.key)) return;
    const all = [...container.querySelectorAll(selector)].filter((each) => each.checkVisibility());
    const index = all.indexOf(at) + (STEPS[event.key] ?? 0);
    const next = event.key === "Home" ? all[0] : event.key === "End" ? all.at(-1) : all[index];
    event.preventDefault();
    next?.focus();
  });
  return () => {
    if (current && container.contains(current) && container.contains(document.activeElement))
      return;
    settle(container.querySelector(selector));
  };
}

/** Have `/` lead to a search field from anywhere but another field, and Escape empty the field. */
export function search(field) {
  addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input, select, textarea");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || field.value === "") return;
    event.preventDefault();
    field.value = "";
    field.dispatchEvent(new Event("input"));
  });
}
