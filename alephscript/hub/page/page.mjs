// The page: shows what the mesh tells, and asks it what the viewer wants.

import { Asked } from "./asked.mjs";
import { chart } from "./chart.mjs";
import { element, named, put, show, who, write } from "./dom.mjs";
import { count, duration, perSecond, span } from "./figures.mjs";
import { keyOf, Trial } from "./form.mjs";
import { roam, search } from "./keys.mjs";
import { Live } from "./live.mjs";
import { Mesh, USUARIO } from "./mesh.mjs";
import { Recent } from "./recent.mjs";
import { address, parse } from "./route.mjs";
import { Said } from "./said.mjs";
import { NAMESPACE } from "./socket.mjs";
import { Table } from "./table.mjs";
import { Tasks } from "./tasks.mjs";
import { TaskTable, TaskView } from "./taskview.mjs";
import { printable } from "./text.mjs";
import { capabilityFacts, memberFacts, taskLook, View } from "./view.mjs";

const POLL_MS = 1000;
const LOOK_EVERY = 5; // polls; masters that change are heard of at once
const DEFAULT_HUBS = ["http://127.0.0.1:3010", "http://localhost:3010"];

const $ = (id) => document.getElementById(id);
const LINKS = {
  connecting: "connecting …",
  joined: "connected",
  lost: "no link to the hub, trying again …",
  refused: "the hub does not let this page in: ",
  unauthorized: "the hub wants to know who you are",
};

let wanted = parse(location.hash);
let byMaster = new Map(); // figures of the last seconds
let byCapability = new Map(); // by key, as `keyOf` makes it
let tried = null; // the capability that the form was made for, as it was looked at

const mesh = new Mesh({
  changed: () => showSoon(),
  told: (event) => said.add(event),
  taskChanged: (task) => tasks.heard(task),
  token,
});
const live = new Live(token, {
  asked: (entries, missed) => {
    const now = performance.now() / 1000;
    recent.add(entries, now, missed);
    byMaster = recent.by(({ master }) => master, now);
    byCapability = recent.by(keyOf, now);
    asked.add(entries);
  },
  restarted: () => {
    recent.clear();
    asked.clear();
  },
});
const recent = new Recent();
const asked = new Asked($("requests"));
const said = new Said($("events"), (...question) => mesh.ask(...question));
const view = new View($("view"));
const tasks = new Tasks((...asked) => mesh.ask(...asked), () => showSoon());
const taskView = new TaskView($("view-task"), tasks);
const trial = new Trial(
  $("try").querySelector("form"),
  (...call) => mesh.call(...call),
  async (...submission) => {
    location.hash = to({ task: (await tasks.submit(...submission)).id });
  },
);

// Where one can go.

function to(place) {
  return address({ room: wanted.room, ...place });
}

const settleRooms = roam($("rooms"), "a");
search($("find"));
$("find").addEventListener("input", () => showMesh());

addEventListener("hashchange", () => {
  const before = wanted;
  wanted = parse(location.hash);
  if (wanted.room !== before.room) mesh.look(wanted.room);
  lookAt();
  showMesh();
  if (wanted.member || wanted.capability || wanted.task) $("view").focus({ preventScroll: true });
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is that of what is looked at
  $("try").focus();
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText($(button.dataset.copy).textContent);
    write(button, "Copied");
  });
}
const hub = new URL(".", location.href).href.replace(/\/$/, ""); // it may be mounted somewhere
if (!DEFAULT_HUBS.includes(hub)) {
  write($("run-command"), `ALEPHSCRIPT_URL=${hub} python -m my_bot`);
}

/** Tell the lists what is looked at. */
function lookAt() {
  const { room, member, capability, of } = wanted;
  asked.look(of ?? room, capability, member);
  said.look(of ?? room, member);
  tasks.look(wanted.task);
}

// What the mesh is.

let isDue = false;

function showSoon() {
  if (isDue || document.hidden) return;
  isDue = true; // many changes at once are shown once
  requestAnimationFrame(showMesh);
}

document.addEventListener("visibilitychange", () => showSoon());

