// The page: shows what the mesh tells, and asks it what the viewer wants.

import { chart, POINTS } from "./chart.mjs";
import { element, named, show, write } from "./dom.mjs";
import { between, duration, perSecond } from "./figures.mjs";
import { keyOf, Trial } from "./form.mjs";
import { Mesh } from "./mesh.mjs";
import { NAMESPACE } from "./socket.mjs";
import { Stream } from "./stream.mjs";
import { printable } from "./text.mjs";

const POLL_MS = 1000;
const LOOK_EVERY = 5; // polls; masters that change are heard of at once
const WINDOW = 10; // polls that a capability's figures are taken over

const $ = (id) => document.getElementById(id);
const LINKS = {
  connecting: "connecting …",
  joined: "connected",
  lost: "no link to the hub, trying again …",
  refused: "the hub does not let this page in: ",
  unauthorized: "the hub wants to know who you are",
};

const mesh = new Mesh({
  changed: () => showMesh(),
  told: (event) => stream.add(event),
  token,
});
const stream = new Stream($("events"));
const trial = new Trial($("try").querySelector("form"), (...asked) => mesh.call(...asked));
const showRate = chart($("rate"), "Requests a second", ["requests", "failed"], rate);
const showP95 = chart($("p95"), "p95 latency", ["p95"], duration);
const polls = []; // the latest last
let figures = new Map(); // by capability

function rate(value) {
  return value === null ? "–" : `${perSecond(value)}/s`;
}

// The room that is looked at is in the address, so that it can be kept and sent.

function wanted() {
  const found = /^#room=(.+)$/.exec(location.hash);
  try {
    return found && decodeURIComponent(found[1]);
  } catch {
    return null; // nobody's link
  }
}

function address(room) {
  return room === null ? "#" : `#room=${encodeURIComponent(room)}`;
}

addEventListener("hashchange", () => {
  mesh.look(wanted());
  showMesh();
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the room's
  $("try").focus();
});

// What the mesh is.

function showMesh() {
  const { link, rooms } = mesh;
  $("link").dataset.state = link;
  write($("link"), link === "refused" ? LINKS[link] + mesh.reason : LINKS[link]);
  $("token").hidden = link !== "unauthorized";
  const room = wanted();
  const all = [null, ...rooms.map(({ roomId }) => roomId)];
  if (!all.includes(room)) all.push(room); // it may come back
  show($("rooms"), all, (each) => JSON.stringify(each), roomItem);
  const within = rooms.filter(({ roomId }) => room === null || roomId === room);
  const offers = mesh.offers.filter((each) => room === null || each.room === room);
  const masters = [...new Set(within.flatMap((each) => each.masters))].map((name) => ({
    name,
    rooms: within
      .filter((each) => each.masters.includes(name))
      .map((each) => ({ ...each, offers: offered(offers, each.roomId, name) })),
  }));
  show($("masters"), masters, ({ name }) => name, masterItem);
  $("no-masters").hidden = masters.length > 0;
  const there = new Set(within.flatMap(({ miembros }) => miembros.map(({ name }) => name)));
  const members = mesh.members.filter(({ name }) => room === null || there.has(name));
  show($("members"), members, ({ name }) => name, memberItem);
  trial.offer(offers);
}

function roomItem(room) {
  const count = element("small");
  const link = element(
    "a",
    { href: address(room) },
    room === null ? "all rooms" : named(room),
    " ",
    count,
  );
  const update = () => {
    if (room === wanted()) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    const found = mesh.rooms.find(({ roomId }) => roomId === room);
    const others = found?.miembros.filter(({ name }) => name !== mesh.name).length ?? 0;
    write(count, room === null ? String(mesh.rooms.length) : String(others));
    count.title = room === null ? "rooms" : "members, this page not counted";
  };
  return { node: element("li", {}, link), update };
}

function health(name) {
  const known = mesh.health.get(name);
  const member = mesh.members.find((each) => each.name === name);
  if (member && !member.id) return ["silent", "says nothing about itself"];
  if (known === undefined) return ["unknown", "not asked yet"];
  return known === null ? ["bad", "does not answer"] : ["good", `answers in ${duration(known)}`];
}

function healthOf(name) {
  const node = element("span", { class: "health" });
  return {
    node,
    update: () => {
      const [state, text] = health(name);
      node.dataset.state = state;
      write(node, text);
    },
  };
}

