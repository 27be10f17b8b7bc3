// A table that is filtered by what is told, sorted by a click on a column, and whose rows may fold.

import { element, show, write } from "./dom.mjs";
import { roam } from "./keys.mjs";

const MOST = 200; // rows that are drawn

export class Table {
  #columns;
  #keyOf;
  #more;
  #sorted = 0; // the column
  #isDown = false;
  #rows = [];
  #unfolded = new Set(); // keys
  #body = element("tbody");
  #heads;
  #settle = [];
  #section;
  #part;

  /**
   * `columns` are `{title, value(row), show(cell, row), kind}`, sorted by `value`; `more(row)`
   * returns `{node, update(row)}` of what a row shows when it is unfolded, if rows fold; `sorted`
   * is the column by which they are sorted at first.
   */
  constructor(section, { columns, keyOf, more = null, sorted = 0 }) {
    this.#section = section;
    this.#columns = columns;
    this.#keyOf = keyOf;
    this.#more = more;
    this.#sorted = sorted;
    this.#isDown = isFigure(columns[sorted]);
    this.#part = (name) => section.querySelector(`[data-part="${name}"]`);
    this.#heads = columns.map(({ title, kind = "" }, index) => {
      const sort = { type: "button", tabindex: "-1", onclick: () => this.#sort(index) };
      return element("th", { scope: "col", class: kind }, element("button", sort, title));
    });
    const head = element("thead", {}, element("tr", {}, ...this.#heads));
    section.querySelector("table").append(head, this.#body);
    this.#settle = [roam(head, "button"), roam(this.#body, "a, button")];
    section.querySelector("details").addEventListener("toggle", () => this.#draw());
    this.#mark();
  }

  /** Show rows, `total` of which there were before they were filtered. */
  show(rows, total) {
    this.#rows = rows;
    write(this.#part("total"), rows.length === total ? String(total) : `${rows.length} of ${total}`);
    this.#draw();
  }

  #sort(index) {
    const isSame = this.#sorted === index;
    // Figures are sorted for their largest, names for their first.
    this.#isDown = isSame ? !this.#isDown : isFigure(this.#columns[index]);
    this.#sorted = index;
    this.#mark();
    this.#draw();
  }

  #mark() {
    this.#heads.forEach((head, index) => {
      if (index !== this.#sorted) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", this.#isDown ? "descending" : "ascending");
    });
  }

  #draw() {
    if (!this.#section.querySelector("details").open) return;
    const { value } = this.#columns[this.#sorted];
    const sign = this.#isDown ? -1 : 1;
    const sorted = this.#rows
      .map((row) => ({ row, by: value(row), key: this.#keyOf(row) }))
      .sort((one, other) => sign * compare(one.by, other.by) || compare(one.key, other.key));
    const drawn = sorted.slice(0, MOST).flatMap(({ row, key }) => {
      const isUnfolded = this.#more !== null && this.#unfolded.has(key);
      return [{ row, key, part: "row" }, ...(isUnfolded ? [{ row, key, part: "more" }] : [])];
    });
    const left = sorted.length - MOST;
    if (left > 0) drawn.push({ key: String(left), part: "left" });
    show(this.#body, drawn, ({ key, part }) => `${part} ${key}`, (each) => this.#make(each));
    this.#part("empty").hidden = this.#rows.length > 0;
    for (const settle of this.#settle) settle();
  }

  #make({ row, key, part }) {
    const colspan = String(this.#columns.length);
    if (part === "left") {
      const text = `${key} more; the search finds them`;
      const node = element("tr", {}, element("td", { colspan, class: "about" }, text));
      return { node, update() {} };
    }
    if (part === "more") {
      const { node, update } = this.#more(row);
      const cell = element("td", { colspan }, node);
      return { node: element("tr", { class: "more" }, cell), update: ({ row: now }) => update(now) };
    }
    const cells = this.#columns.map(({ kind = "" }) => element("td", { class: kind }));
    const fold = this.#more === null ? null : this.#fold(key);
    const contents = cells.map((cell, index) => {
      const content = element("span");
      cell.append(...(index === 0 && fold ? [fold] : []), content);
      return content;
    });
    return {
      node: element("tr", {}, ...cells),
      update: ({ row: now }) => {
        fold?.setAttribute("aria-expanded", String(this.#unfolded.has(key)));
        this.#columns.forEach((column, index) => {
          column.show(contents[index], now);
        });
      },
    };
  }

  #fold(key) {
    const label = { "aria-label": "Capabilities", "aria-expanded": "false", tabindex: "-1" };
    return element("button", {
      type: "button",
      class: "fold",
      ...label,
      onclick: () => {
        if (!this.#unfolded.delete(key)) this.#unfolded.add(key);
        this.#draw();
      },
    });
  }
}

function isFigure({ kind = "" }) {
  return kind.includes("number");
}

/** Numbers by size, texts by their letters; null is last. */
function compare(one, other) {
  if (one === other) return 0;
  if (one === null) return 1;
  if (other === null) return -1;
  if (typeof one === "number") return one - other;
  return one.localeCompare(other, undefined, { numeric: true });
}
