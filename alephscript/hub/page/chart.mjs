// A small chart of what the hub has measured lately; the value under the pointer is told.

import { drawn, element, write } from "./dom.mjs";
import { span } from "./figures.mjs";

const RULES = [0, 50, 100];

/** The least of 1, 2, 5, 10, 20 … that is not below a value. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((each) => each * power >= value * 0.9999) * power;
}

/**
 * What is known, as `{line, dots}` for SVG: a line that has a gap where nothing is known, and a dot
 * for each point that has no neighbour, since a line of one point cannot be seen.
 *
 * The last of `values` is at `width`, the others one to the left each.
 */
export function path(values, highest, width) {
  let [line, dots] = ["", ""];
  values.forEach((value, index) => {
    if (value === null) return;
    const at = `${width - values.length + 1 + index} ${(100 - (100 * value) / highest).toFixed(2)}`;
    const [before, after] = [values[index - 1] ?? null, values[index + 1] ?? null];
    line += before === null ? `M${at}` : `L${at}`;
    if (before === null && after === null) dots += `M${at}h0`;
  });
  return { line, dots };
}

/**
 * A chart in a `<figure>`; returns a function that shows series of values, the latest last:
 * `(series, {step, most})`, a value every `step` seconds, at most `most` of them.
 *
 * `names` are the series', `format` says a value as it is read; `besides` are nodes to be put
 * behind the present value.
 */
export function chart(figure, title, names, format, besides = []) {
  const now = element("strong", { class: "now" });
  const top = element("span", { class: "top" });
  const series = names.map((_, index) => ({
    line: drawn("path", { class: `line series-${index}` }),
    dots: drawn("path", { class: `dots series-${index}` }),
  }));
  const grid = drawn("path", { class: "grid" });
  const drawing = drawn(
    "svg",
    { preserveAspectRatio: "none", "aria-hidden": "true" },
    grid,
    ...series.flatMap(({ line, dots }) => [line, dots]),
  );
  const mark = element("span", { class: "mark" });
  const told = element("span", { class: "told" });
  const plot = element(
    "div",
    { class: "plot", role: "slider", tabindex: "0", "aria-label": title, "aria-valuemin": "0" },
    top,
    drawing,
    mark,
    told,
  );
  const past = element("span");
  figure.append(
    element("figcaption", {}, element("span", {}, title), ...besides, now),
    plot,
    element("div", { class: "axis" }, past, element("span", {}, "now")),
  );

  let [shown, step, most] = [names.map(() => []), 1, 2];
  let pointed = null; // steps ago

  const point = (ago) => {
    pointed = ago === null ? null : Math.max(0, Math.min(ago, shown[0].length - 1));
    mark.hidden = told.hidden = pointed === null;
    const values = shown.map((each) => each.at(-1 - (pointed ?? 0)) ?? null);
    const said = names.map((name, index) => `${name} ${format(values[index])}`).join(", ");
    const when = pointed ? `${span(pointed * step)} ago` : "now";
    plot.setAttribute("aria-valuenow", String(most - 1 - (pointed ?? 0)));
    const known = shown.flat().filter((value) => value !== null);
    const highest = known.length ? format(Math.max(...known)) : "nothing";
    plot.setAttribute("aria-valuetext", `${said}, ${when}; at most ${highest}`);
    if (pointed === null) return;
    const right = (100 * pointed) / (most - 1);
    mark.style.right = `${right}%`;
    told.style.right = right > 50 ? "" : `calc(${right}% + 8px)`;
    told.style.left = right > 50 ? `calc(${100 - right}% + 8px)` : "";
    write(told, `${said} · ${when}`);
  };
  plot.addEventListener("pointermove", ({ clientX }) => {
    const { right, width } = plot.getBoundingClientRect();
    point(Math.round(((right - clientX) / width) * (most - 1)));
  });
  plot.addEventListener("pointerleave", () => point(null));
  plot.addEventListener("blur", () => point(null));
  plot.addEventListener("keydown", (event) => {
    const ago = pointed ?? 0;
    const to = { ArrowLeft: ago + 1, ArrowRight: ago - 1, Home: most - 1, End: 0 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point(to);
  });

  return (values, scale) => {
    [shown, step, most] = [values, scale.step, scale.most];
    const width = most - 1;
    drawing.setAttribute("viewBox", `0 0 ${width} 100`);
    grid.setAttribute("d", RULES.map((y) => `M0 ${y}h${width}`).join(""));
    plot.setAttribute("aria-valuemax", String(width));
    const known = values.flat().filter((value) => value !== null);
    const highest = ceiling(Math.max(0, ...known));
    values.forEach((each, index) => {
      const isSeen = index === 0 || each.some((value) => value > 0); // further ones if there is any
      const { line, dots } = isSeen ? path(each, highest, width) : { line: "", dots: "" };
      series[index].line.setAttribute("d", line);
      series[index].dots.setAttribute("d", dots);
    });
    write(now, format(values[0].at(-1) ?? null));
    write(top, format(highest));
    write(past, `${span(step * most)} ago`);
    point(pointed);
  };
}