function offered(offers, room, master) {
  return offers.filter((each) => each.room === room && each.masters.includes(master));
}

function masterItem({ name }) {
  const state = healthOf(name);
  const served = element("div");
  const node = element("li", { class: "card" }, element("h3", {}, named(name)), state.node, served);
  return {
    node,
    update: ({ rooms }) => {
      state.update();
      show(served, rooms, ({ roomId }) => roomId, servedRoom);
    },
  };
}

function servedRoom({ roomId }) {
  const about = element("small");
  const list = element("ul", { class: "capabilities" });
  const node = element(
    "div",
    {},
    element("p", { class: "where" }, named(roomId), " ", about),
    list,
  );
  return {
    node,
    update: ({ offers, masters, epoch }) => {
      const group = offers[0]?.group ?? "single";
      const shared = masters.length > 1 ? ` with ${masters.length - 1} more` : "";
      write(about, `${group}${shared}, epoch ${epoch}`);
      show(list, offers, keyOf, capabilityItem);
    },
  };
}

function capabilityItem(offer) {
  const now = element("small");
  const choose = () => trial.choose(keyOf(offer), { focus: true });
  const label = [named(offer.capability), " ", now];
  const button = element(
    "button",
    { type: "button", class: "capability", onclick: choose },
    ...label,
  );
  return {
    node: element("li", {}, button),
    update: ({ capability, summary }) => {
      button.title = printable(summary ?? "", { lines: true });
      const of = figures.get(capability);
      write(now, of?.rate ? `${rate(of.rate)} · ${duration(of.p95)}` : "");
    },
  };
}

function memberItem({ name }) {
  const state = healthOf(name);
  const own = name === mesh.name ? [" ", element("small", {}, "this page")] : [];
  return { node: element("li", {}, named(name), ...own, state.node), update: state.update };
}

// What the hub counts.

async function poll() {
  const headers = token() ? { authorization: `Bearer ${token()}` } : {};
  let answer;
  try {
    answer = await fetch("mesh", { headers, cache: "no-store" });
  } catch {
    return; // the link says that the hub is away
  }
  $("uncounted").hidden = answer.ok;
  if (!answer.ok) return;
  const counts = await answer.json();
  polls.push({ at: performance.now() / 1000, counts });
  if (polls.length > POINTS + 1) polls.shift();
  const { version, uptime, clients } = counts.hub;
  const inFlight = counts.namespaces[NAMESPACE]?.in_flight ?? 0;
  mesh.version = version;
  write($("hub"), `${version} · up ${since(uptime)} · ${clients} clients · ${inFlight} in flight`);
  showFigures();
  const dropped = counts.namespaces[NAMESPACE]?.dropped ?? [];
  $("drops").hidden = dropped.length === 0;
  show($("dropped"), dropped, ({ event, reason }) => JSON.stringify([event, reason]), dropItem);
}

function dropItem({ event, reason }) {
  const count = element("small");
  return {
    node: element("li", {}, named(event), " ", element("small", {}, reason), " ", count),
    update: (drop) => write(count, String(drop.count)),
  };
}

function showFigures() {
  const steps = polls.slice(1).map((each, index) => between(polls[index], each, NAMESPACE));
  const column = (name) => steps.map((each) => each[name]);
  showRate(column("rate"), column("failures"));
  showP95(column("p95"));
  const first = polls.at(-1 - Math.min(WINDOW, polls.length - 1));
  figures = between(first, polls.at(-1), NAMESPACE).capabilities;
}

function since(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

async function keepLooking() {
  for (let round = 1; ; round += 1) {
    const clients = polls.at(-1)?.counts.hub.clients;
    await poll();
    const isDue = round % LOOK_EVERY === 0;
    if (isDue || clients !== polls.at(-1)?.counts.hub.clients) await mesh.refresh();
    if (isDue && mesh.link === "joined") await mesh.ping();
    else showMesh();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

// Who the viewer is, if the hub asks: for as long as the tab is open.

function token() {
  return sessionStorage.getItem("alephscript token");
}

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("alephscript token", $("token-value").value);
  $("token-value").value = "";
  mesh.connect();
});

mesh.look(wanted());
mesh.connect();
keepLooking();
