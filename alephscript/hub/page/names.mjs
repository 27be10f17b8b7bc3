// How names are shown: somebody is a usuario and a short session, not 40 characters in a row. Pure.

const MOST = 5000; // of strangers' names, to be known
const SHORT = 6; // characters

const known = new Map(); // name -> {usuario, sesion}

/** Take note of what a name is made of. */
export function learn(usuario, sesion) {
  const name = usuario + sesion;
  if (known.has(name) || known.size < MOST) known.set(name, { usuario, sesion });
}

/** What a name is made of, as `{usuario, session}`; of an unknown one the session is empty. */
export function parts(name) {
  const { usuario, sesion } = known.get(name) ?? { usuario: name, sesion: "" };
  return { usuario, session: short(sesion) };
}

/** The beginning of a session, by which a person tells it from others. */
export function short(sesion) {
  return sesion.replace(/^[^\p{L}\p{N}]+/u, "").slice(0, SHORT);
}