function showMesh() {
  isDue = false;
  const { link, rooms } = mesh;
  const { room } = wanted;
  $("link").dataset.state = link;
  write($("link"), link === "refused" ? LINKS[link] + mesh.reason : LINKS[link]);
  $("token").hidden = link !== "unauthorized";
  const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (...names) => {
    const text = names.join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const all = rooms.map(({ roomId }) => roomId);
  if (room !== null && !all.includes(room)) all.push(room); // it may come back
  show($("rooms"), [null, ...all.filter((each) => fits(each))], JSON.stringify, roomItem);
  settleRooms();
  const offers = mesh.offers.filter((each) => room === null || each.room === room);
  showMasters(offers, fits);
  const there = mesh.members.filter(({ rooms: inside, mastered }) => {
    return room === null || inside.includes(room) || mastered.includes(room);
  });
  const found = there.filter(({ name, rooms: inside }) => fits(name, ...inside));
  members.show(found, there.length);
  taskTable.show(tasks.all, room, fits);
  trial.offer(offers);
  const key = wanted.capability && keyOf({ room: wanted.of, capability: wanted.capability });
  if (key !== tried && (!key || offers.some((each) => keyOf(each) === key))) {
    tried = key;
    if (key) trial.choose(key);
  }
  showView();
  const isPage = ({ name }) => name === mesh.name || name.startsWith(USUARIO);
  const isEmpty = link === "joined" && mesh.members.every(isPage);
  $("welcome").hidden = !isEmpty;
  document.body.classList.toggle("is-empty", isEmpty);
}

function showMasters(offers, fits) {
  const byName = new Map();
  for (const offer of offers) {
    for (const name of offer.masters) {
      if (!byName.has(name)) byName.set(name, { name, offers: [] });
      byName.get(name).offers.push(offer);
    }
  }
  for (const { name, mastered } of mesh.members) {
    const isWithin = wanted.room === null ? mastered.length : mastered.includes(wanted.room);
    if (isWithin && !byName.has(name)) byName.set(name, { name, offers: [] });
  }
  const all = [...byName.values()].map((each) => ({
    ...each,
    rooms: [...new Set(each.offers.map(({ room }) => room))],
  }));
  const found = all.filter(({ name, offers: own }) =>
    fits(name, ...own.flatMap(({ room, capability }) => [room, capability])),
  );
  masters.show(found, all.length);
}

function roomItem(room) {
  const members = element("small");
  const link = element(
    "a",
    { href: address({ room }), tabindex: "-1" },
    room === null ? element("span", {}, "all rooms") : named(room),
    " ",
    members,
  );
  const update = () => {
    if (room === wanted.room) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    const found = mesh.rooms.find(({ roomId }) => roomId === room);
    const others = found?.miembros.filter(({ name }) => name !== mesh.name).length ?? 0;
    write(members, room === null ? String(mesh.rooms.length) : String(others));
    members.title = room === null ? "rooms" : "members, this page not counted";
  };
  return { node: element("li", {}, link), update };
}

// Tables.

function memberLink(cell, { name }) {
  const isOwn = name === mesh.name;
  put(cell, JSON.stringify([name, isOwn, wanted.room]), () => [
    element("a", { href: to({ member: name }), tabindex: "-1" }, who(name)),
    ...(isOwn ? [" ", element("small", {}, "this page")] : []),
  ]);
}

function roomNames(cell, { rooms }) {
  put(cell, JSON.stringify(rooms), () =>
    rooms.flatMap((each, index) => [...(index ? [", "] : []), named(each)]),
  );
}

function healthOf(name) {
  const known = mesh.health.get(name);
  const member = mesh.members.find((each) => each.name === name);
  if (member && !member.id) return ["silent", "says nothing"];
  if (known === undefined) return ["unknown", "…"];
  return known === null ? ["bad", "no answer"] : ["good", duration(known)];
}

function healthCell(cell, { name }) {
  const [state, text] = healthOf(name);
  cell.className = "health";
  cell.dataset.state = state;
  write(cell, text);
}

const healthColumn = {
  title: "Answers in",
  kind: "number",
  value: ({ name }) => mesh.health.get(name) ?? null,
  show: healthCell,
};
const nameColumn = { kind: "who", value: ({ name }) => name.toLowerCase(), show: memberLink };

const masters = new Table($("masters"), {
  columns: [
    { ...nameColumn, title: "Master" },
    {
      title: "Rooms",
      kind: "names",
      value: ({ rooms }) => rooms.join(" ").toLowerCase(),
      show: roomNames,
    },
    {
      title: "Offers",
      kind: "number",
      value: ({ offers }) => offers.length,
      show: (cell, { offers }) => write(cell, String(offers.length)),
    },
    {
      title: "Requests",
      kind: "number",
      value: ({ name }) => byMaster.get(name)?.rate ?? 0,
      show: (cell, { name }) => write(cell, rate(byMaster.get(name)?.rate ?? null)),
    },
    {
      title: "p95",
      kind: "number wide",
      value: ({ name }) => byMaster.get(name)?.p95 ?? null,
      show: (cell, { name }) => write(cell, duration(byMaster.get(name)?.p95 ?? null)),
    },
    healthColumn,
  ],
  keyOf: ({ name }) => name,
  more: () => {
    const list = element("ul", { class: "capabilities" });
    return { node: list, update: ({ offers }) => show(list, offers, keyOf, capabilityItem) };
  },
});

const members = new Table($("members"), {
  columns: [
    { ...nameColumn, title: "Member" },
    {
      title: "Rooms",
      kind: "names",
      value: ({ rooms }) => rooms.join(" ").toLowerCase(),
      show: roomNames,
    },
    {
      title: "Here for",
      kind: "number",
      value: (each) => -(connection(each)?.since ?? 0),
      show: (cell, each) => {
        const { since } = connection(each) ?? {};
        write(cell, since ? span(Date.now() / 1000 - since) : "–");
      },
    },
    {
      title: "Address",
      kind: "wide address",
      value: (each) => connection(each)?.address ?? "",
      show: (cell, each) => write(cell, connection(each)?.address || "–"),
    },
    {
      title: "Version",
      kind: "wide",
      value: ({ name }) => mesh.about.get(name)?.version ?? "",
      show: (cell, { name }) => write(cell, mesh.about.get(name)?.version ?? "–"),
    },
    healthColumn,
  ],
  keyOf: ({ name }) => name,
});

const taskTable = new TaskTable($("tasks"), to);

function connection({ id, name }) {
  return live.members.get(id) ?? live.members.get(name);
}

/** Since when the first of some members is there, in seconds; undefined if that is not known. */
function firstOf(names) {
  const known = mesh.members.filter(({ name }) => names.includes(name)).map(connection);
  const times = known.filter((each) => each !== undefined).map(({ since }) => since);
  return times.length ? Math.min(...times) : undefined;
}

function capabilityItem(offer) {
  const { room, capability } = offer;
  const now = element("small");
  const link = element(
    "a",
    { href: to({ capability, of: room }), class: "capability", tabindex: "-1" },
    named(capability),
    " ",
    now,
  );
  return {
    node: element("li", {}, link),
    update: ({ summary }) => {
      link.href = to({ capability, of: room });
      link.title = printable(summary ?? "", { lines: true });
      const of = byCapability.get(keyOf(offer));
      write(now, of ? `${rate(of.rate)} · ${duration(of.p95)}` : "");
    },
  };
}

// What is looked at by itself.

function showView() {
  const { room, member: name, capability, of, task: id } = wanted;
  taskView.show(id ? tasks.looked : null);
  document.body.dataset.view = id ? "task" : name ? "member" : capability ? "capability" : "";
  const close = address({ room });
  if (id) {
    view.show(taskLook({ id, task: tasks.looked, problem: tasks.problem, close, to }));
  } else if (name) {
    const member = mesh.members.find((each) => each.name === name);
    const about = mesh.about.get(name);
    view.show({
      key: JSON.stringify(["member", name]),
      kind: member ? "member" : mesh.link === "joined" ? "not here" : "",
      title: { text: JSON.stringify(who(name).textContent), nodes: () => [who(name)] },
      summary: about?.summary ?? "",
      close,
      facts: memberFacts({
        name,
        member,
        about,
        health: mesh.health.get(name),
        live: member && connection(member),
        offers: mesh.offers.filter(({ masters: serving }) => serving.includes(name)),
        to,
      }),
    });
  } else if (capability) {
    const offer = mesh.offers.find((each) => each.room === of && each.capability === capability);
    const counts = live.counts?.namespaces[NAMESPACE]?.capabilities ?? [];
    view.show({
      key: JSON.stringify(["capability", of, capability]),
      kind: offer ? "capability" : mesh.link === "joined" ? "nobody offers it" : "",
      title: { text: "", nodes: () => [named(capability)] },
      summary: offer?.summary ?? "",
      close,
      facts: offer
        ? capabilityFacts({
            offer,
            others: mesh.offers
              .filter((each) => each.capability === capability && each.room !== of)
              .map((each) => each.room),
            since: firstOf(offer.masters),
            figures: byCapability.get(keyOf(offer)),
            ended: counts.find((each) => each.capability === capability)?.ended,
            to,
          })
        : [],
    });
  } else view.show(null);
}

// What the hub counts.

function rate(value) {
  return value === null ? "–" : `${perSecond(value)}/s`;
}

const failures = element("button", {
  type: "button",
  class: "failures",
  title: "Show the requests that failed",
  onclick: () => {
    asked.lookAtFailures();
    $("requests").scrollIntoView({ block: "nearest" });
    $("requests").querySelector("[data-part=filter]").focus();
  },
});
const showRate = chart($("rate"), "Requests", ["requests", "failed"], rate, [failures]);
const showP95 = chart($("p95"), "p95 latency", ["p95"], duration);
const showFlight = chart($("flight"), "In flight", ["in flight"], (value) => String(value ?? "–"));

function showFigures() {
  $("uncounted").hidden = live.isCounted;
  document.body.classList.toggle("is-uncounted", !live.isCounted);
  if (live.hub === null) return;
  const { version, uptime, clients } = live.hub;
  mesh.version = version;
  write($("hub"), `${version} · up ${span(uptime)} · ${count(clients, "client")}`);
  const column = (name) => live.steps.map((each) => each[name]);
  const scale = { step: live.stepSeconds, most: live.mostSteps };
  showRate([column("rate"), column("failures")], scale);
  showP95([column("p95")], scale);
  showFlight([column("inFlight")], scale);
  write(failures, `failed ${rate(live.steps.at(-1)?.failures ?? null)}`);
}

function showDrops() {
  const dropped = live.counts?.namespaces[NAMESPACE]?.dropped ?? [];
  $("drops").hidden = dropped.length === 0;
  show($("dropped"), dropped, ({ event, reason }) => JSON.stringify([event, reason]), dropItem);
}

function dropItem({ event, reason }) {
  const times = element("small");
  return {
    node: element("li", {}, named(event), " ", element("small", {}, reason), " ", times),
    update: (drop) => write(times, String(drop.count)),
  };
}

async function look() {
  await live.look();
  const hasAddress = [...live.members.values()].some(({ address: from }) => from !== "");
  $("members").classList.toggle("has-address", hasAddress);
  showDrops();
}

async function keepLooking() {
  let round = 0;
  let listed = ""; // what the tasks were listed for
  for (;;) {
    const before = [live.hub?.clients, live.steps.at(-1)];
    await live.poll();
    const isDueNow = round % LOOK_EVERY === 0;
    if (isDueNow) await look();
    const counted = JSON.stringify(live.counts?.namespaces[NAMESPACE]?.tasks);
    const key = `${wanted.room} ${counted ?? Math.floor(round / 6 / LOOK_EVERY)}`;
    if (mesh.link !== "joined") listed = "";
    else if (key !== listed) {
      listed = key; // lists are long: not without a reason
      await tasks.load(wanted.room).catch(() => (listed = ""));
    }
    const isChanged = before[0] !== live.hub?.clients;
    if (isDueNow || isChanged) await mesh.refresh();
    if (before[1] !== live.steps.at(-1) || isChanged || !live.isCounted) showFigures();
    mesh.ping(); // not waited for: a member may take its time
    round += 1;
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
  live.poll(); // from now on the hub takes note of requests
  mesh.connect();
});

mesh.look(wanted.room);
lookAt();
mesh.connect();
keepLooking();
